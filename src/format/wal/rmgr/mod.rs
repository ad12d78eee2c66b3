//! Resource managers: what the records of each mean, in pg_waldump's words and as typed fields.
//!
//! One file per resource manager and one row in [`RMGRS`]. A `describe` function says each value once, with its
//! name and with the literal text around it; a [`Desc`] keeps the text or the named values of it, so that the two
//! outputs cannot disagree. Ids 0 to 21 are the same from 10 to 19. Source: access/rmgrlist.h, access/rmgrdesc/.

mod brin;
mod btree;
mod clog;
mod commit_ts;
mod database;
pub(super) mod desc;
mod generic;
mod gin;
mod gist;
mod hash;
mod heap;
mod heap2;
mod invalidation;
mod logical_message;
mod multixact;
mod relmap;
mod replication_origin;
mod sequence;
mod spgist;
mod standby;
mod storage;
mod tablespace;
mod transaction;
mod truncation;
mod xlog;

pub use desc::{Desc, INVALIDATION_MESSAGE_SIZE};
pub use transaction::{Origin, TransactionEnd};
pub use truncation::Truncation;
pub use xlog::{ControlRecord, ParameterChange, XLOG_BACKUP_END};

use crate::format::wal::record::Record;
use crate::pg::Major;

/// A row of `rmgrlist.h`.
pub struct Rmgr {
    /// Name as pg_waldump prints it.
    pub name: &'static str,
    /// Name of the record kind: from `xl_info` without its low four bits. `None`: unknown, pg_waldump prints
    /// `UNKNOWN (xx)`.
    pub identify: fn(info: u8, major: Major) -> Option<&'static str>,
    /// Says the record's values. `None`: its data end before they should; what was said so far stays.
    pub describe: fn(record: &Record, desc: &mut Desc) -> Option<()>,
}

/// By id. Custom resource managers (15+: 128 to 255) have no row.
#[rustfmt::skip]
pub static RMGRS: &[Rmgr] = &[
    Rmgr { name: "XLOG", identify: xlog::identify, describe: xlog::describe },
    Rmgr { name: "Transaction", identify: transaction::identify, describe: transaction::describe },
    Rmgr { name: "Storage", identify: storage::identify, describe: storage::describe },
    Rmgr { name: "CLOG", identify: clog::identify, describe: clog::describe },
    Rmgr { name: "Database", identify: database::identify, describe: database::describe },
    Rmgr { name: "Tablespace", identify: tablespace::identify, describe: tablespace::describe },
    Rmgr { name: "MultiXact", identify: multixact::identify, describe: multixact::describe },
    Rmgr { name: "RelMap", identify: relmap::identify, describe: relmap::describe },
    Rmgr { name: "Standby", identify: standby::identify, describe: standby::describe },
    Rmgr { name: "Heap2", identify: heap2::identify, describe: heap2::describe },
    Rmgr { name: "Heap", identify: heap::identify, describe: heap::describe },
    Rmgr { name: "Btree", identify: btree::identify, describe: btree::describe },
    Rmgr { name: "Hash", identify: hash::identify, describe: hash::describe },
    Rmgr { name: "Gin", identify: gin::identify, describe: gin::describe },
    Rmgr { name: "Gist", identify: gist::identify, describe: gist::describe },
    Rmgr { name: "Sequence", identify: sequence::identify, describe: sequence::describe },
    Rmgr { name: "SPGist", identify: spgist::identify, describe: spgist::describe },
    Rmgr { name: "BRIN", identify: brin::identify, describe: brin::describe },
    Rmgr { name: "CommitTs", identify: commit_ts::identify, describe: commit_ts::describe },
    Rmgr { name: "ReplicationOrigin", identify: replication_origin::identify, describe: replication_origin::describe },
    Rmgr { name: "Generic", identify: generic::identify, describe: generic::describe },
    Rmgr { name: "LogicalMessage", identify: logical_message::identify, describe: logical_message::describe },
];

/// Ids of resource managers, which are the rows of [`RMGRS`], where a single one is meant.
#[allow(missing_docs)]
pub mod id {
    pub const RM_XLOG_ID: u8 = 0;
    pub const RM_XACT_ID: u8 = 1;
    pub const RM_SMGR_ID: u8 = 2;
    pub const RM_CLOG_ID: u8 = 3;
    pub const RM_DBASE_ID: u8 = 4;
    pub const RM_TBLSPC_ID: u8 = 5;
    pub const RM_MULTIXACT_ID: u8 = 6;
    pub const RM_RELMAP_ID: u8 = 7;
    pub const RM_STANDBY_ID: u8 = 8;
    pub const RM_HEAP2_ID: u8 = 9;
    pub const RM_HEAP_ID: u8 = 10;
    pub const RM_BTREE_ID: u8 = 11;
    pub const RM_BRIN_ID: u8 = 17;
    pub const RM_COMMIT_TS_ID: u8 = 18;
}

/// The row of a record's resource manager.
pub fn rmgr(id: u8) -> Option<&'static Rmgr> {
    RMGRS.get(usize::from(id))
}

/// Says a record's values. Of a custom resource manager only its id is known (`default_desc`).
pub fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    match rmgr(record.header.rmid) {
        Some(manager) => (manager.describe)(record, desc),
        None => {
            desc.lit("rmid: ");
            desc.num("rmid", record.header.rmid);
            Some(())
        }
    }
}
