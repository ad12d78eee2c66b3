//! `pgforensic wal-dump`: pg_waldump's lines, of any major, from any of the forms in which WAL is kept.
//!
//! Standard output holds the dump and nothing else: the bytes of that major's pg_waldump, or JSON Lines. What is
//! damaged is told on standard error, and decoding goes on behind it; `--strict` stops and speaks as the tool does.
//!
//! Threads put the text of their units together, and it is written in order. The options that count records
//! (`--limit`) are applied then: a unit's worker cannot know how many came before.

mod json;
mod strict;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use jiff::tz::TimeZone;

use super::wal_filter::Filters;
use super::wal_fullpage::Saver;
use super::wal_selection::{Selected, Selection};
use super::wal_stats::{Rows, print_stats};
use super::{FailOn, Failure};
use crate::check::wal_records::{end_finding, loss_finding};
use crate::finding::{Coverage, Findings};
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::RMGRS;
use crate::format::wal::waldump::push_line;
use crate::pg::time::local_zone;
use crate::pg::{Lsn, Major};
use crate::report::{Report, Status};
use crate::scan::wal_end::normal_end;
use crate::scan::wal_units::{Loss, WalFiles, Walked};
use crate::scan::wal_walk::{Item, Visitor, WalFault, WalkEnd};

/// Show the records of the WAL as the major's own pg_waldump does
///
/// Reads the WAL of every major from 10 to 19: plain and compressed segments, .partial files, archives and
/// data directories. Damage is reported on standard error and does not end the dump.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic wal-dump /archive/000000010000000000000042
  pgforensic wal-dump -p /archive -s 0/42000000 -e 0/43000000 -x 731
  pgforensic wal-dump -p /archive -p /var/lib/postgresql/data -t 3
  pgforensic wal-dump -p /archive -r Transaction --format json
  pgforensic wal-dump -p /archive --quiet                   is all of it valid, and where does it end?
  zstdcat 000000010000000000000042.zst | pgforensic wal-dump -

Exit status: 0 nothing is damaged, 1 damage, 2 wrong usage, 3 something could not be read.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) filters: Filters,
    /// Output detailed information about backup blocks
    #[arg(short, long)]
    pub(super) bkp_details: bool,
    /// Do not print any records: validate them, and say where the WAL ends
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Not supported: what grows is read again
    #[arg(short, long, hide = true)]
    pub(super) follow: bool,
    /// Show statistics instead of records: by resource manager, or by kind of record
    #[arg(short = 'z', long, value_enum, value_name = "WHAT", num_args = 0..=1, require_equals = true,
        default_missing_value = "rmgr", conflicts_with = "format")]
    pub(super) stats: Option<Rows>,
    /// Save full-page images to DIR, which must be new or empty
    #[arg(long, value_name = "DIR")]
    pub(super) save_fullpage: Option<PathBuf>,
    /// Stop at the first damage, and say what pg_waldump says
    #[arg(long)]
    pub(super) strict: bool,
    /// pg_waldump's text, or one JSON object a line (docs/json.md)
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(super) format: Format,
    /// Exit with status 1 from this severity on
    #[arg(long, value_enum, default_value_t = FailOn::Damage, value_name = "SEVERITY")]
    pub(super) fail_on: FailOn,
    /// List every damage instead of the first twenty of each kind
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// How records are printed, for the threads.
struct Printer<'a> {
    arguments: &'a Arguments,
    files: &'a WalFiles,
    zone: TimeZone,
    filtered: bool,
    limit: Option<u64>,
    /// Nothing is asked for but whether the records are valid.
    only_counts: bool,
    saver: Option<&'a Saver<'a>>,
    /// Memory that was written out and can be filled again.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// What a thread made of one unit.
struct Printed<'p> {
    printer: &'p Printer<'p>,
    text: Vec<u8>,
    /// Where the text of each record ends; only if records are counted.
    ends: Vec<usize>,
    /// Valid records, and the first of them.
    records: u64,
    first: Option<Lsn>,
    /// Records that passed the filters.
    shown: u64,
    /// What is lost, and how many records were shown before.
    losses: Vec<(u64, Loss)>,
}

/// What came out of all units so far.
#[derive(Default)]
pub(super) struct Total {
    pub records: u64,
    pub shown: u64,
    pub first: Option<Lsn>,
    pub losses: Vec<Loss>,
    /// `--limit` was reached.
    pub enough: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let mut out = io::stdout().lock();
        if self.filters.wants_list() {
            for row in RMGRS {
                writeln!(out, "{}", row.name)?;
            }
            return Ok(Status::CLEAN);
        }
        if self.follow {
            let message =
                "--follow is not supported: what is examined here does not grow; run the command again";
            return Err(Failure::Usage(message.to_owned()));
        }
        if self.strict && !self.selection.has_start() {
            return Err(Failure::Usage("no start WAL location given".to_owned()));
        }
        let mut selected = self.selection.open(self.strict)?;
        if self.strict {
            // As the tool: whoever wrote it, and up to the segment that is not there.
            selected.files.kind.system_id = None;
            if !selected.end_given {
                selected.end = Lsn(u64::MAX);
            }
        }
        let Selected { files, start, end, .. } = &selected;
        let first = files.first_record(*start, *end);
        self.say_first_record(files, *start, &first, &mut out)?;
        if self.strict
            && let Some(message) = strict::no_first_record(files, *start, *end, &first)
        {
            return Ok(strict::fail(&message));
        }
        let mut total = Total::default();
        let saver = self.saver(&selected)?;
        let walked = match self.stats {
            Some(rows) => print_stats(&self, &selected, rows, saver.as_ref(), &mut total, &mut out)?,
            None => self.print_all(&selected, saver.as_ref(), &mut total, &mut out)?,
        };
        out.flush()?;
        let bad_images = saver.map_or(Ok(Vec::new()), Saver::finish)?;
        if let Some((_, message)) = bad_images.first()
            && self.strict
        {
            return Ok(strict::fail(message));
        }
        if total.enough && self.strict {
            return Ok(Status::CLEAN);
        }
        if self.strict {
            let message = strict::message(files, &walked.end, selected.end_given);
            return Ok(message.map_or(Status::CLEAN, |message| strict::fail(&message)));
        }
        let mut coverage = Coverage { files: files.segments.len() as u64, ..Coverage::default() };
        for error in walked.unreadable {
            coverage.fail(&error.path, error.to_string());
        }
        for (path, message) in bad_images {
            coverage.fail(&path, message);
        }
        let report = self.report(&selected, &total, &walked.end, coverage);
        if self.format == Format::Json {
            json::end(&mut out, &report, &walked.end, &total)?;
        }
        // Nobody may be left to read it.
        let _ = report.print_assessment(&mut io::stderr().lock());
        Ok(report.status(self.fail_on.into()))
    }

    /// The tool's word when reading begins behind the position that was asked for: 17 moved it to standard error.
    fn say_first_record(
        &self,
        files: &WalFiles,
        start: Lsn,
        first: &Result<Lsn, WalFault>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let major = files.kind.major;
        let Ok(first) = *first else { return Ok(()) };
        if first == start || files.kind.size.offset(start) == 0 {
            return Ok(());
        }
        let skipped = first.0 - start.0;
        let bytes = if skipped == 1 { "byte" } else { "bytes" };
        let (start, first) = (start.text(major), first.text(major));
        let text = format!("first record is after {start}, at {first}, skipping over {skipped} {bytes}");
        if major >= Major::V17 || self.format == Format::Json {
            let _ = writeln!(io::stderr(), "pgforensic: {text}");
            Ok(())
        } else {
            writeln!(out, "{text}")
        }
    }

    /// Where full-page images go, if they were asked for.
    fn saver<'f>(&self, selected: &'f Selected) -> Result<Option<Saver<'f>>, Failure> {
        let Some(directory) = &self.save_fullpage else { return Ok(None) };
        let limit = self.selection.limit.filter(|limit| *limit > 0);
        let examined = self.selection.examined(&selected.files);
        Ok(Some(Saver::create(directory, &examined, &selected.files, limit)?))
    }

    /// Walks the WAL and writes the dump.
    fn print_all(
        &self,
        selected: &Selected,
        saver: Option<&Saver>,
        total: &mut Total,
        out: &mut impl Write,
    ) -> Result<Walked, Failure> {
        let Selected { files, start, end, .. } = selected;
        let (filtered, limit) = (self.filters.any(), self.selection.limit.filter(|limit| *limit > 0));
        let printer = Printer {
            arguments: self,
            files,
            zone: local_zone(),
            filtered,
            limit,
            only_counts: self.quiet && !filtered && saver.is_none() && limit.is_none(),
            saver,
            spare: Mutex::new(Vec::new()),
        };
        let mut failure = None;
        let threads = if saver.is_some_and(Saver::counts) { 1 } else { self.selection.threads() };
        let walked = files.walk(
            *start,
            *end,
            threads,
            !self.strict,
            || printer.unit(),
            |unit| {
                let mut printed = unit.result;
                let written = self.write_unit(&printer, &mut printed, unit.gap, total, out);
                printer.give_back(printed.text);
                match written {
                    Ok(()) => !total.enough,
                    Err(error) => {
                        failure = Some(error);
                        false
                    }
                }
            },
        );
        failure.map_or(Ok(walked), |error| Err(error.into()))
    }

    fn write_unit(
        &self,
        printer: &Printer,
        printed: &mut Printed,
        gap: Option<Loss>,
        total: &mut Total,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if let Some(gap) = gap {
            if self.format == Format::Json {
                let mut line = Vec::new();
                json::push_loss(&mut line, printer.files, &gap);
                out.write_all(&line)?;
            }
            total.losses.push(gap);
        }
        let left = printer.limit.map_or(u64::MAX, |limit| limit.saturating_sub(total.shown));
        if printed.shown >= left {
            // No more than what was asked for, and no more than what was seen by then.
            total.enough = true;
            printed.shown = left;
            let end = usize::try_from(left).ok().and_then(|left| printed.ends.get(left.checked_sub(1)?));
            printed.text.truncate(end.copied().unwrap_or(0));
            printed.losses.retain(|(before, _)| *before < left);
        }
        out.write_all(&printed.text)?;
        total.first = total.first.or(printed.first);
        total.records += printed.records;
        total.shown += printed.shown;
        total.losses.extend(printed.losses.drain(..).map(|(_, loss)| loss));
        Ok(())
    }

    pub(super) fn report(
        &self,
        selected: &Selected,
        total: &Total,
        end: &WalkEnd,
        coverage: Coverage,
    ) -> Report {
        let files = &selected.files;
        let major = files.kind.major;
        let mut findings = Findings::keeping_all(self.all);
        for loss in &total.losses {
            findings.push(loss_finding(files, loss));
        }
        let normal = normal_end(files, end, selected.end_given);
        let mut verdict = match total.first {
            Some(first) => format!(
                "{} record{} of PostgreSQL {major} from {} to {}",
                total.records,
                if total.records == 1 { "" } else { "s" },
                first.text(major),
                files.behind_last(end).text(major)
            ),
            None => format!("no record of PostgreSQL {major} from {} on", selected.start.text(major)),
        };
        if self.filters.any() {
            verdict.push_str(&format!(", {} shown", total.shown));
        }
        if !total.losses.is_empty() {
            let lost: u64 = total.losses.iter().map(|loss| loss.to.0 - loss.from.0).sum();
            let (places, s) = (total.losses.len(), if total.losses.len() == 1 { "" } else { "s" });
            verdict.push_str(&format!(", {lost} bytes lost in {places} place{s}"));
        }
        if total.enough {
            verdict.push_str("; limit reached");
        } else if let Some(normal) = normal {
            verdict.push_str(&format!("; {normal}"));
        } else if let Some(fault) = &end.fault
            && coverage.complete()
        {
            findings.push(end_finding(files, fault, end));
            verdict.push_str(&format!("; ends with damage: {}", files.message(fault)));
        }
        let subject: Vec<PathBuf> =
            files.segments.values().map(|source| source.path.clone()).take(1).collect();
        Report { command: "wal-dump", subject, verdict, findings, coverage, sections: Vec::new() }
    }
}

impl Visitor for Printed<'_> {
    #[inline(always)]
    fn visit(&mut self, item: Item) -> bool {
        match item {
            Item::Record { record, end } => {
                self.records += 1;
                self.first.get_or_insert(record.lsn);
                if self.printer.only_counts {
                    self.shown += 1;
                    return true;
                }
                self.record(record, end)
            }
            Item::Aborted { .. } => true,
            Item::Lost { fault, from, to } => {
                let loss = Loss { fault, from, to };
                if self.printer.arguments.format == Format::Json {
                    json::push_loss(&mut self.text, self.printer.files, &loss);
                }
                self.losses.push((self.shown, loss));
                true
            }
        }
    }
}

impl Printed<'_> {
    /// A record with all that can be asked for; false when there are enough.
    #[inline(never)]
    fn record(&mut self, record: &Record, end: Lsn) -> bool {
        let Printer { arguments, zone, saver, .. } = self.printer;
        if self.printer.filtered && !arguments.filters.pass(&record.header, record.parts) {
            return true;
        }
        self.shown += 1;
        if saver.is_some_and(|saver| !saver.save(record)) {
            return false;
        }
        if !arguments.quiet {
            match arguments.format {
                Format::Text => push_line(&mut self.text, record, zone, arguments.bkp_details),
                Format::Json => json::push_record(&mut self.text, record, end, zone),
            }
        }
        if let Some(limit) = self.printer.limit {
            self.ends.push(self.text.len());
            return self.shown < limit;
        }
        true
    }
}

impl Printer<'_> {
    /// For the text of one unit.
    fn unit(&self) -> Printed<'_> {
        let text = self.spare.lock().ok().and_then(|mut spare| spare.pop()).unwrap_or_default();
        Printed {
            printer: self,
            text,
            ends: Vec::new(),
            records: 0,
            first: None,
            shown: 0,
            losses: Vec::new(),
        }
    }

    fn give_back(&self, mut text: Vec<u8>) {
        text.clear();
        if let Ok(mut spare) = self.spare.lock() {
            spare.push(text);
        }
    }
}
