//! One report, several consumers: text for a person, JSON for programs, one line for monitoring.
//!
//! A command fills a [`Report`]; the consumers print the same verdict, findings, cells and coverage, so
//! they cannot disagree. Nothing here reads or judges.

mod escape;
mod json;
mod nagios;
pub mod progress;
mod text;

use std::io;
use std::path::PathBuf;

use crate::finding::{Coverage, Findings, Severity};
use crate::pg::{Lsn, Major};

pub use escape::escape;
pub use text::cell_text;

/// The first line, in WAL-G's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything asked for was examined and nothing is wrong.
    Ok,
    /// Nothing is lost, but something needs attention.
    Warning,
    /// Something was not examined, so "OK" cannot be said.
    Incomplete,
    /// Damage.
    Failure,
}

impl Level {
    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "OK",
            Level::Warning => "WARNING",
            Level::Incomplete => "INCOMPLETE",
            Level::Failure => "FAILURE",
        }
    }
}

/// One value: it knows both its spelling for people and its type for programs.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// There is none.
    None,
    /// Words.
    Text(String),
    /// A number.
    Number(i128),
    /// A 64-bit number that JSON readers would round: a string there.
    BigNumber(u64),
    /// On or off.
    Flag(bool),
    /// A position in the WAL.
    Lsn(Lsn, Major),
    /// An amount of bytes.
    Bytes(u64),
    /// A file or directory.
    Path(PathBuf),
    /// Things of the same shape: an array of objects in JSON, their number in text.
    Things(Vec<Vec<(&'static str, Cell)>>),
    /// A value with a spelling of its own for people.
    Spelled(Box<Cell>, String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<Lsn> for Cell {
    /// In the notation of 10 to 18, which every tool of 19 reads too.
    fn from(lsn: Lsn) -> Cell {
        Cell::Lsn(lsn, Major::V18)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Number(number.into())
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Cell {
        Cell::Number(number.into())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::None, Into::into)
    }
}

/// A named value of a report.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Key in JSON.
    pub key: &'static str,
    /// Heading in text.
    pub heading: String,
    /// The value.
    pub value: Cell,
}

/// A part of a report beside the findings.
#[derive(Clone, Debug)]
pub enum Section {
    /// Named values, an object in JSON.
    Facts {
        /// Key in JSON.
        key: &'static str,
        /// Heading in text.
        heading: &'static str,
        /// The values in order.
        facts: Vec<Fact>,
    },
    /// Rows of the same shape, an array of objects in JSON.
    Table {
        /// Key in JSON.
        key: &'static str,
        /// Heading in text.
        heading: &'static str,
        /// Key in JSON and heading in text of each column.
        columns: Vec<(&'static str, &'static str)>,
        /// The rows; each as long as `columns`.
        rows: Vec<Vec<Cell>>,
    },
    /// A few things with many values each: in JSON as a table, in text a column for each.
    Records {
        /// Key in JSON.
        key: &'static str,
        /// Heading in text.
        heading: &'static str,
        /// Key in JSON and heading in text of each value.
        fields: Vec<(&'static str, &'static str)>,
        /// The things; each as long as `fields`.
        records: Vec<Vec<Cell>>,
    },
    /// Rows for programs only, where people have a [`Drawing`](Section::Drawing).
    Silent {
        /// Key in JSON.
        key: &'static str,
        /// Key in JSON and heading of each column.
        columns: Vec<(&'static str, &'static str)>,
        /// The rows; each as long as `columns`.
        rows: Vec<Vec<Cell>>,
    },
    /// A picture for people of what a table says; not in JSON.
    Drawing {
        /// Heading in text.
        heading: &'static str,
        /// Its lines.
        lines: Vec<String>,
    },
}

/// Everything a command has to say.
#[derive(Debug)]
pub struct Report {
    /// The command's name.
    pub command: &'static str,
    /// What was examined, as the user named it.
    pub subject: Vec<PathBuf>,
    /// One sentence: what is broken and what follows. The level is added by the consumers.
    pub verdict: String,
    /// What is wrong.
    pub findings: Findings,
    /// What was looked at.
    pub coverage: Coverage,
    /// Facts and tables in the order of reading.
    pub sections: Vec<Section>,
}

/// Exit status of a run. A pipe that the reader closed early is a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8);

impl Status {
    /// Nothing at or above the severity that the user set.
    pub const CLEAN: Status = Status(0);
    /// Findings.
    pub const FINDINGS: Status = Status(1);
    /// The command line makes no sense.
    pub const USAGE: Status = Status(2);
    /// Something that was asked for could not be examined.
    pub const INCOMPLETE: Status = Status(3);
}

/// Who reads the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: docs/json.md.
    Json,
    /// One line and the exit statuses 0, 1, 2, 3 of a monitoring plugin.
    Nagios,
}

impl Report {
    /// The level that findings and coverage imply: never set by hand, so it cannot contradict them.
    pub fn level(&self) -> Level {
        let found = match self.findings.worst() {
            Some(Severity::Fatal | Severity::Damage) => Level::Failure,
            Some(Severity::Warning) => Level::Warning,
            Some(Severity::Note) | None => Level::Ok,
        };
        if self.coverage.complete() { found } else { found.max(Level::Incomplete) }
    }

    /// The first line of every format.
    pub fn headline(&self) -> String {
        let level = self.level();
        let incomplete = !self.coverage.complete() && level != Level::Incomplete;
        let note = if incomplete { " (incomplete)" } else { "" };
        format!("{}{note}: {}", level.name(), self.verdict)
    }

    /// Exit status in every format but `nagios`.
    pub fn status(&self, fail_on: Severity) -> Status {
        if !self.coverage.complete() {
            Status::INCOMPLETE
        } else if self.findings.worst().is_some_and(|worst| worst >= fail_on) {
            Status::FINDINGS
        } else {
            Status::CLEAN
        }
    }

    /// Prints the report in `format` and says with which status to exit.
    pub fn print(&self, format: Format, fail_on: Severity, out: &mut dyn io::Write) -> io::Result<Status> {
        match format {
            Format::Text => text::print(self, out)?,
            Format::Json => json::print(self, self.status(fail_on), out)?,
            Format::Nagios => {
                nagios::print(self, out)?;
                return Ok(nagios::status(self));
            }
        }
        Ok(self.status(fail_on))
    }

    /// Prints verdict, findings and coverage without the sections (for standard error, when standard
    /// output has to be what a stock tool prints).
    pub fn print_assessment(&self, out: &mut dyn io::Write) -> io::Result<()> {
        text::print_assessment(self, out)
    }

    /// Prints the sections alone, as text: the other half.
    pub fn print_sections(&self, out: &mut dyn io::Write) -> io::Result<()> {
        text::print_sections(self, out)
    }
}
