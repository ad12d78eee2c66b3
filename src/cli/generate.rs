//! Shell completions and manual pages, made from the same definitions as the help.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure};
use crate::report::Status;

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  pgforensic completions bash > /etc/bash_completion.d/pgforensic")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<Status, Failure> {
        // Into memory first: the generator panics when the pipe it writes to is closed.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "pgforensic", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Status::CLEAN)
    }
}

/// Print the manual page of pgforensic or of one of its commands
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  pgforensic man wal-gaps | man -l -")]
pub(super) struct Man {
    /// The command; the page of pgforensic itself without one
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl Man {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let mut root = Cli::command();
        root.build();
        let page_of = match &self.command {
            None => root,
            Some(name) => match root.find_subcommand(name) {
                Some(command) => command.clone(),
                None => return Err(Failure::Usage(format!("there is no command \"{name}\""))),
            },
        };
        // "pgforensic-wal-gaps", as man finds the page of a subcommand.
        let title = page_of.get_bin_name().unwrap_or("pgforensic").replace(' ', "-");
        let mut page = Vec::new();
        clap_mangen::Man::new(page_of).title(title).render(&mut page)?;
        io::stdout().write_all(&page)?;
        Ok(Status::CLEAN)
    }
}
