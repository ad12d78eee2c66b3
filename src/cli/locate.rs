//! `pgforensic locate`: from a line of the server's log, or a place in the server's notation, to bytes of a file.

pub(super) mod commands;
mod examine;
mod gather;
mod tables;

use std::cmp::Reverse;
use std::path::PathBuf;

pub(super) use self::examine::{Examiner, Seen};
pub(super) use self::gather::{Gathered, Reported};
use super::{Common, Failure};
use crate::check::log_place::{FileKind, FilePlace, Sizes, code, places};
use crate::finding::{Coverage, Finding, Findings, Place};
use crate::format::server_log::Subject;
use crate::pg::BlockNumber;
use crate::pg::relation::RelPath;
use crate::report::{Cell, Fact, Report, Section, Status};

/// Where is what the server's log complains about? File, segment, byte, and the commands to look at it
///
/// Takes lines of the log as they are (any log_line_prefix, csvlog, jsonlog, syslog), of pg_checksums, pg_amcheck and
/// other tools, an LSN or the name of a WAL segment. Only English messages can be understood. Nothing is read but the
/// input, unless --pgdata names the data directory: then each place is looked at.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic locate 'ERROR:  invalid page in block 5869177 of relation base/17291/17420'
  pgforensic locate - --pgdata /var/lib/postgresql/data < server.log
  pgforensic locate --relation base/17291/17420 --block 5869177
  pgforensic locate --relation base/17291/17420 --tid '(123,4)'
  pgforensic locate 16/B374D848 --pgdata /var/lib/postgresql/data

Without --pgdata the sizes of a default build are assumed: blocks of 8 kB, segments of 1 GB, WAL segments of 16 MB.
Exit status 1: with --pgdata damage was found there. 3: a line was not understood, or a place could not be read.")]
pub(super) struct Arguments {
    /// A line of a log, an LSN or a WAL segment; - reads a whole log from standard input
    #[arg(value_name = "LINE")]
    lines: Vec<String>,
    /// A relation's file, as the server names it: base/17291/17420
    #[arg(long, value_name = "PATH")]
    relation: Option<String>,
    /// A block of the relation, counted over all of its segments
    #[arg(long, value_name = "BLOCK", conflicts_with = "tid")]
    block: Option<BlockNumber>,
    /// A tuple of the relation: '(block,item)'
    #[arg(long, value_name = "TID", value_parser = tid)]
    tid: Option<(BlockNumber, u16)>,
    /// The data directory that the log is from: look at each place
    #[arg(short = 'D', long, value_name = "PGDATA")]
    pgdata: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Words of the log, the most urgent first.
const URGENT: [&str; 4] = ["PANIC", "FATAL", "ERROR", "WARNING"];

/// A `ctid` in the server's notation.
fn tid(text: &str) -> Result<(BlockNumber, u16), String> {
    let inside = text.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let parts = inside.unwrap_or(text).split_once(',');
    let numbers =
        parts.and_then(|(block, item)| Some((block.trim().parse().ok()?, item.trim().parse().ok()?)));
    // Offset numbers begin at 1.
    numbers.filter(|(_, item)| *item > 0).ok_or_else(|| "expected a tid such as (123,4)".to_owned())
}

/// One thing to locate, with its places.
struct Located {
    reported: Reported,
    places: Vec<FilePlace>,
    /// What `--pgdata` says of each place.
    seen: Vec<Option<examine::Seen>>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let mut gathered = Gathered::default();
        if let Some(asked) = self.asked()? {
            gathered.add(asked);
        }
        if self.lines.is_empty() && gathered.reported.is_empty() {
            return Err(Failure::Usage(
                "what to locate? Give a line of the log, - for a whole log, or --relation with --block or --tid".to_owned(),
            ));
        }
        for line in &self.lines {
            match line.as_str() {
                "-" => gathered.log(&mut std::io::stdin().lock())?,
                line => gathered.argument(line),
            }
        }
        gathered.finish();
        let examiner = self.pgdata.as_deref().map(Examiner::new).transpose()?;
        let report = self.report(gathered, examiner);
        self.common.print(&report)
    }

    /// What `--relation`, `--block` and `--tid` ask for.
    fn asked(&self) -> Result<Option<Reported>, Failure> {
        let usage = |message: &str| Failure::Usage(message.to_owned());
        let Some(path) = &self.relation else {
            return match (self.block, self.tid) {
                (None, None) => Ok(None),
                (Some(_), _) => {
                    Err(usage("--block of which relation? Give --relation base/DATABASE/FILENODE"))
                }
                (None, Some((block, item))) => {
                    let subject = Subject::Tuple {
                        table: "TABLE".to_owned(),
                        block,
                        item: Some(item),
                        attribute: None,
                    };
                    Ok(Some(Reported::asked(format!("tid ({block},{item})"), subject, None)))
                }
            };
        };
        let relation = RelPath::parse(path)
            .ok_or_else(|| usage("--relation is a file's path below PGDATA, such as base/17291/17420"))?;
        let fork = relation.fork_path();
        Ok(Some(match (self.block, self.tid) {
            (Some(block), _) => {
                let subject = Subject::Blocks { relation, first: block, last: block };
                Reported::asked(format!("block {block} of {fork}"), subject, None)
            }
            (None, Some((block, item))) => {
                let subject = Subject::Blocks { relation, first: block, last: block };
                Reported::asked(format!("tid ({block},{item}) of {fork}"), subject, Some(item))
            }
            (None, None) => Reported::asked(path.clone(), Subject::RelationFile(relation), None),
        }))
    }

    fn report(&self, gathered: Gathered, mut examiner: Option<Examiner>) -> Report {
        let mut findings = Findings::keeping_all(self.common.all);
        let mut coverage = Coverage::default();
        let sizes = examiner.as_ref().map_or(Sizes::ASSUMED, |examiner| examiner.sizes);
        let totals = gathered.totals();
        let mut located: Vec<Located> = Vec::new();
        for reported in gathered.reported {
            let mut places = places(&reported.subject, &sizes);
            if let Some(item) = reported.item {
                let pointer =
                    places.first().and_then(|page| crate::check::log_place::line_pointer(page, item));
                places.extend(pointer);
            }
            let look = |place| {
                examiner.as_mut().and_then(|examiner| examiner.look(place, &mut findings, &mut coverage))
            };
            let seen = places.iter().map(look).collect();
            located.push(Located { reported, places, seen });
        }
        // Worst first, as we and then as the log judge it; then what is repeated most; then as in the log.
        located.sort_by_key(|located| {
            let topic = located.reported.topic;
            let severity = topic.map(|topic| code(topic).severity);
            let word = located.reported.severity.as_deref();
            let urgency = URGENT.iter().position(|known| Some(*known) == word).unwrap_or(URGENT.len());
            (Reverse(severity), urgency, Reverse(located.reported.count), located.reported.line)
        });
        for (located, number) in located.iter().zip(1..) {
            let Some(topic) = located.reported.topic else { continue };
            findings.push(finding(located, number, topic, examiner.as_ref()));
        }
        for (what, why) in gathered.not_understood {
            coverage.fail(&PathBuf::from(what), why);
        }
        let verdict = verdict(&located, gathered.lines, gathered.understood);
        let mut sections = vec![summary(&totals, &sizes, examiner.as_ref())];
        sections.extend(tables::sections(&located, &sizes, self.pgdata.as_deref(), self.common.format));
        if let Some(examiner) = examiner {
            coverage.files += examiner.files;
            coverage.bytes += examiner.bytes;
            for (path, why) in examiner.problems {
                coverage.fail(&path, why);
            }
        }
        let subject = match &self.pgdata {
            Some(pgdata) => vec![pgdata.clone()],
            None => Vec::new(),
        };
        Report { command: "locate", subject, verdict, findings, coverage, sections }
    }
}

/// The message as a finding, with the place that it names.
fn finding(
    located: &Located,
    number: u64,
    topic: crate::format::server_log::Topic,
    examiner: Option<&Examiner>,
) -> Finding {
    let reported = &located.reported;
    let at = located.places.first().map_or_else(Place::default, |place| {
        let path = match place.kind {
            FileKind::Named(_) => None,
            _ => Some(examiner.map_or_else(|| PathBuf::from(&place.file), |examiner| examiner.path(place))),
        };
        let is_relation = matches!(place.kind, FileKind::Relation(_) | FileKind::Named(_));
        Place {
            path,
            offset: (place.length.is_some() || place.offset > 0).then_some(place.offset),
            length: place.length,
            block: place.block.filter(|_| is_relation).and_then(|block| block.try_into().ok()),
            lsn: match reported.subject {
                Subject::Wal { lsn, .. } => lsn,
                _ => None,
            },
            end_lsn: None,
        }
    });
    let mut finding =
        Finding::new(code(topic), at, reported.text.clone()).measured("number in the tables", number);
    if reported.count > 1 {
        finding = finding.measured("times in the log", reported.count);
    }
    if let Some(detail) = &reported.detail {
        finding = finding.measured("DETAIL", detail);
    }
    if let Some((calculated, stored)) = reported.checksums {
        let both = |sum: u16| format!("{sum:X} ({sum})");
        finding = finding.differs("checksum in the page", both(stored), both(calculated));
    }
    if let Some(text) = examiner.and_then(|examiner| examiner.range(&reported.subject)) {
        finding = finding.measured("pg_control", text);
    }
    for text in located.seen.iter().flatten().filter_map(|seen| seen.content.as_ref()) {
        finding = finding.measured("what is there now", text);
    }
    finding
}

fn verdict(located: &[Located], lines: u64, understood: u64) -> String {
    let Some(worst) = located.first() else {
        return format!("no message was understood; lines read: {lines}");
    };
    let place = match worst.places.first() {
        Some(place) => place_text(&worst.reported, place),
        None => format!("{}: the message names no place", worst.reported.text),
    };
    match located.len() {
        1 => place,
        different => {
            format!("{understood} messages in {lines} lines name {different} different places; first {place}")
        }
    }
}

fn place_text(reported: &Reported, place: &FilePlace) -> String {
    let what = reported.name();
    let file = match &place.kind {
        FileKind::Named(name) if place.file.is_empty() => format!("the first segment file of {name}"),
        FileKind::Named(name) => format!("the segment file {} of {name}", place.file),
        _ => place.file.clone(),
    };
    let bit = place.bit.map_or_else(String::new, |bit| format!(", bits {bit} and {}", bit + 1));
    match (place.block_in_file, place.length) {
        (Some(block), Some(_)) if bit.is_empty() => {
            format!("{what} is in {file} at byte {} (block {block} of that file)", place.offset)
        }
        (_, Some(_)) => format!("{what} is in {file} at byte {}{bit}", place.offset),
        (Some(_), None) => format!("{what} is in {file} at byte {}", place.offset),
        (None, None) => format!("{what} is about {file}"),
    }
}

fn summary(
    totals: &[(&'static str, &'static str, u64)],
    sizes: &Sizes,
    examiner: Option<&Examiner>,
) -> Section {
    let fact = |key, heading: &str, value: Cell| Fact { key, heading: heading.to_owned(), value };
    let mut facts: Vec<_> =
        totals.iter().map(|(key, heading, number)| fact(key, heading, (*number).into())).collect();
    let geometry = sizes.geometry;
    facts.extend([
        fact("block_size", "Block size:", Cell::Bytes(geometry.page_size as u64)),
        fact("segment_size", "Segment size:", Cell::Bytes(geometry.segment_bytes())),
        fact("wal_segment_size", "WAL segment size:", Cell::Bytes(sizes.wal_segment.bytes())),
        fact("major", "PostgreSQL major:", examiner.map(|_| u64::from(sizes.major.version().number)).into()),
    ]);
    let source = match examiner.map(|examiner| examiner.assumed.as_deref()) {
        Some(None) => "pg_control".to_owned(),
        Some(Some(assumed)) => assumed.to_owned(),
        None => "assumed: those of a default build up to 18; --pgdata takes the cluster's own".to_owned(),
    };
    facts.push(fact("sizes", "Sizes:", source.into()));
    Section::Facts { key: "summary", heading: "Summary", facts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tids_as_the_server_prints_them() {
        assert_eq!(tid("(123,4)"), Ok((123, 4)));
        assert_eq!(tid("123, 4"), Ok((123, 4)));
        for bad in ["", "(1)", "(1,0)", "(1,65536)", "(-1,2)", "(4294967296,1)", "(1,2,3)"] {
            assert!(tid(bad).is_err(), "{bad}");
        }
    }
}
