//! Names of relation files, and which block of a fork a place in a file is.
//!
//! ```text
//! base/5/16384          main fork, first segment       t12_16384   temporary
//! base/5/16384.3        segment 3: blocks 393216..     16384_fsm, _vm, _init   other forks
//! ```
//!
//! Source: common/relpath.c, `RELSEG_SIZE` in pg_config.h, storage/smgr/md.c.

use super::digits::push_decimal;
use super::{BlockNumber, Major, Oid};

/// Blocks in one segment file of a default build (1 GB of 8 kB blocks).
pub const RELSEG_SIZE: u32 = 131_072;

/// `ForkNumber`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForkNumber {
    /// The data themselves.
    Main,
    /// Free space map: a cache, rebuilt by VACUUM.
    Fsm,
    /// Visibility map: can be dropped and rebuilt.
    Vm,
    /// Template of an unlogged relation, copied over the main fork after a crash.
    Init,
}

impl ForkNumber {
    /// As in file names and in the server's messages: `main`, `fsm`, `vm`, `init`.
    pub fn name(self) -> &'static str {
        match self {
            ForkNumber::Main => "main",
            ForkNumber::Fsm => "fsm",
            ForkNumber::Vm => "vm",
            ForkNumber::Init => "init",
        }
    }
}

/// Where the files of a relation are: `RelFileLocator`, `RelFileNode` up to 15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelFileLocator {
    /// `spcOid`: 1663 pg_default, 1664 pg_global, or a tablespace of the user.
    pub tablespace: Oid,
    /// `dbOid`; 0 for shared relations.
    pub database: Oid,
    /// `relNumber`.
    pub relnumber: Oid,
}

/// The name of one file of a relation, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelFileName {
    /// `relfilenode` (16+: relfilenumber).
    pub relnumber: Oid,
    /// Which fork.
    pub fork: ForkNumber,
    /// Segment within the fork: 0 has no suffix.
    pub segment: u32,
    /// Owned by one session and removed with it (`t<backend>_<number>`).
    pub temporary: bool,
}

impl RelFileName {
    /// Takes a name apart as the server does: no leading zeros, a segment from 1, known forks only.
    pub fn parse(name: &str) -> Option<RelFileName> {
        let (name, temporary) = match name.strip_prefix('t') {
            Some(rest) => {
                let (backend, rest) = rest.split_once('_')?;
                // 17 and later number their processes from 0.
                if backend != "0" {
                    decimal(backend)?;
                }
                (rest, true)
            }
            None => (name, false),
        };
        let (name, segment) = match name.split_once('.') {
            Some((name, segment)) => (name, decimal(segment)?),
            None => (name, 0),
        };
        let (number, fork) = match name.split_once('_') {
            None => (name, ForkNumber::Main),
            Some((number, "fsm")) => (number, ForkNumber::Fsm),
            Some((number, "vm")) => (number, ForkNumber::Vm),
            Some((number, "init")) => (number, ForkNumber::Init),
            Some(_) => return None,
        };
        Some(RelFileName { relnumber: decimal(number)?, fork, segment, temporary })
    }

    /// Block number in the fork of the `index`th page of this file; `None` past the 32-bit limit.
    pub fn block(self, index: u64) -> Option<BlockNumber> {
        let first = u64::from(self.segment) * u64::from(RELSEG_SIZE);
        BlockNumber::try_from(first.checked_add(index)?).ok()
    }
}

/// A relation's file as the server's messages name it, such as `base/17291/17420` or `global/1262_fsm.1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath {
    /// What stands before: the data directory, where a tool printed it. Empty or with a slash at its end.
    pub prefix: String,
    /// Directory below PGDATA: `base/17291`, `global`, `pg_tblspc/16385/PG_15_202209061/17291`.
    pub directory: String,
    /// The database; 0 for shared relations.
    pub database: Oid,
    /// The tablespace.
    pub tablespace: Oid,
    /// The file's name without the segment number, such as `17420_fsm` or `t3_16400`.
    pub base: String,
    /// The file's name, taken apart.
    pub name: RelFileName,
}

impl RelPath {
    /// Takes a path apart; `None` if no relation can be there.
    pub fn parse(path: &str) -> Option<RelPath> {
        let (above, file) = path.rsplit_once('/')?;
        let name = RelFileName::parse(file)?;
        let base = file.split('.').next()?.to_owned();
        let parts: Vec<&str> = above.split('/').collect();
        let (kept, database, tablespace) = match parts.as_slice() {
            [.., "base", database] => (2, decimal(database)?, DEFAULTTABLESPACE_OID),
            [.., "global"] => (1, 0, GLOBALTABLESPACE_OID),
            [.., "pg_tblspc", tablespace, version, database] if version.starts_with("PG_") => {
                (4, decimal(database)?, decimal(tablespace)?)
            }
            _ => return None,
        };
        let at = parts.len().checked_sub(kept)?;
        let directory = parts.get(at..)?.join("/");
        let prefix = above.strip_suffix(&directory)?.to_owned();
        Some(RelPath { prefix, directory, database, tablespace, base, name })
    }

    /// The file of a segment of the same fork, below PGDATA.
    pub fn segment(&self, segment: u32) -> String {
        let suffix = if segment == 0 { String::new() } else { format!(".{segment}") };
        format!("{}/{}{suffix}", self.directory, self.base)
    }

    /// The fork, as `relpath` prints it: without a segment number.
    pub fn fork_path(&self) -> String {
        self.segment(0)
    }
}

/// Tablespace of relations without one of their own, and of shared relations.
const DEFAULTTABLESPACE_OID: Oid = 1663;
const GLOBALTABLESPACE_OID: Oid = 1664;

/// `GetRelationPath` without a backend: the file below PGDATA, such as `base/5/16384_fsm`.
pub fn push_relpath(out: &mut Vec<u8>, locator: RelFileLocator, fork: u32, major: Major) {
    match locator.tablespace {
        GLOBALTABLESPACE_OID => out.extend_from_slice(b"global/"),
        DEFAULTTABLESPACE_OID => {
            out.extend_from_slice(b"base/");
            push_decimal(out, locator.database.into());
            out.push(b'/');
        }
        other => {
            let version = major.version();
            out.extend_from_slice(b"pg_tblspc/");
            push_decimal(out, other.into());
            out.extend_from_slice(b"/PG_");
            push_decimal(out, version.number.into());
            out.push(b'_');
            push_decimal(out, version.catalog_version.into());
            out.push(b'/');
            push_decimal(out, locator.database.into());
            out.push(b'/');
        }
    }
    push_decimal(out, locator.relnumber.into());
    out.extend_from_slice(match fork {
        1 => b"_fsm",
        2 => b"_vm",
        3 => b"_init",
        _ => b"",
    });
}

/// A decimal number from 1 on without leading zeros.
fn decimal(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_form() {
        let plain =
            |relnumber, fork, segment| Some(RelFileName { relnumber, fork, segment, temporary: false });
        assert_eq!(RelFileName::parse("16384"), plain(16384, ForkNumber::Main, 0));
        assert_eq!(RelFileName::parse("16384_fsm.2"), plain(16384, ForkNumber::Fsm, 2));
        assert_eq!(RelFileName::parse("1_vm"), plain(1, ForkNumber::Vm, 0));
        assert_eq!(RelFileName::parse("16384_init"), plain(16384, ForkNumber::Init, 0));
        let temporary = RelFileName::parse("t0_17000.1").unwrap();
        assert!(temporary.temporary && temporary.segment == 1);
        for other in [
            "",
            "0",
            "016384",
            "16384.0",
            "16384.01",
            "16384_foo",
            "16384.",
            "PG_VERSION",
            "t_1",
            "4294967296",
            "16384_fsm_vm",
            "-1",
            "pgsql_tmp",
        ] {
            assert_eq!(RelFileName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn paths_of_messages() {
        let path = RelPath::parse("base/17291/17420").unwrap();
        assert_eq!((path.database, path.tablespace, path.name.relnumber), (17291, 1663, 17420));
        assert_eq!(path.segment(44), "base/17291/17420.44");
        let path = RelPath::parse("/srv/base/1/data/base/5/16428_fsm.1").unwrap();
        assert_eq!((path.prefix.as_str(), path.directory.as_str()), ("/srv/base/1/data/", "base/5"));
        assert_eq!((path.fork_path().as_str(), path.name.segment), ("base/5/16428_fsm", 1));
        let path = RelPath::parse("pg_tblspc/16385/PG_15_202209061/5/16400_vm").unwrap();
        assert_eq!((path.tablespace, path.database), (16385, 5));
        assert_eq!(path.segment(0), "pg_tblspc/16385/PG_15_202209061/5/16400_vm");
        assert_eq!(RelPath::parse("base/5/t3_16400").unwrap().segment(2), "base/5/t3_16400.2");
        assert_eq!(RelPath::parse("./global/1262").unwrap().prefix, "./");
        for other in ["base/17420", "base/5/x", "16384", "pg_xact/0000", "base/0/5", "pg_tblspc/1/x/5/6", ""]
        {
            assert_eq!(RelPath::parse(other), None, "{other}");
        }
    }

    /// "invalid page in block 5869177 of relation base/17291/17420": a published log line.
    #[test]
    fn the_block_of_a_place() {
        let file = RelFileName::parse("17420.44").unwrap();
        assert_eq!(file.block(102_009), Some(5_869_177));
        let last = RelFileName { segment: 32_768, ..file };
        assert_eq!(last.block(0), None);
    }
}
