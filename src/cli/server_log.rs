//! What the server itself said, beside what is found here: `check --log`, `plan --server-log`.

use std::io::BufReader;
use std::path::Path;

use crate::check::log_evidence::{Here, compare};
use crate::check::log_place::{FileKind, Sizes, code, places};
use crate::cli::Failure;
use crate::cli::locate::{Examiner, Gathered, Reported, Seen};
use crate::finding::{Coverage, Finding, Findings, Place};
use crate::format::server_log::{Subject, Topic};
use crate::report::{Cell, Section};
use crate::scan::recovery::Prediction;
use crate::scan::wal_room::WalRoom;
use crate::source::Error;
use crate::source::file::DataFile;

/// `ENOSPC`, as the C library says it.
const NO_SPACE: &str = "No space left on device";

/// One line, or many of the same.
struct Row {
    line: u64,
    last_line: u64,
    count: u64,
    severity: Option<String>,
    text: String,
    topic: Option<Topic>,
    here: Here,
}

/// With what it is compared.
pub(in crate::cli) struct Beside<'a> {
    /// The data directory.
    pub root: &'a Path,
    /// What a start comes to, if that is known.
    pub prediction: Option<&'a Prediction>,
    /// pg_wal as a place.
    pub room: Option<&'a WalRoom>,
    /// Everything that was found.
    pub findings: &'a Findings,
}

/// What came of it.
pub(in crate::cli) struct Compared {
    /// The lines.
    pub section: Section,
    /// For the verdict.
    pub sentence: String,
    /// It says that pg_wal's file system was full.
    pub no_room: bool,
}

/// Reads the log and compares; a line that reports trouble becomes a finding in `found`.
pub(in crate::cli) fn read(
    path: &Path,
    beside: &Beside,
    found: &mut Findings,
    coverage: &mut Coverage,
) -> Result<Compared, Failure> {
    let file = DataFile::open(path)?;
    coverage.files += 1;
    coverage.bytes += file.length();
    let mut gathered = Gathered::default();
    gathered.log(&mut BufReader::new(file.into_std())).map_err(Error::at(path, "read file"))?;
    gathered.finish();
    // A directory that is no cluster any more has no places to look at.
    let mut examiner = Examiner::new(beside.root).ok();
    let sizes = examiner.as_ref().map_or(Sizes::ASSUMED, |examiner| examiner.sizes);
    let mut rows = Vec::new();
    for reported in gathered.reported {
        let Some(topic) = reported.topic else { continue };
        let places = places(&reported.subject, &sizes);
        let mut seen = None;
        for place in &places {
            let look = |examiner: &mut Examiner| examiner.look(place, found, coverage);
            let this = examiner.as_mut().and_then(look);
            seen = seen.or_else(|| Some((place.kind.clone(), place.file.clone(), this?)));
        }
        let here =
            at_place(topic, seen).or_else(|| space(&reported.text, beside.room)).unwrap_or_else(|| {
                compare(Some(topic), &reported.text, lsn(&reported), beside.prediction, beside.findings)
            });
        rows.push(Row {
            line: reported.line,
            last_line: reported.last_line,
            count: reported.count,
            severity: reported.severity,
            text: reported.text,
            topic: Some(topic),
            here,
        });
    }
    for unknown in gathered.unknown {
        let here = space(&unknown.text, beside.room)
            .unwrap_or_else(|| compare(None, &unknown.text, None, beside.prediction, beside.findings));
        rows.push(Row {
            line: unknown.line,
            last_line: unknown.last_line,
            count: unknown.count,
            severity: Some(unknown.severity),
            text: unknown.text,
            topic: None,
            here,
        });
    }
    if gathered.too_many_unknown > 0 {
        let why = format!("{} more different lines that end in FATAL or PANIC", gathered.too_many_unknown);
        coverage.fail(path, why);
    }
    if let Some(examiner) = examiner {
        coverage.files += examiner.files;
        coverage.bytes += examiner.bytes;
        for (path, why) in examiner.problems {
            coverage.fail(&path, why);
        }
    }
    for (what, why) in gathered.not_understood.iter().filter(|_| gathered.understood > 0) {
        coverage.fail(Path::new(what), why);
    }
    rows.sort_by_key(|row| row.line);
    for finding in rows.iter().filter_map(|row| finding(path, row)) {
        found.push(finding);
    }
    let no_room = rows.iter().any(|row| is_full(&row.text) && is_wal(&row.text));
    Ok(Compared { sentence: sentence(&rows, gathered.lines), section: section(rows), no_room })
}

fn finding(path: &Path, row: &Row) -> Option<Finding> {
    let finding = Finding::new(code(row.topic?), Place::path(path), &row.text)
        .measured("line of the log", row.line)
        .measured("times", row.count)
        .measured("here", row.here.text());
    Some(finding)
}

fn lsn(reported: &Reported) -> Option<crate::pg::Lsn> {
    match reported.subject {
        Subject::Wal { lsn, .. } => lsn,
        _ => None,
    }
}

fn is_full(text: &str) -> bool {
    text.contains(NO_SPACE)
}

/// Is the message about a file of pg_wal?
fn is_wal(text: &str) -> bool {
    text.contains("pg_wal/") || text.contains("log file")
}

/// How much room there is now.
fn space(text: &str, room: Option<&WalRoom>) -> Option<Here> {
    let room = room.filter(|_| is_full(text))?;
    let (free, of) = match is_wal(text) {
        true => (room.room.free, "pg_wal"),
        false => (room.data?.free, "the data directory"),
    };
    let text = format!("{free} bytes are free now for {of}");
    Some(match free < room.segment.bytes() {
        true => Here::Agrees(text),
        false => Here::Differs(text),
    })
}

/// What the place itself says, where the message names one that can be looked at.
fn at_place(topic: Topic, seen: Option<(FileKind, String, Seen)>) -> Option<Here> {
    let (kind, file, seen) = seen?;
    if kind == FileKind::Wal {
        return (topic == Topic::WalRemoved).then(|| match seen.bytes {
            None => Here::Agrees(format!("{file} is not there")),
            Some(bytes) => Here::Differs(format!("{file} is there, {bytes} bytes")),
        });
    }
    let Some(bytes) = seen.bytes else { return Some(Here::Agrees(format!("\"{file}\" is not there"))) };
    match (&kind, seen.content) {
        (FileKind::Relation(_), Some(content)) if content.starts_with("damaged") => {
            Some(Here::Agrees(format!("\"{file}\": {content}")))
        }
        (_, Some(content)) => Some(Here::Differs(format!("\"{file}\": {content}"))),
        (_, None) if topic == Topic::RelationFile => {
            Some(Here::Differs(format!("\"{file}\" is there, {bytes} bytes")))
        }
        (_, None) => Some(Here::Open(format!("\"{file}\" has {bytes} bytes"))),
    }
}

fn section(rows: Vec<Row>) -> Section {
    let columns = vec![
        ("line", "Line"),
        ("last_line", "Last line"),
        ("times", "Times"),
        ("severity", "Severity"),
        ("message", "Message"),
        ("code", "Code"),
        ("agrees", "Also here"),
        ("here", "What is found here"),
    ];
    let rows = rows
        .into_iter()
        .map(|row| {
            vec![
                row.line.into(),
                row.last_line.into(),
                row.count.into(),
                row.severity.into(),
                row.text.into(),
                row.topic.map(|topic| code(topic).id).into(),
                row.here.agrees().map_or(Cell::None, Cell::Flag),
                row.here.text().into(),
            ]
        })
        .collect();
    Section::Table { key: "log", heading: "What the server's log says", columns, rows }
}

/// About the last line with which the server or a session ended.
fn sentence(rows: &[Row], lines: u64) -> String {
    let ended = |row: &&Row| matches!(row.severity.as_deref(), Some("FATAL" | "PANIC"));
    let last = rows.iter().filter(ended).max_by_key(|row| row.last_line);
    let Some(last) = last else {
        return match rows.len() {
            0 => format!("the log ({lines} lines) reports nothing that is known"),
            1 => "the log reports one thing, and no FATAL".to_owned(),
            many => format!("the log reports {many} things, and no FATAL"),
        };
    };
    let agrees = match last.here.agrees() {
        Some(true) => "agrees with what is found here",
        Some(false) => "does not agree with what is found here",
        None => "could not be compared",
    };
    format!("the log's last {}, \"{}\", {agrees}", last.severity.as_deref().unwrap_or_default(), last.text)
}
