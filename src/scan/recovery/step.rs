//! What of a record steers a recovery, kept until it is replayed: from 15 on records are read ahead.

use smallvec::SmallVec;

use super::Limits;
use crate::format::checkpoint::CheckPoint;
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::id::{RM_DBASE_ID, RM_SMGR_ID, RM_STANDBY_ID, RM_XACT_ID, RM_XLOG_ID};
use crate::format::wal::rmgr::{ControlRecord, TransactionEnd, XLOG_BACKUP_END};
use crate::pg::ids::FIRST_NORMAL_TRANSACTION_ID;
use crate::pg::relation::RelFileLocator;
use crate::pg::{BlockNumber, Lsn, SegNo, TimelineId};

const XLOG_RESTORE_POINT: u8 = 0x70;
const XLOG_END_OF_RECOVERY: u8 = 0x90;
const XLOG_CHECKPOINT_REDO: u8 = 0xE0;
const XLOG_RUNNING_XACTS: u8 = 0x10;
const XLOG_XACT_PREPARE: u8 = 0x10;
const XLOG_DBASE_CREATE_FILE_COPY: u8 = 0x00;
const XLOG_SMGR_CREATE: u8 = 0x10;
const XLOG_SMGR_TRUNCATE: u8 = 0x20;

/// One record.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) lsn: Lsn,
    pub(super) end: Lsn,
    /// The file that was open when it had been read.
    pub(super) file: (TimelineId, SegNo),
    pub(super) what: What,
    /// The next transaction is not before this one, as far as the record says it; 0 where it does not.
    pub(super) next_xid: u32,
    /// It is of the resource manager of transactions.
    pub(super) is_transaction: bool,
    pub(super) blocks: SmallVec<[Block; 2]>,
}

/// A block of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) locator: RelFileLocator,
    pub(super) block: BlockNumber,
    /// It is of the main fork.
    pub(super) main: bool,
    /// Replay does not have to read it.
    pub(super) is_given: bool,
}

/// The part of it that counts.
#[derive(Debug)]
pub(super) enum What {
    Other,
    TransactionEnd {
        committed: bool,
        xid: u32,
        time: i64,
    },
    Prepare {
        xid: u32,
    },
    RestorePoint {
        name: Vec<u8>,
        time: i64,
    },
    Checkpoint {
        shutdown: bool,
        body: Box<CheckPoint>,
    },
    EndOfRecovery {
        this: TimelineId,
        prev: TimelineId,
    },
    BackupEnd {
        start: Lsn,
    },
    /// The primary's `wal_level`, and its limits.
    Parameters(i32, Limits),
    RunningXacts {
        complete: bool,
    },
    CreateRelation(RelFileLocator),
    TruncateRelation(RelFileLocator, BlockNumber),
    CopyDatabase(u32),
    CheckpointRedo,
}

impl What {
    /// From this record on the timeline can be another one.
    pub(super) fn may_switch(&self) -> bool {
        matches!(self, What::Checkpoint { shutdown: true, .. } | What::EndOfRecovery { .. })
    }

    pub(super) fn of(record: &Record) -> What {
        let (data, op) = (record.main(), record.header.op());
        let what = match record.header.rmid {
            RM_XLOG_ID => What::of_xlog(record),
            RM_XACT_ID if op & 0x70 == XLOG_XACT_PREPARE => Some(What::Prepare { xid: record.header.xid }),
            RM_XACT_ID => TransactionEnd::read(record).map(|end| What::TransactionEnd {
                committed: end.committed,
                xid: end.xid(),
                time: end.time,
            }),
            // xcnt, subxcnt, subxid_overflow: after an overflow the snapshot lacks transactions, unless there are none.
            RM_STANDBY_ID if op == XLOG_RUNNING_XACTS => {
                Some(What::RunningXacts { complete: data.u8(8) == Some(0) || data.i32(0) == Some(0) })
            }
            RM_SMGR_ID if op == XLOG_SMGR_CREATE && data.u32(12) == Some(0) => {
                data.locator(0).map(What::CreateRelation)
            }
            RM_SMGR_ID if op == XLOG_SMGR_TRUNCATE => data
                .locator(4)
                .zip(data.u32(0))
                .map(|(locator, block)| What::TruncateRelation(locator, block)),
            RM_DBASE_ID if op == XLOG_DBASE_CREATE_FILE_COPY => data.u32(0).map(What::CopyDatabase),
            _ => None,
        };
        what.unwrap_or(What::Other)
    }

    fn of_xlog(record: &Record) -> Option<What> {
        let data = record.main();
        match record.header.op() {
            XLOG_BACKUP_END => return data.u64(0).map(|start| What::BackupEnd { start: Lsn(start) }),
            XLOG_RESTORE_POINT => {
                let name = data.bytes.get(8..)?.split(|byte| *byte == 0).next()?.to_vec();
                return Some(What::RestorePoint { name, time: data.i64(0)? });
            }
            XLOG_CHECKPOINT_REDO => return Some(What::CheckpointRedo),
            XLOG_END_OF_RECOVERY => {
                let (this, prev) = (TimelineId(data.u32(8)?), TimelineId(data.u32(12)?));
                return Some(What::EndOfRecovery { this, prev });
            }
            _ => {}
        }
        match ControlRecord::read(record)? {
            ControlRecord::Checkpoint { shutdown, body } => Some(What::Checkpoint { shutdown, body }),
            ControlRecord::Settings(settings) => {
                Some(What::Parameters(settings.wal_level, Limits::of_change(&settings)))
            }
            _ => None,
        }
    }
}

impl Step {
    /// `with_blocks`: somebody wants to know them.
    pub(super) fn new(record: &Record, end: Lsn, file: (TimelineId, SegNo), with_blocks: bool) -> Step {
        let block = |block: &crate::format::wal::record::BlockReference| Block {
            locator: block.locator,
            block: block.block,
            main: block.fork == 0,
            is_given: block.image.is_some() || block.will_init,
        };
        let blocks =
            if with_blocks { record.parts.blocks.iter().map(block).collect() } else { SmallVec::new() };
        let what = What::of(record);
        let next_xid = match &what {
            // xl_running_xacts.nextXid
            What::RunningXacts { .. } => record.main().u32(12).unwrap_or(0),
            What::Checkpoint { body, .. } => body.next_xid_low(),
            _ if record.header.xid >= FIRST_NORMAL_TRANSACTION_ID => record.header.xid.wrapping_add(1),
            _ => 0,
        };
        Step {
            lsn: record.lsn,
            end,
            file,
            what,
            next_xid,
            is_transaction: record.header.rmid == RM_XACT_ID,
            blocks,
        }
    }
}
