//! The report for programs: one object, documented in docs/json.md. Keys only ever get added.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::escape::path_text;
use super::{Cell, Report, Section, Status};
use crate::finding::{Finding, Omission, Place};

/// Grows when a key changes its meaning or goes away; adding keys does not count.
const SCHEMA: u32 = 1;

pub(super) fn print(report: &Report, status: Status, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(report, status))?;
    writeln!(out)
}

fn document(report: &Report, status: Status) -> Value {
    let mut document = Map::new();
    document.insert("schema".into(), SCHEMA.into());
    document.insert("pgforensic".into(), env!("CARGO_PKG_VERSION").into());
    document.insert("command".into(), report.command.into());
    let subject: Vec<_> = report.subject.iter().map(|path| path_text(path)).collect();
    document.insert("subject".into(), subject.into());
    document.insert("level".into(), report.level().name().into());
    document.insert("verdict".into(), report.verdict.clone().into());
    document.insert("exit_status".into(), status.0.into());
    let findings: Vec<_> = report.findings.kinds().flat_map(|kind| &kind.kept).map(finding_json).collect();
    let counts: Vec<_> = report
        .findings
        .kinds()
        .map(|kind| {
            json!({
                "code": kind.code.id,
                "severity": kind.severity.name(),
                "count": kind.count,
                "listed": kind.kept.len(),
            })
        })
        .collect();
    document.insert("counts".into(), counts.into());
    document.insert("findings".into(), findings.into());
    for section in &report.sections {
        if let Some((key, value)) = section_json(section) {
            document.insert(key.into(), value);
        }
    }
    document.insert(
        "coverage".into(),
        json!({
            "complete": report.coverage.complete(),
            "files": report.coverage.files,
            "bytes": report.coverage.bytes,
            "skipped": omissions(&report.coverage.skipped),
            "unreadable": omissions(&report.coverage.unreadable),
        }),
    );
    Value::Object(document)
}

fn omissions(list: &[Omission]) -> Vec<Value> {
    list.iter().map(|o| json!({ "path": path_text(&o.path), "why": o.why })).collect()
}

fn finding_json(finding: &Finding) -> Value {
    let evidence: Vec<_> = finding
        .evidence
        .iter()
        .map(|evidence| {
            let mut object = Map::new();
            object.insert("name".into(), evidence.name.into());
            object.insert("found".into(), evidence.found.clone().into());
            if let Some(expected) = &evidence.expected {
                object.insert("expected".into(), expected.clone().into());
            }
            Value::Object(object)
        })
        .collect();
    json!({
        "code": finding.code.id,
        "severity": finding.severity.name(),
        "title": finding.code.title,
        "headline": finding.headline,
        "at": place_json(&finding.at),
        "evidence": evidence,
    })
}

fn place_json(at: &Place) -> Value {
    let mut place = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            place.insert(key.into(), value);
        }
    };
    put("path", at.path.as_deref().map(|path| path_text(path).into()));
    put("offset", at.offset.map(Value::from));
    put("length", at.length.map(Value::from));
    put("block", at.block.map(Value::from));
    put("lsn", at.lsn.map(|lsn| lsn.to_string().into()));
    put("end_lsn", at.end_lsn.map(|lsn| lsn.to_string().into()));
    Value::Object(place)
}

fn section_json(section: &Section) -> Option<(&'static str, Value)> {
    match section {
        Section::Facts { key, facts, .. } => {
            let object = facts.iter().map(|fact| (fact.key.to_owned(), cell_json(&fact.value)));
            Some((key, Value::Object(object.collect())))
        }
        Section::Table { key, columns, rows, .. }
        | Section::Silent { key, columns, rows }
        | Section::Records { key, fields: columns, records: rows, .. } => {
            let objects = rows.iter().map(|row| {
                let pairs = columns.iter().zip(row);
                Value::Object(pairs.map(|((key, _), cell)| ((*key).to_owned(), cell_json(cell))).collect())
            });
            Some((key, objects.collect()))
        }
        Section::Drawing { .. } => None,
    }
}

fn cell_json(cell: &Cell) -> Value {
    match cell {
        Cell::None => Value::Null,
        Cell::Text(text) => text.clone().into(),
        // Every number that gets here fits in one of the two; larger ones are `BigNumber`.
        Cell::Number(number) => match (i64::try_from(*number), u64::try_from(*number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => number.to_string().into(),
        },
        Cell::BigNumber(number) => number.to_string().into(),
        Cell::Flag(flag) => (*flag).into(),
        Cell::Lsn(lsn, _) => lsn.to_string().into(),
        Cell::Bytes(bytes) => (*bytes).into(),
        Cell::Path(path) => path_text(path).into(),
        Cell::Things(things) => {
            let object = |thing: &Vec<(&'static str, Cell)>| {
                Value::Object(thing.iter().map(|(key, cell)| ((*key).to_owned(), cell_json(cell))).collect())
            };
            things.iter().map(object).collect()
        }
        Cell::Spelled(value, _) => cell_json(value),
    }
}
