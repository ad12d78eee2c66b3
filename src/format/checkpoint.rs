//! `CheckPoint`: the state of the counters at a checkpoint, in pg_control and in every checkpoint record.
//!
//! ```text
//!  offset in      10 11  12-16  17 18   19
//!  redo               0      0      0    0   u64  where recovery starts
//!  ThisTimeLineID     8      8      8    8   u32
//!  PrevTimeLineID    12     12     12   12   u32
//!  fullPageWrites    16     16     16   16   bool
//!  wal_level          -      -     20   20   i32
//!  logicalDecoding    -      -      -   24   bool
//!  nextXid        20,24     24     24   32   u32 epoch, u32 xid; from 12 one u64, aligned
//!  nextOid           28     32     32   40   u32
//!  nextMulti         32     36     36   44   u32
//!  nextMultiOffset   36     40     40   48   u32; from 19 u64
//!  oldestXid         40     44     44   56   u32, then oldestXidDB, oldestMulti, oldestMultiDB
//!  time              56     64     64   72   i64  seconds since 1970
//!  oldestCommitTsXid 64     72     72   80   u32, then newestCommitTsXid, oldestActiveXid
//!  size              80     88     88   96
//! ```
//!
//! Source: `CheckPoint`, catalog/pg_control.h.

use super::reader::{Reader, Truncated};
use crate::pg::{Lsn, Major, Oid, TimelineId};

/// The body of a checkpoint record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPoint {
    /// Where recovery from this checkpoint starts; for a shutdown checkpoint the record itself.
    pub redo: Lsn,
    /// The timeline the record was written on.
    pub this_timeline: TimelineId,
    /// The timeline before, where this record starts a new one; else the same.
    pub prev_timeline: TimelineId,
    /// `full_page_writes` was on.
    pub full_page_writes: u8,
    /// 17+: `wal_level` in force.
    pub wal_level: Option<i32>,
    /// 19+: logical decoding was enabled.
    pub logical_decoding: Option<u8>,
    /// The next transaction id with its epoch in the high half.
    pub next_xid: u64,
    /// The next OID to give out.
    pub next_oid: Oid,
    /// The next MultiXactId.
    pub next_multi: u32,
    /// The next position in pg_multixact/members.
    pub next_multi_offset: u64,
    /// The cluster's oldest `datfrozenxid`.
    pub oldest_xid: u32,
    /// The database that has it; 0 after `pg_resetwal -x` or `-u`.
    pub oldest_xid_db: Oid,
    /// The cluster's oldest `datminmxid`.
    pub oldest_multi: u32,
    /// The database that has it; 0 after `pg_resetwal -m`.
    pub oldest_multi_db: Oid,
    /// When the checkpoint was made, in seconds since 1970.
    pub time: i64,
    /// The oldest transaction with a commit timestamp; 0 if none is kept.
    pub oldest_commit_ts_xid: u32,
    /// The newest transaction with a commit timestamp; 0 if none is kept.
    pub newest_commit_ts_xid: u32,
    /// The oldest transaction that was running; 0 in a shutdown checkpoint.
    pub oldest_active_xid: u32,
}

impl CheckPoint {
    /// Reads the structure as `layout`'s server writes it.
    pub fn read(reader: &mut Reader, layout: Major) -> Result<CheckPoint, Truncated> {
        reader.align8();
        let redo = Lsn(reader.u64("redo")?);
        let this_timeline = TimelineId(reader.u32("ThisTimeLineID")?);
        let prev_timeline = TimelineId(reader.u32("PrevTimeLineID")?);
        let full_page_writes = reader.u8("fullPageWrites")?;
        let wal_level = (layout >= Major::V17).then(|| reader.i32("checkPointCopy.wal_level")).transpose()?;
        let logical_decoding =
            (layout >= Major::V19).then(|| reader.u8("logicalDecodingEnabled")).transpose()?;
        let next_xid = if layout >= Major::V12 {
            reader.u64("nextXid")?
        } else {
            let epoch = reader.u32("nextXidEpoch")?;
            u64::from(epoch) << 32 | u64::from(reader.u32("nextXid")?)
        };
        let next_oid = reader.u32("nextOid")?;
        let next_multi = reader.u32("nextMulti")?;
        let next_multi_offset = if layout >= Major::V19 {
            reader.u64("nextMultiOffset")?
        } else {
            reader.u32("nextMultiOffset")?.into()
        };
        let checkpoint = CheckPoint {
            redo,
            this_timeline,
            prev_timeline,
            full_page_writes,
            wal_level,
            logical_decoding,
            next_xid,
            next_oid,
            next_multi,
            next_multi_offset,
            oldest_xid: reader.u32("oldestXid")?,
            oldest_xid_db: reader.u32("oldestXidDB")?,
            oldest_multi: reader.u32("oldestMulti")?,
            oldest_multi_db: reader.u32("oldestMultiDB")?,
            time: reader.i64("checkPointCopy.time")?,
            oldest_commit_ts_xid: reader.u32("oldestCommitTsXid")?,
            newest_commit_ts_xid: reader.u32("newestCommitTsXid")?,
            oldest_active_xid: reader.u32("oldestActiveXid")?,
        };
        reader.align8();
        Ok(checkpoint)
    }

    /// The low half of [`next_xid`](Self::next_xid), as tuples and WAL records hold it.
    pub fn next_xid_low(&self) -> u32 {
        self.next_xid as u32
    }
}
