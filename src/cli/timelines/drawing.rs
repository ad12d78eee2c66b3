//! The drawing as text.
//!
//! ```text
//!                 0/800000                                   0/C00000
//!   timeline 1    ══b═══════╤════╤──────────────────────────
//!   timeline 2              │    ╰──────────────╤───────────   from 1 at 0/A139C0, at restore point "x42"
//!   timeline 3              │                   ╰──────        from 2 at 0/A22118, at restore point "x55"
//! > timeline 4              ╰══════                            latest; from 1 at 0/A096C0, at restore point "x20"
//! ```

use super::diagram::{Diagram, Kind, MarkKind};
use crate::report::Section;

/// Columns of the drawing itself.
const WIDTH: usize = 60;

fn of_kind(kind: Kind) -> char {
    match kind {
        Kind::OnTheWay => '═',
        Kind::Aside => '─',
        Kind::PgWal => '~',
        Kind::Partial => '-',
        Kind::Missing => '×',
    }
}

fn of_mark(kind: MarkKind) -> char {
    match kind {
        MarkKind::Backup => 'b',
        MarkKind::RestorePoint => 'r',
        MarkKind::Split => '╫',
    }
}

/// The drawing with its legend.
pub(super) fn drawing(diagram: &Diagram) -> Section {
    let column = |at: f64| (at * (WIDTH - 1) as f64).round() as usize;
    let mut canvas: Vec<Vec<char>> = diagram.rows.iter().map(|_| vec![' '; WIDTH]).collect();
    let mut put = |row: usize, column: usize, what: char| {
        if let Some(cell) = canvas.get_mut(row).and_then(|cells| cells.get_mut(column)) {
            *cell = what;
        }
    };
    for (index, row) in diagram.rows.iter().enumerate() {
        for bar in &row.bars {
            let (from, to) = (column(diagram.at(bar.from)), column(diagram.at(bar.to)));
            (from..to.max(from + 1)).for_each(|column| put(index, column, of_kind(bar.kind)));
        }
    }
    for (index, row) in diagram.rows.iter().enumerate() {
        let at = column(diagram.at(row.begin));
        let Some(parent) = row.parent else { continue };
        put(parent, at, '┬');
        (parent + 1..index).for_each(|between| put(between, at, '│'));
        put(index, at, '╰');
    }
    for (index, row) in diagram.rows.iter().enumerate() {
        for mark in &row.marks {
            put(index, column(diagram.at(mark.at)), of_mark(mark.kind));
        }
    }
    let label = |index: usize| {
        diagram.rows.get(index).map_or(String::new(), |row| {
            format!("{} timeline {}", if row.is_target { '>' } else { ' ' }, row.timeline)
        })
    };
    let labels: Vec<String> = (0..diagram.rows.len()).map(label).collect();
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    if let Some((first, last)) = diagram.range() {
        let (first, last) = (first.to_string(), last.to_string());
        let space = WIDTH.saturating_sub(first.len());
        lines.push(format!("{:width$}  {first}{last:>space$}", ""));
    }
    for ((row, cells), label) in diagram.rows.iter().zip(&canvas).zip(&labels) {
        let cells: String = cells.iter().collect();
        lines.push(format!("{label:width$}  {cells}  {}", row.note).trim_end().to_owned());
    }
    if diagram.hidden > 0 {
        lines.push(format!("  … and {} more", diagram.hidden));
    }
    let kinds = diagram.kinds().map(|kind| format!("{} {}", of_kind(kind), kind.text(diagram.target)));
    let marks = [
        (MarkKind::Backup, "backup"),
        (MarkKind::RestorePoint, "restore point"),
        (MarkKind::Split, "two servers went on"),
    ];
    let marks = marks.iter().filter(|(kind, _)| diagram.has(*kind));
    let marks = marks.map(|(kind, text)| format!("{} {text}", of_mark(*kind)));
    let legend: Vec<String> = kinds.chain(marks).collect();
    lines.push(legend.join("   "));
    Section::Drawing { heading: "Tree of timelines (not to scale)", lines }
}
