//! The report for a tired person: the verdict, then findings worst first, then the details.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};

use super::escape::{escape, path_text};
use super::{Cell, Report, Section};
use crate::finding::{Coverage, Finding, Kind, Place};

/// How many left-out files are named; the rest is a number.
const NAMED_OMISSIONS: usize = 10;

pub(super) fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    print_verdict_and_findings(report, out)?;
    print_sections(report, out)?;
    print_coverage(&report.coverage, out)
}

pub(super) fn print_sections(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    report.sections.iter().try_for_each(|section| print_section(section, out))
}

pub(super) fn print_assessment(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    print_verdict_and_findings(report, out)?;
    if report.coverage.complete() { Ok(()) } else { print_coverage(&report.coverage, out) }
}

fn print_verdict_and_findings(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", escape(&report.headline()))?;
    for kind in report.findings.kinds() {
        print_kind(kind, out)?;
    }
    Ok(())
}

fn print_kind(kind: &Kind, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{} {}  {}", kind.severity.name().to_uppercase(), kind.code.id, kind.code.title)?;
    for finding in &kind.kept {
        print_finding(finding, out)?;
    }
    let hidden = kind.count - kind.kept.len() as u64;
    if hidden > 0 {
        writeln!(out, "  … and {hidden} more; --all lists every one")?;
    }
    writeln!(out, "  means  {}", wrap(kind.code.meaning))?;
    writeln!(out, "  next   {}", wrap(kind.code.advice))
}

fn print_finding(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  {}", escape(&finding.headline))?;
    let place = place_text(&finding.at);
    if !place.is_empty() {
        writeln!(out, "    at {}", escape(&place))?;
    }
    for evidence in &finding.evidence {
        let found = escape(&evidence.found);
        match &evidence.expected {
            Some(expected) => {
                writeln!(out, "    {}: {found}, expected {}", evidence.name, escape(expected))?;
            }
            None => writeln!(out, "    {}: {found}", evidence.name)?,
        }
    }
    Ok(())
}

fn place_text(at: &Place) -> String {
    let mut parts = Vec::new();
    parts.extend(at.path.as_deref().map(path_text));
    parts.extend(at.block.map(|block| format!("block {block}")));
    match (at.offset, at.length) {
        (Some(offset), Some(length)) => {
            parts.push(format!("bytes {offset}..{}", offset.saturating_add(length)));
        }
        (Some(offset), None) => parts.push(format!("byte {offset}")),
        _ => {}
    }
    match (at.lsn, at.end_lsn) {
        (Some(lsn), Some(end)) => parts.push(format!("WAL {lsn} to {end}")),
        (Some(lsn), None) => parts.push(format!("WAL {lsn}")),
        _ => {}
    }
    parts.join(", ")
}

/// Breaks prose at 96 columns, further lines under the first one's text.
fn wrap(prose: &str) -> String {
    const WIDTH: usize = 96;
    let mut text = String::new();
    let mut column = 0;
    for word in prose.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            text.push_str("\n         ");
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text
}

fn print_section(section: &Section, out: &mut dyn Write) -> io::Result<()> {
    match section {
        Section::Facts { heading, facts, .. } => {
            writeln!(out, "\n{heading}")?;
            let width = facts.iter().map(|fact| fact.heading.chars().count()).max().unwrap_or(0);
            for fact in facts {
                writeln!(out, "  {:width$}  {}", fact.heading, escape(&cell_text(&fact.value)))?;
            }
        }
        Section::Table { heading, columns, rows, .. } => {
            writeln!(out, "\n{heading}")?;
            if rows.is_empty() {
                return writeln!(out, "  none");
            }
            let mut table = plain_table();
            table.set_header(columns.iter().map(|(_, heading)| *heading));
            for row in rows {
                table.add_row(row.iter().map(|cell| escape(&cell_text(cell)).into_owned()));
            }
            for (index, column) in table.column_iter_mut().enumerate() {
                let is_number = |row: &Vec<Cell>| matches!(row.get(index), Some(Cell::Number(_)));
                if rows.iter().all(is_number) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            print_table(&table, out)?;
        }
        Section::Records { heading, fields, records, .. } => {
            writeln!(out, "\n{heading}")?;
            if records.is_empty() {
                return writeln!(out, "  none");
            }
            let mut table = plain_table();
            for (index, (_, name)) in fields.iter().enumerate() {
                let values = records.iter().map(|record| record.get(index).map_or(String::new(), cell_text));
                let values = values.map(|value| escape(&value).into_owned());
                table.add_row(std::iter::once((*name).to_owned()).chain(values));
            }
            print_table(&table, out)?;
        }
        Section::Silent { .. } => {}
        Section::Drawing { heading, lines } => {
            writeln!(out, "\n{heading}")?;
            for line in lines {
                writeln!(out, "  {}", escape(line))?;
            }
        }
    }
    Ok(())
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn print_table(table: &Table, out: &mut dyn Write) -> io::Result<()> {
    table.lines().try_for_each(|line| writeln!(out, " {}", line.trim_end()))
}

/// A value as people read it.
pub fn cell_text(cell: &Cell) -> String {
    match cell {
        Cell::None => "-".to_owned(),
        Cell::Text(text) => text.clone(),
        Cell::Number(number) => number.to_string(),
        Cell::BigNumber(number) => number.to_string(),
        Cell::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Cell::Lsn(lsn, major) => lsn.text(*major),
        Cell::Bytes(bytes) => bytes_text(*bytes),
        Cell::Path(path) => path_text(path),
        Cell::Things(things) => things.len().to_string(),
        Cell::Spelled(_, spelling) => spelling.clone(),
    }
}

/// Whole units only, so that nothing is rounded: `16 MB`, `5242881 bytes`.
fn bytes_text(bytes: u64) -> String {
    for (shift, unit) in [(30, "GB"), (20, "MB"), (10, "kB")] {
        if bytes >> shift > 0 && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}

fn print_coverage(coverage: &Coverage, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "\nExamined {} files, {} bytes; left out {}; could not examine {}.",
        coverage.files,
        coverage.bytes,
        coverage.skipped.len(),
        coverage.unreadable.len()
    )?;
    for (title, omissions) in [("not examined", &coverage.unreadable), ("left out", &coverage.skipped)] {
        for omission in omissions.iter().take(NAMED_OMISSIONS) {
            let path = path_text(&omission.path);
            writeln!(out, "  {title}: {}: {}", escape(&path), escape(&omission.why))?;
        }
        if omissions.len() > NAMED_OMISSIONS {
            writeln!(
                out,
                "  {title}: … and {} more (all in --format json)",
                omissions.len() - NAMED_OMISSIONS
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_never_rounded() {
        assert_eq!(bytes_text(16 << 20), "16 MB");
        assert_eq!(bytes_text((16 << 20) + 1), "16777217 bytes");
        assert_eq!(bytes_text(1536), "1536 bytes");
        assert_eq!(bytes_text(0), "0 bytes");
    }
}
