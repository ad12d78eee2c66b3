//! The table that `pg_waldump --stats` prints, of each major.
//!
//! ```text
//! WAL statistics between 0/900028 and 0/A00000:                                            15 and later
//! Type                                           N      (%)          Record size      (%)  …
//! ----                                           -      ---          -----------      ---  …
//! XLOG                                           3 ( 75.00)                  172 ( 77.48)  …
//!                                         --------                      --------           …
//! Total                                          4                           222 [100.00%] …
//! ```
//!
//! Percentages of the rows are of their column's total, those of the last line of all bytes. 15 and later print
//! nothing at all if no record was counted. Source: `XLogDumpDisplayStats` in pg_waldump.c.

use std::fmt::Write;

use crate::format::wal::rmgr::rmgr;
use crate::format::wal::waldump::push_custom_name;
use crate::pg::{Lsn, Major};
use crate::scan::wal_stats::{MAX_XLINFO_TYPES, Tally, WalStats};

/// Which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Rows {
    /// One for each resource manager
    Rmgr,
    /// One for each kind of record
    Record,
}

/// The whole text; `start` is where the first record was found.
pub(super) fn stats_table(stats: &WalStats, rows: Rows, start: Lsn, major: Major) -> String {
    let mut text = String::new();
    if major >= Major::V15 {
        let Some(end) = stats.end else { return text };
        text = format!("WAL statistics between {} and {}:\n", start.text(major), end.text(major));
    }
    let heading = |cells: [&str; 5]| {
        let [name, count, records, images, both] = cells;
        let percent = if name == "Type" { "(%)" } else { "---" };
        format!(
            "{name:<27} {count:>20} {percent:>8} {records:>20} {percent:>8} {images:>20} {percent:>8} {both:>20} {percent:>8}\n"
        )
    };
    text += &heading(["Type", "N", "Record size", "FPI size", "Combined size"]);
    text += &heading(["----", "-", "-----------", "--------", "-------------"]);
    let total = stats.kinds.total();
    for (name, tally) in named_rows(stats, rows, major) {
        push_row(&mut text, &name, &tally, &total);
    }
    let (blank, line) = ("", "--------");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{blank:<27} {line:>20} {blank:>8} {line:>20} {blank:>8} {line:>20} {blank:>8} {line:>20}"
    );
    let share = |part| format!("[{:.2}%]", percent(part, total.bytes()));
    let _ = writeln!(
        text,
        "{:<27} {:>20} {blank:<9}{:>20} {:<9}{:>20} {:<9}{:>20} {:<6}",
        "Total",
        total.count,
        total.record_bytes,
        share(total.record_bytes),
        total.image_bytes,
        share(total.image_bytes),
        total.bytes(),
        "[100%]"
    );
    text
}

/// The rows in order: every built-in resource manager, or the kinds of records that there are.
pub(super) fn named_rows(stats: &WalStats, rows: Rows, major: Major) -> Vec<(String, Tally)> {
    let mut named = Vec::new();
    for rmid in 0..=u8::MAX {
        let manager = rmgr(rmid);
        let name = manager.map_or_else(|| custom_name(rmid), |manager| manager.name.to_owned());
        match rows {
            Rows::Rmgr => {
                let tally = stats.kinds.of_rmgr(rmid);
                if manager.is_some() || tally.count > 0 {
                    named.push((name, tally));
                }
            }
            Rows::Record => {
                for kind in 0..MAX_XLINFO_TYPES as u8 {
                    let info = kind << 4;
                    let tally = stats.kinds.of_kind(rmid, info);
                    if tally.count == 0 {
                        continue;
                    }
                    let name = match manager.and_then(|manager| (manager.identify)(info, major)) {
                        Some(id) => format!("{name}/{id}"),
                        None => format!("{name}/UNKNOWN ({info:x})"),
                    };
                    named.push((name, tally));
                }
            }
        }
    }
    named
}

fn custom_name(rmid: u8) -> String {
    let mut name = Vec::new();
    push_custom_name(&mut name, rmid);
    String::from_utf8_lossy(&name).into_owned()
}

fn push_row(text: &mut String, name: &str, tally: &Tally, total: &Tally) {
    let _ = writeln!(
        text,
        "{name:<27} {:>20} ({:6.2}) {:>20} ({:6.2}) {:>20} ({:6.2}) {:>20} ({:6.2})",
        tally.count,
        percent(tally.count, total.count),
        tally.record_bytes,
        percent(tally.record_bytes, total.record_bytes),
        tally.image_bytes,
        percent(tally.image_bytes, total.image_bytes),
        tally.bytes(),
        percent(tally.bytes(), total.bytes()),
    );
}

/// Computed as the tool does, so that it is rounded alike.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}
