//! `pgforensic wal-dump`: pg_waldump's lines, of any major, from any of the forms in which WAL is kept.

use std::io::{self, Write};

use jiff::tz::TimeZone;

use super::Failure;
use super::wal_selection::Selection;
use crate::format::reader::Data;
use crate::format::wal::record::{Parts, Record};
use crate::format::wal::waldump::push_line;
use crate::pg::TimelineId;
use crate::pg::time::local_zone;
use crate::report::Status;
use crate::scan::wal_walk::{Item, WalFault, WalKind};

/// Show the records of the WAL as the major's own pg_waldump does
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Output detailed information about backup blocks
    #[arg(short = 'b', long)]
    bkp_details: bool,
    /// Do not print any output, except for errors
    #[arg(short, long)]
    quiet: bool,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let (files, start, end) = self.selection.open()?;
        let zone = local_zone();
        let mut out = io::stdout().lock();
        let mut failure = None;
        let mut last = None;
        let mut fault = None;
        let options = Options { zone: &zone, blocks: self.bkp_details, quiet: self.quiet };
        files.walk(
            start,
            end,
            self.selection.threads(),
            false,
            |run| {
                let mut text = Vec::with_capacity(1 << 20);
                let mut parts = Parts::default();
                let end = run(&mut |item| {
                    options.print(&files.kind, &item, &mut parts, &mut text);
                    true
                });
                (text, end)
            },
            |unit| {
                if let Err(error) = out.write_all(&unit.result) {
                    failure = Some(error);
                    return false;
                }
                if let (Some(before), Some((at, prev))) = (last, unit.first)
                    && before != prev
                {
                    fault = Some(WalFault::PrevLink { at, prev });
                    return false;
                }
                last = unit.end.last.or(last);
                let ended = unit.end.fault.is_some();
                fault = unit.end.fault.filter(|fault| !matches!(fault, WalFault::EndOfRange { .. }));
                !ended
            },
        );
        if let Some(error) = failure {
            return Err(error.into());
        }
        out.flush()?;
        if let Some(fault) = fault {
            let message = fault.message(&files.kind, TimelineId(self.selection.timeline));
            let at = last.unwrap_or(start).text(files.kind.major);
            eprintln!("pg_waldump: error: error in WAL record at {at}: {message}");
            return Ok(Status::FINDINGS);
        }
        Ok(Status::CLEAN)
    }
}

/// How a record is printed.
struct Options<'z> {
    zone: &'z TimeZone,
    blocks: bool,
    quiet: bool,
}

impl Options<'_> {
    fn print(&self, kind: &WalKind, item: &Item, parts: &mut Parts, text: &mut Vec<u8>) {
        let Item::Record { lsn, header, bytes, .. } = item else { return };
        let data = Data { bytes, big_endian: kind.abi.big_endian };
        if parts.decode(data, kind.major).is_err() || self.quiet {
            return;
        }
        let record = Record { lsn: *lsn, header: *header, parts, data, major: kind.major };
        push_line(text, &record, self.zone, self.blocks);
    }
}
