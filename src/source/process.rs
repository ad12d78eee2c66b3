//! What the running system says about a process that a file names. Only looked at, never signalled.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, test_kill_process};

/// A process, as far as this user may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    /// No process has this id.
    Gone,
    /// One has; a postmaster's working directory is its data directory.
    Running {
        /// Its working directory, where the system tells.
        directory: Option<PathBuf>,
    },
}

/// Looks up a process id.
pub fn process(pid: i32) -> Process {
    let Some(id) = Pid::from_raw(pid) else { return Process::Gone };
    match test_kill_process(id) {
        Err(rustix::io::Errno::SRCH) => Process::Gone,
        _ if is_zombie(pid) => Process::Gone,
        // It exists, whether or not we could signal it.
        _ => Process::Running { directory: fs::read_link(format!("/proc/{pid}/cwd")).ok() },
    }
}

/// Dead, but nobody has collected its exit status: usual in containers, whose first process is no init.
fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // "4242 (postgres) Z 1 …": the name may hold anything, so the state is what follows the last bracket.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// How many processes still hold this System V shared memory segment; `None` if the system does not tell.
pub fn shared_memory_attachments(id: u64) -> Option<u64> {
    const SHMID: usize = 1;
    const NATTCH: usize = 6;
    let table = fs::read_to_string("/proc/sysvipc/shm").ok()?;
    let column = |line: &str, index: usize| line.split_whitespace().nth(index)?.parse::<u64>().ok();
    let attached = table.lines().find(|line| column(line, SHMID) == Some(id));
    Some(attached.and_then(|line| column(line, NATTCH)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_no_process_has_a_huge_id() {
        let own = i32::try_from(std::process::id()).unwrap();
        let directory = std::env::current_dir().ok();
        assert_eq!(process(own), Process::Running { directory });
        assert_eq!(process(i32::MAX), Process::Gone);
    }
}
