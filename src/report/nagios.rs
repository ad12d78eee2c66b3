//! The report for monitoring: one line, performance data, and a plugin's exit statuses.

use std::io::{self, Write};

use super::escape::escape;
use super::{Cell, Level, Report, Section, Status};
use crate::finding::Severity;

pub(super) fn status(report: &Report) -> Status {
    match report.level() {
        Level::Ok => Status(0),
        Level::Warning => Status(1),
        Level::Failure => Status(2),
        Level::Incomplete => Status(3),
    }
}

pub(super) fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let word = match report.level() {
        Level::Ok => "OK",
        Level::Warning => "WARNING",
        Level::Failure => "CRITICAL",
        Level::Incomplete => "UNKNOWN",
    };
    let incomplete = if report.coverage.complete() { "" } else { " (incomplete)" };
    let command = report.command.to_uppercase();
    // A bar would start the performance data.
    let verdict = escape(&report.verdict).replace('|', "/");
    write!(out, "PGFORENSIC {command} {word}{incomplete} - {verdict} |")?;
    for severity in [Severity::Fatal, Severity::Damage, Severity::Warning] {
        write!(out, " {}={}", severity.name(), report.findings.count(severity))?;
    }
    for section in &report.sections {
        let Section::Facts { facts, .. } = section else { continue };
        for fact in facts {
            match &fact.value {
                Cell::Number(number) => write!(out, " {}={number}", fact.key)?,
                Cell::Bytes(bytes) => write!(out, " {}={bytes}B", fact.key)?,
                _ => {}
            }
        }
    }
    writeln!(out)
}
