//! What was located, as tables: the same rows for people and programs.

use std::path::Path;

use super::Located;
use super::commands::Commands;
use crate::check::log_place::{FileKind, Sizes, code};
use crate::format::server_log::Subject;
use crate::pg::relation::RelPath;
use crate::report::{Cell, Format, Section};

/// In text, commands of the first things only: the finding of each has its place.
const SHOWN: usize = 5;

pub(super) fn sections(
    located: &[Located],
    sizes: &Sizes,
    pgdata: Option<&Path>,
    format: Format,
) -> Vec<Section> {
    if located.is_empty() {
        return Vec::new();
    }
    let mut sections = vec![messages(located), places(located, sizes)];
    match format {
        Format::Text => sections.push(commands_text(located, pgdata)),
        Format::Json | Format::Nagios => sections.push(commands_table(located, pgdata)),
    }
    sections
}

fn number(number: usize) -> Cell {
    Cell::from(number as u64)
}

fn messages(located: &[Located]) -> Section {
    let columns = vec![
        ("number", "No."),
        ("code", "Code"),
        ("count", "Times"),
        ("line", "First line"),
        ("relation", "Relation"),
        ("fork", "Fork"),
        ("tablespace", "Tablespace"),
        ("database", "Database"),
        ("severity", "In the log"),
        ("text", "Message"),
    ];
    let row = |(index, located): (usize, &Located)| {
        let reported = &located.reported;
        let relation: Option<&RelPath> = match &reported.subject {
            Subject::Blocks { relation, .. } | Subject::BlockOfFile { relation, .. } => Some(relation),
            Subject::RelationFile(relation) => Some(relation),
            _ => None,
        };
        vec![
            number(index + 1),
            reported.topic.map(|topic| code(topic).id.to_owned()).into(),
            reported.count.into(),
            Some(reported.line).filter(|line| *line > 0).into(),
            relation.map(RelPath::fork_path).into(),
            relation.map(|relation| relation.name.fork.name().to_owned()).into(),
            relation.map(|relation| relation.tablespace).into(),
            relation.map(|relation| relation.database).into(),
            reported.severity.clone().into(),
            reported.text.clone().into(),
        ]
    };
    Section::Table {
        key: "messages",
        heading: "Messages, worst first",
        columns,
        rows: located.iter().enumerate().map(row).collect(),
    }
}

fn places(located: &[Located], sizes: &Sizes) -> Section {
    let columns = vec![
        ("message", "No."),
        ("what", "What"),
        ("file", "File"),
        ("segment", "Segment"),
        ("block", "Block"),
        ("block_in_file", "In the file"),
        ("offset", "Offset"),
        ("length", "Bytes"),
        ("bit", "Bit"),
        ("exists", "There"),
        ("file_bytes", "File size"),
        ("file_blocks", "File blocks"),
        ("resolved", "Really"),
    ];
    let mut rows = Vec::new();
    for (index, located) in located.iter().enumerate() {
        let mut seen = located.seen.iter();
        for place in &located.places {
            let seen = seen.next().and_then(Option::as_ref);
            let file = match &place.kind {
                FileKind::Named(name) => format!("({name}){}", place.file),
                _ => place.file.clone(),
            };
            let exists = seen.map_or(Cell::None, |seen| Cell::Flag(seen.bytes.is_some()));
            let is_relation = matches!(place.kind, FileKind::Relation(_));
            let blocks = seen.and_then(|seen| seen.bytes).filter(|_| is_relation);
            rows.push(vec![
                number(index + 1),
                place.what.into(),
                file.into(),
                place.segment.into(),
                place.block.into(),
                place.block_in_file.into(),
                place.offset.into(),
                place.length.into(),
                place.bit.into(),
                exists,
                seen.and_then(|seen| seen.bytes).into(),
                blocks.map(|bytes| bytes / sizes.geometry.page_size as u64).into(),
                seen.and_then(|seen| seen.resolved.clone()).map_or(Cell::None, Cell::Path),
            ]);
        }
    }
    Section::Table { key: "places", heading: "Places", columns, rows }
}

fn commands_table(located: &[Located], pgdata: Option<&Path>) -> Section {
    let columns = vec![("message", "No."), ("tool", "Tool"), ("purpose", "For"), ("command", "Command")];
    let rows = located.iter().enumerate().flat_map(|(index, located)| {
        let row = move |command: super::commands::Command| {
            vec![number(index + 1), command.tool.into(), command.purpose.into(), command.command.into()]
        };
        Commands::of(located, pgdata).into_iter().map(row)
    });
    Section::Table { key: "commands", heading: "Commands", columns, rows: rows.collect() }
}

fn commands_text(located: &[Located], pgdata: Option<&Path>) -> Section {
    let mut lines = Vec::new();
    for (index, located) in located.iter().take(SHOWN).enumerate() {
        lines.push(format!("No. {}: {}", index + 1, located.reported.name()));
        for command in Commands::of(located, pgdata) {
            lines.push(format!(
                "  # {}{}",
                command.purpose,
                if command.tool == "sql" { ", on a running server" } else { "" }
            ));
            lines.push(format!("  {}", command.command));
        }
    }
    if located.len() > SHOWN {
        lines.push(format!("… and {} more (all in --format json)", located.len() - SHOWN));
    }
    Section::Drawing { heading: "Commands that look at it; none of them changes anything", lines }
}
