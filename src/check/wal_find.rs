//! What a search in the WAL means for recovery: barriers that it cannot pass, transactions that stay in doubt.

use crate::finding::{Finding, Findings, Place, wal};
use crate::pg::Major;
use crate::scan::wal_find::{Event, What};

/// `WAL_LEVEL_MINIMAL`.
pub const WAL_LEVEL_MINIMAL: i32 = 0;

/// Judges the events of a search.
pub fn check_events(major: Major, events: &[Event], findings: &mut Findings) {
    for event in events {
        match &event.what {
            What::Parameters { wal_level: WAL_LEVEL_MINIMAL } => {
                let lsn = event.lsn.text(major);
                let text = format!("from {lsn} on the WAL was generated with wal_level=minimal");
                let reaction = if major >= Major::V14 {
                    "FATAL"
                } else {
                    "FATAL with hot_standby = on, else a WARNING that data may be missing"
                };
                let at = Place { lsn: Some(event.lsn), ..Place::default() };
                findings.push(Finding::new(wal::MINIMAL, at, text).measured("recovery over it", reaction));
            }
            What::Prepared { gid } => {
                let name = String::from_utf8_lossy(gid);
                let (xid, lsn) = (event.xid.unwrap_or(0), event.lsn.text(major));
                let text = format!("transaction {xid}, prepared at {lsn} as \"{name}\", does not end here");
                let at = Place { lsn: Some(event.lsn), ..Place::default() };
                findings.push(Finding::new(wal::PREPARED, at, text));
            }
            _ => {}
        }
    }
}
