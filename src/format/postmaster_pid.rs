//! `postmaster.pid`: the lock file of a running server, and after a crash the trace it left.
//!
//! ```text
//! 1 pid (negative: a single-user backend)    5 first socket directory
//! 2 data directory                           6 first listen address
//! 3 start time, seconds since 1970           7 shared memory key and id
//! 4 port                                     8 status
//! ```
//!
//! Lines after the first appear while the server starts, so all of them may be missing.
//! Source: `LOCK_FILE_LINE_*`, utils/pidfile.h.

/// The lines of the file that say something about the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostmasterPid {
    /// Process id; `None` if the first line is no number.
    pub pid: Option<i32>,
    /// The data directory under the name that the server was started with.
    pub data_directory: Option<String>,
    /// When the server started, seconds since 1970.
    pub start_time: Option<i64>,
    /// System V identifier of its shared memory.
    pub shared_memory_id: Option<u64>,
}

impl PostmasterPid {
    /// Parses what is there; a damaged file gives fewer fields, never an error.
    pub fn parse(bytes: &[u8]) -> PostmasterPid {
        let text = String::from_utf8_lossy(bytes);
        let line = |number: usize| text.lines().nth(number - 1).map(str::trim).filter(|l| !l.is_empty());
        PostmasterPid {
            // A single-user backend writes its pid with a minus sign.
            pid: line(1)
                .and_then(|l| l.parse::<i32>().ok())
                .and_then(i32::checked_abs)
                .filter(|pid| *pid > 0),
            data_directory: line(2).map(str::to_owned),
            start_time: line(3).and_then(|l| l.parse().ok()),
            shared_memory_id: line(7).and_then(|l| l.split_whitespace().nth(1)?.parse().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_and_damaged_ones() {
        let whole = PostmasterPid::parse(
            b"4242\n/var/lib/postgresql/18/main\n1763683200\n5432\n/run/postgresql\nlocalhost\n  5432001    131072\nready   \n",
        );
        assert_eq!(whole.pid, Some(4242));
        assert_eq!(whole.data_directory.as_deref(), Some("/var/lib/postgresql/18/main"));
        assert_eq!(whole.shared_memory_id, Some(131_072));
        assert_eq!(PostmasterPid::parse(b"-77\n").pid, Some(77));
        for broken in [&b""[..], b"\n", b"x", b"0\n", b"-2147483648\n", b"99999999999\n", b"\xff\xfe"] {
            assert_eq!(PostmasterPid::parse(broken), PostmasterPid::default(), "{broken:?}");
        }
    }
}
