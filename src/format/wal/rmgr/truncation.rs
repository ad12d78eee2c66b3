//! The records that cut the old end off an SLRU, as far as they say what its oldest entry is from then on.

use super::clog::slru_page;
use super::id::{RM_CLOG_ID, RM_COMMIT_TS_ID, RM_MULTIXACT_ID};
use crate::format::wal::record::Record;
use crate::pg::Major;

/// What is the oldest entry now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// CLOG TRUNCATE: the transaction.
    Xact(u32),
    /// MultiXact TRUNCATE_ID: the multixact.
    MultiXact(u32),
    /// CommitTs TRUNCATE: the transaction.
    CommitTs(u32),
}

impl Truncation {
    /// Reads one of the three; `None` for other records.
    pub fn read(record: &Record) -> Option<Truncation> {
        let data = record.main();
        let behind_page = || data.u32(slru_page(data, record.major)?.1);
        Some(match (record.header.rmid, record.header.op()) {
            (RM_CLOG_ID, 0x10) => Truncation::Xact(behind_page()?),
            (RM_COMMIT_TS_ID, 0x10) => Truncation::CommitTs(behind_page()?),
            // Up to 18 the offsets are cut from one multixact to another, which is the oldest then.
            (RM_MULTIXACT_ID, 0x30) if record.major >= Major::V19 => Truncation::MultiXact(data.u32(4)?),
            (RM_MULTIXACT_ID, 0x30) => Truncation::MultiXact(data.u32(8)?),
            _ => return None,
        })
    }
}
