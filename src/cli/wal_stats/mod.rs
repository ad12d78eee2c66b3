//! `pgforensic wal-stats`: how much WAL there is of what, and who wrote it.
//!
//! By resource manager or by kind of record it is pg_waldump's own table, byte for byte; everything else, and
//! everything for programs, is a report.

mod sections;
mod table;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::wal_dump::{self, Total};
use super::wal_filter::Filters;
use super::wal_fullpage::Saver;
use super::wal_selection::{Selected, Selection};
use super::{Common, Failure};
use crate::finding::Coverage;
use crate::pg::Lsn;
use crate::report::{Format, Status};
use crate::scan::wal_stats::{UnitStats, WalStats, Wanted};
use crate::scan::wal_units::{Loss, Walked};
use crate::scan::wal_walk::{Item, Visitor};
pub(super) use table::Rows;

/// Show how much WAL there is of what: by kind of record, relation, database, transaction or minute
///
/// Without --by, and with --by rmgr or --by record alone, the text is that of the major's own
/// pg_waldump --stats or --stats=record. The time is known only where transactions end: a transaction
/// took so long at the most, and records count for the minute of the commit before them.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic wal-stats /archive/000000010000000000000042
  pgforensic wal-stats -p /archive -s 16/B3000000 -e 16/B4000000 --stats=record
  pgforensic wal-stats -p /archive --by relation --top 10    which table writes all this WAL?
  pgforensic wal-stats -p /archive --by transaction          the largest and the longest
  pgforensic wal-stats -p /archive --by minute               when was it written?")]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    filters: Filters,
    /// By what to count; may be given several times, or separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    by: Vec<By>,
    /// As pg_waldump spells --by rmgr and --by record
    #[arg(short = 'z', long, value_enum, value_name = "WHAT", num_args = 0..=1, require_equals = true,
        default_missing_value = "rmgr", conflicts_with = "by")]
    stats: Option<Rows>,
    /// How many relations, databases and transactions to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    top: u32,
    /// Stop at the first damage, as pg_waldump does
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    common: Common,
}

/// By what to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Resource managers
    Rmgr,
    /// Kinds of records
    Record,
    /// Relations: the largest ones
    Relation,
    /// Databases
    Database,
    /// Transactions: the largest and the longest ones
    Transaction,
    /// Minutes, with a chart
    Minute,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let mut by = self.by;
        if by.is_empty() {
            by.push(if self.stats == Some(Rows::Record) { By::Record } else { By::Rmgr });
        }
        let rows = match by.as_slice() {
            [By::Rmgr] => Some(Rows::Rmgr),
            [By::Record] => Some(Rows::Record),
            _ => None,
        };
        let dump = wal_dump::Arguments {
            selection: self.selection,
            filters: self.filters,
            bkp_details: false,
            quiet: false,
            follow: false,
            stats: rows,
            save_fullpage: None,
            strict: self.strict,
            format: wal_dump::Format::Text,
            fail_on: self.common.fail_on,
            all: self.common.all,
        };
        if (rows.is_some() && self.common.format == Format::Text) || dump.filters.wants_list() {
            return dump.run();
        }
        let selected = dump.selection.open(dump.strict)?;
        let wanted = Wanted {
            relations: by.contains(&By::Relation) || by.contains(&By::Database),
            transactions: by.contains(&By::Transaction),
            minutes: by.contains(&By::Minute),
        };
        let (mut total, top) = (Total::default(), self.top as usize);
        let (stats, walked) = count(&dump, &selected, wanted, top, None, &mut total);
        let files = &selected.files;
        let mut coverage = Coverage {
            files: files.segments.len() as u64,
            bytes: stats.kinds.total().bytes(),
            ..Coverage::default()
        };
        for error in walked.unreadable {
            coverage.fail(&error.path, error.to_string());
        }
        let mut report = dump.report(&selected, &total, &walked.end, coverage);
        report.command = "wal-stats";
        report.subject = dump.selection.subject();
        let start = total.first.unwrap_or(selected.start);
        report.sections = sections::sections(&stats, &by, top, start, files.kind.major);
        self.common.print(&report)
    }
}

/// Counts, and prints pg_waldump's table: what `wal-dump --stats` does instead of printing records.
pub(super) fn print_stats(
    dump: &wal_dump::Arguments,
    selected: &Selected,
    rows: Rows,
    saver: Option<&Saver>,
    total: &mut Total,
    out: &mut impl Write,
) -> Result<Walked, Failure> {
    let (stats, walked) = count(dump, selected, Wanted::default(), 0, saver, total);
    // Without any record the tool fails before it prints.
    if let Some(start) = total.first.filter(|_| !dump.quiet) {
        let text = table::stats_table(&stats, rows, start, selected.files.kind.major);
        out.write_all(text.as_bytes())?;
    }
    Ok(walked)
}

/// How records are counted, for the threads.
struct Counter<'a> {
    /// Those that pass, if any were asked for.
    filters: Option<&'a Filters>,
    saver: Option<&'a Saver<'a>>,
    /// Of a limit.
    left: Option<AtomicU64>,
}

/// What a thread made of one unit.
struct Counted<'c> {
    counter: &'c Counter<'c>,
    stats: UnitStats,
    /// Valid records, whether they pass the filters or not, and the first of them.
    records: u64,
    first: Option<Lsn>,
    losses: Vec<Loss>,
}

impl Visitor for Counted<'_> {
    #[inline(always)]
    fn visit(&mut self, item: Item) -> bool {
        let Counter { filters, saver, left } = self.counter;
        match item {
            Item::Record { record, end } => {
                self.records += 1;
                self.first.get_or_insert(record.lsn);
                if filters.is_some_and(|filters| !filters.pass(&record.header, record.parts)) {
                    return true;
                }
                if saver.is_some_and(|saver| !saver.save(record)) {
                    return false;
                }
                self.stats.count(record, end);
                left.as_ref().is_none_or(|left| left.fetch_sub(1, Ordering::Relaxed) > 1)
            }
            Item::Aborted { .. } => true,
            Item::Lost { fault, from, to } => {
                self.losses.push(Loss { fault, from, to });
                true
            }
        }
    }
}

fn count(
    dump: &wal_dump::Arguments,
    selected: &Selected,
    wanted: Wanted,
    top: usize,
    saver: Option<&Saver>,
    total: &mut Total,
) -> (WalStats, Walked) {
    let Selected { files, start, end, .. } = selected;
    let limit = dump.selection.limit.filter(|limit| *limit > 0);
    // With a limit the records have to be counted one after the other.
    let threads = if limit.is_some() { 1 } else { dump.selection.threads() };
    let counter = Counter {
        filters: dump.filters.any().then_some(&dump.filters),
        saver,
        left: limit.map(AtomicU64::new),
    };
    let counted = || Counted {
        counter: &counter,
        stats: UnitStats::new(wanted),
        records: 0,
        first: None,
        losses: Vec::new(),
    };
    let mut stats = WalStats::new(top);
    let walked = files.walk(*start, *end, threads, !dump.strict, counted, |unit| {
        let counted = unit.result;
        total.first = total.first.or(counted.first);
        total.records += counted.records;
        total.losses.extend(unit.gap.into_iter().chain(counted.losses));
        total.shown += counted.stats.counted();
        stats.merge(counted.stats);
        total.enough = limit.is_some_and(|limit| total.shown >= limit);
        !total.enough
    });
    stats.finish();
    (stats, walked)
}
