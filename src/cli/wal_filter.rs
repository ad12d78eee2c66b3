//! Which records a command shows: pg_waldump's filters, with the same letters and meaning.
//!
//! Source: `XLogRecordMatchesRelationBlock`, `XLogRecordHasFPW` in bin/pg_waldump/pg_waldump.c.

use crate::format::wal::record::{BlockReference, Parts, RecordHeader};
use crate::format::wal::rmgr::RMGRS;
use crate::pg::BlockNumber;
use crate::pg::relation::RelFileLocator;

/// A record has to pass all of those that are given.
#[derive(clap::Args, Debug)]
pub(super) struct Filters {
    /// Only show records of this resource manager, or "list" for their names; may be repeated
    #[arg(short, long, value_name = "RMGR", value_parser = resource_manager)]
    rmgr: Vec<ResourceManager>,
    /// Only show records of this transaction
    #[arg(short, long, value_name = "XID")]
    xid: Option<u32>,
    /// Only show records that modify blocks in relation T/D/R (tablespace, database, file number)
    #[arg(short = 'R', long, value_name = "T/D/R", value_parser = relation)]
    relation: Option<RelFileLocator>,
    /// With --relation, only show records that modify this block
    #[arg(short = 'B', long, value_name = "N", requires = "relation")]
    block: Option<BlockNumber>,
    /// Only show records that modify blocks in this fork: main, fsm, vm, init
    #[arg(short = 'F', long, value_name = "FORK", value_parser = fork)]
    fork: Option<u8>,
    /// Only show records with a full-page image
    #[arg(short = 'w', long)]
    fullpage: bool,
}

/// What `-r` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResourceManager {
    List,
    Id(u8),
}

/// A name in any case of letters, or `custom` and three digits.
fn resource_manager(text: &str) -> Result<ResourceManager, String> {
    if text.eq_ignore_ascii_case("list") {
        return Ok(ResourceManager::List);
    }
    if let Some(id) = RMGRS.iter().position(|row| row.name.eq_ignore_ascii_case(text)) {
        return Ok(ResourceManager::Id(id as u8));
    }
    let custom = text.get(..6).filter(|start| start.eq_ignore_ascii_case("custom"));
    let digits = custom.and_then(|_| text.get(6..)).filter(|digits| digits.len() == 3);
    let id = digits.and_then(|digits| digits.parse().ok()).filter(|id| *id >= 128);
    id.map(ResourceManager::Id).ok_or_else(|| format!("resource manager \"{text}\" does not exist"))
}

fn relation(text: &str) -> Result<RelFileLocator, String> {
    let mut parts = text.split('/').map(|part| part.parse::<u32>().ok());
    let mut next = || parts.next().flatten();
    let locator = (next(), next(), next());
    match (locator, parts.next()) {
        ((Some(tablespace), Some(database), Some(relnumber)), None) if tablespace != 0 && relnumber != 0 => {
            Ok(RelFileLocator { tablespace, database, relnumber })
        }
        _ => Err("expecting \"tablespace OID/database OID/relation filenode\"".to_owned()),
    }
}

fn fork(text: &str) -> Result<u8, String> {
    match text {
        "main" | "0" => Ok(0),
        "fsm" | "1" => Ok(1),
        "vm" | "2" => Ok(2),
        "init" | "3" => Ok(3),
        _ => Err("fork name must be \"main\", \"fsm\", \"vm\", or \"init\"".to_owned()),
    }
}

impl Filters {
    /// Was the list of names asked for?
    pub(super) fn wants_list(&self) -> bool {
        self.rmgr.contains(&ResourceManager::List)
    }

    /// Are there any?
    pub(super) fn any(&self) -> bool {
        !self.rmgr.is_empty()
            || self.xid.is_some()
            || self.relation.is_some()
            || self.fork.is_some()
            || self.fullpage
    }

    /// Does the record pass?
    pub(super) fn pass(&self, header: &RecordHeader, parts: &Parts) -> bool {
        let manager = self.rmgr.is_empty() || self.rmgr.contains(&ResourceManager::Id(header.rmid));
        manager
            && self.xid.is_none_or(|xid| xid == header.xid)
            && (self.relation.is_none() && self.fork.is_none()
                || parts.blocks.iter().any(|block| self.pass_block(block)))
            && (!self.fullpage || parts.blocks.iter().any(|block| block.image.is_some()))
    }

    fn pass_block(&self, block: &BlockReference) -> bool {
        self.relation.is_none_or(|relation| relation == block.locator)
            && self.block.is_none_or(|number| number == block.block)
            && self.fork.is_none_or(|fork| fork == block.fork)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_the_tool_takes_them() {
        assert_eq!(resource_manager("heap2"), Ok(ResourceManager::Id(9)));
        assert_eq!(resource_manager("custom128"), Ok(ResourceManager::Id(128)));
        assert_eq!(resource_manager("List"), Ok(ResourceManager::List));
        for bad in ["", "heap3", "custom1", "custom012", "custom256", "customé"] {
            assert!(resource_manager(bad).is_err(), "{bad}");
        }
        let locator = RelFileLocator { tablespace: 1664, database: 0, relnumber: 1260 };
        assert_eq!(relation("1664/0/1260"), Ok(locator));
        for bad in ["", "1/2", "1/2/3/4", "0/5/6", "5/6/0", "a/b/c", "1/2/-3"] {
            assert!(relation(bad).is_err(), "{bad}");
        }
        assert_eq!((fork("vm"), fork("3"), fork("4").is_err()), (Ok(2), Ok(3), true));
    }
}
