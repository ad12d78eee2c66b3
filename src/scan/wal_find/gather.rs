//! What one thread finds in one unit of the WAL: counts by transaction and relation, and what has to be looked at in
//! order.

use std::collections::HashMap;

use super::{Ending, Wanted, What};
use crate::format::checkpoint::CheckPoint;
use crate::format::reader::{Abi, Data, Reader};
use crate::format::twophase::TwoPhaseState;
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::TransactionEnd;
use crate::format::wal::rmgr::id::{
    RM_BRIN_ID, RM_BTREE_ID, RM_DBASE_ID, RM_HEAP_ID, RM_HEAP2_ID, RM_SMGR_ID, RM_TBLSPC_ID, RM_XACT_ID,
    RM_XLOG_ID,
};
use crate::pg::relation::RelFileLocator;
use crate::pg::time::from_pg_time;
use crate::pg::{Lsn, Major, Oid, TimelineId};
use crate::scan::wal_units::Loss;

/// Tablespace of pg_database.
const GLOBALTABLESPACE_OID: Oid = 1664;

/// `pd_special` of a page without special space, as heap pages are; its place in the page header.
const BLCKSZ: u16 = 8192;
const PD_SPECIAL: usize = 16;

/// How many rows of one relation a transaction changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) deleted: u64,
    pub(super) updated: u64,
    pub(super) inserted: u64,
    /// Other pages that it wrote, and those of them that are a table's.
    pub(super) pages: u64,
    pub(super) heap_pages: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Counts) {
        self.deleted += other.deleted;
        self.updated += other.updated;
        self.inserted += other.inserted;
        self.pages += other.pages;
        self.heap_pages += other.heap_pages;
    }
}

/// A row of a shared catalog: its page and line pointer.
pub(super) type Row = (RelFileLocator, u32, u16);

/// Records of one unit that have to be looked at in order.
pub(super) enum Mark {
    End {
        ending: Ending,
        gid: Option<Vec<u8>>,
        subxacts: Vec<u32>,
        relations: Vec<RelFileLocator>,
    },
    Created {
        xid: u32,
        relation: RelFileLocator,
    },
    Assignment {
        top: u32,
        subxacts: Vec<u32>,
    },
    Prepare {
        lsn: Lsn,
        xid: u32,
        time: i64,
        gid: Vec<u8>,
    },
    /// In a shared catalog: a row changed in place, a row deleted.
    Inplace {
        lsn: Lsn,
        row: Row,
    },
    SharedDelete {
        xid: u32,
        row: Row,
    },
    /// Not a transaction's end but an event by itself.
    Plain {
        lsn: Lsn,
        xid: u32,
        time: Option<i64>,
        what: What,
    },
    Lost(Loss),
}

/// What one thread finds in one unit.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) marks: Vec<Mark>,
    /// First record of each transaction, and the top transaction where a record says it.
    pub(super) seen: HashMap<u32, (Lsn, Option<u32>)>,
    pub(super) counts: HashMap<(u32, RelFileLocator), Counts>,
    pub(super) records: u64,
    /// The last record, and where the next one would start.
    pub(super) last: Option<(Lsn, Lsn)>,
}

impl Gathered {
    fn count(&mut self, xid: u32, relation: RelFileLocator) -> &mut Counts {
        self.counts.entry((xid, relation)).or_default()
    }

    pub(super) fn record(&mut self, record: &Record, wanted: &Wanted) {
        self.records += 1;
        let (xid, lsn) = (record.header.xid, record.lsn);
        if xid != 0 {
            let seen = self.seen.entry(xid).or_insert((lsn, None));
            seen.1 = seen.1.or(record.parts.toplevel_xid);
        }
        // The data of a record can end early although its CRC is right; then there is nothing to tell of it.
        let _ = match record.header.rmid {
            RM_XLOG_ID => self.xlog(record, wanted),
            RM_XACT_ID => self.transaction(record),
            RM_SMGR_ID => self.storage(record),
            RM_DBASE_ID => self.database(record),
            RM_TBLSPC_ID if record.header.op() == 0x10 => {
                self.plain(record, |data| Some(What::TablespaceDropped { tablespace: data.u32(0)? }))
            }
            RM_HEAP_ID => self.heap(record),
            RM_HEAP2_ID => self.heap2(record),
            RM_BTREE_ID..=RM_BRIN_ID => self.index(record),
            _ => Some(()),
        };
        if let Some(relation) = wanted.relation
            && xid != 0
            && record.parts.blocks.iter().any(|block| block.locator == relation)
        {
            self.count(xid, relation);
        }
    }

    fn plain(&mut self, record: &Record, what: impl FnOnce(Data) -> Option<What>) -> Option<()> {
        let what = what(record.main())?;
        self.marks.push(Mark::Plain { lsn: record.lsn, xid: record.header.xid, time: None, what });
        Some(())
    }

    fn xlog(&mut self, record: &Record, wanted: &Wanted) -> Option<()> {
        let data = record.main();
        let (what, time) = match record.header.op() {
            op @ (0x00 | 0x10) => {
                let checkpoint = checkpoint(record)?;
                if !wanted.checkpoints {
                    return Some(());
                }
                let (redo, next_xid) = (checkpoint.redo, checkpoint.next_xid);
                (What::Checkpoint { redo, shutdown: op == 0, next_xid }, from_pg_time(checkpoint.time))
            }
            0x60 => {
                let at = if record.major >= Major::V12 { 20 } else { 16 };
                (What::Parameters { wal_level: data.i32(at)? }, None)
            }
            0x70 => {
                let name = data.bytes.get(8..)?.split(|byte| *byte == 0).next()?.to_vec();
                (What::RestorePoint { name, first_of_name: None }, Some(data.i64(0)?))
            }
            0x90 => {
                let (timeline, previous) = (TimelineId(data.u32(8)?), TimelineId(data.u32(12)?));
                (What::EndOfRecovery { timeline, previous }, Some(data.i64(0)?))
            }
            // FPI_FOR_HINT is no new page.
            0xB0 if record.header.xid != 0 => {
                self.pages(record);
                return Some(());
            }
            _ => return Some(()),
        };
        self.marks.push(Mark::Plain { lsn: record.lsn, xid: record.header.xid, time, what });
        Some(())
    }

    /// New pages as rewrites and index builds log them.
    fn pages(&mut self, record: &Record) {
        for block in record.parts.blocks.iter().filter(|block| block.fork == 0) {
            let is_heap = block.image.as_ref().is_some_and(|image| {
                let bytes = record.data.slice(image.bytes.clone());
                let whole = usize::from(image.hole_offset) > PD_SPECIAL || image.hole_length == 0;
                image.compression.is_none() && whole && bytes.u16(PD_SPECIAL) == Some(BLCKSZ)
            });
            let counts = self.count(record.header.xid, block.locator);
            counts.pages += 1;
            counts.heap_pages += u64::from(is_heap);
        }
    }

    fn transaction(&mut self, record: &Record) -> Option<()> {
        let data = record.main();
        match record.header.op() & 0x70 {
            0x10 => {
                let abi = Abi { big_endian: data.big_endian, align8: 8 };
                let state = TwoPhaseState::read(data.bytes, abi, record.major).ok()?;
                let (lsn, xid, time) = (record.lsn, state.xid, state.prepared_at);
                self.marks.push(Mark::Prepare { lsn, xid, time, gid: state.gid.to_vec() });
            }
            0x50 => {
                let count = usize::try_from(data.i32(4)?).ok()?;
                let subxacts = (8..).step_by(4).take(count).map_while(|at| data.u32(at)).collect();
                self.marks.push(Mark::Assignment { top: data.u32(0)?, subxacts });
            }
            0x00 | 0x20 | 0x30 | 0x40 => {
                let end = TransactionEnd::read(record)?;
                let ending = Ending {
                    lsn: record.lsn,
                    xid: end.xid(),
                    time: end.time,
                    committed: end.committed,
                    prepared: end.twophase_xid.is_some(),
                };
                self.marks.push(Mark::End {
                    ending,
                    gid: end.gid.map(<[u8]>::to_vec),
                    subxacts: end.subxacts().collect(),
                    // An abort removes what the transaction itself made.
                    relations: if end.committed { end.relations().collect() } else { Vec::new() },
                });
            }
            _ => {}
        }
        Some(())
    }

    fn storage(&mut self, record: &Record) -> Option<()> {
        let data = record.main();
        match record.header.op() {
            0x10 if data.u32(12)? == 0 => {
                let relation = data.locator(0)?;
                self.marks.push(Mark::Created { xid: record.header.xid, relation });
            }
            // Bit 1: the main fork.
            0x20 if data.i32(16)? & 1 != 0 => {
                let (relation, blocks) = (data.locator(4)?, data.u32(0)?);
                self.plain(record, |_| Some(What::Shrunk { relation, blocks }))?;
            }
            _ => {}
        }
        Some(())
    }

    fn database(&mut self, record: &Record) -> Option<()> {
        let drop = if record.major >= Major::V15 { 0x20 } else { 0x10 };
        if record.header.op() != drop {
            return Some(());
        }
        let major = record.major;
        self.plain(record, |data| {
            let tablespaces = if major >= Major::V13 {
                let count = usize::try_from(data.i32(4)?).ok()?;
                (8..).step_by(4).take(count).map_while(|at| data.u32(at)).collect()
            } else {
                vec![data.u32(4)?]
            };
            Some(What::DatabaseDropped { database: data.u32(0)?, tablespaces })
        })
    }

    fn heap(&mut self, record: &Record) -> Option<()> {
        let (data, xid) = (record.main(), record.header.xid);
        let op = record.header.op() & 0x70;
        if op == 0x30 {
            return self.plain(record, |data| {
                let count = usize::try_from(data.u32(4)?).ok()?;
                let tables = (12..).step_by(4).take(count).map_while(|at| data.u32(at)).collect();
                Some(What::LogicalTruncate { database: data.u32(0)?, tables })
            });
        }
        let block = record.parts.block(0)?;
        let relation = block.locator;
        match op {
            0x00 => self.count(xid, relation).inserted += 1,
            0x10 => {
                // IS_SUPER: a speculative insertion that gave way, not a row.
                if data.u8(7)? & 0x08 == 0 {
                    self.count(xid, relation).deleted += 1;
                }
                if relation.tablespace == GLOBALTABLESPACE_OID {
                    let row = (relation, block.block, data.u16(4)?);
                    self.marks.push(Mark::SharedDelete { xid, row });
                }
            }
            0x20 | 0x40 => self.count(xid, relation).updated += 1,
            0x70 if relation.tablespace == GLOBALTABLESPACE_OID => {
                let row = (relation, block.block, data.u16(0)?);
                self.marks.push(Mark::Inplace { lsn: record.lsn, row });
            }
            _ => {}
        }
        Some(())
    }

    fn heap2(&mut self, record: &Record) -> Option<()> {
        // MULTI_INSERT: u8 flags, u16 number of rows.
        if record.header.op() & 0x70 == 0x50 {
            let rows = u64::from(record.main().u16(2)?);
            self.count(record.header.xid, record.parts.block(0)?.locator).inserted += rows;
        }
        Some(())
    }

    fn index(&mut self, record: &Record) -> Option<()> {
        if record.header.xid != 0 {
            self.count(record.header.xid, record.parts.blocks.first()?.locator).pages += 1;
        }
        Some(())
    }
}

/// The content of a checkpoint record.
pub(in crate::scan) fn checkpoint(record: &Record) -> Option<CheckPoint> {
    let data = record.main();
    let abi = Abi { big_endian: data.big_endian, align8: 8 };
    CheckPoint::read(&mut Reader::new(data.bytes, abi), record.major).ok()
}
