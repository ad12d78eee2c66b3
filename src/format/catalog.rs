//! Rows of the system catalogs that say what a file is: pg_class, pg_attribute, pg_index, pg_opclass, and the names of
//! schemas and databases.
//!
//! Only the columns that come first and are never null, in disk order; what a later major moved is conditional where
//! it stands. `oid` became a column in 12; before, it stands in the tuple's header. Strings are as the server has them,
//! in the encoding of their database. Source: catalog/pg_class.h and so on; `tests/live_catalog.rs` compares with
//! pg_attribute of every major.

use super::reader::{Reader, Truncated};
use crate::pg::{Major, Oid};

/// `RelationRelationId`.
pub const PG_CLASS: Oid = 1259;
/// `AttributeRelationId`.
pub const PG_ATTRIBUTE: Oid = 1249;
/// `IndexRelationId`.
pub const PG_INDEX: Oid = 2610;
/// `OperatorClassRelationId`.
pub const PG_OPCLASS: Oid = 2616;

/// `NamespaceRelationId`.
pub const PG_NAMESPACE: Oid = 2615;
/// `DatabaseRelationId`.
pub const PG_DATABASE: Oid = 1262;
/// `FirstNormalObjectId`: what initdb made has a lower oid.
pub const FIRST_NORMAL_OBJECT_ID: Oid = 16384;

/// `NAMEDATALEN`.
const NAME: usize = 64;
/// `INDEX_MAX_KEYS`, and what a row of any build can hold.
const MAX_VECTOR: u32 = 1600;

pub(super) fn name(reader: &mut Reader, field: &'static str) -> Result<String, Truncated> {
    let bytes: [u8; NAME] = reader.array(field)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME);
    Ok(String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned())
}

/// The oid of a row: its first column, or what the header of the tuple has (up to 11).
pub(super) fn row_oid(reader: &mut Reader, major: Major, of_header: Option<Oid>) -> Result<Oid, Truncated> {
    if major >= Major::V12 { reader.u32("oid") } else { Ok(of_header.unwrap_or(0)) }
}

/// A row of pg_namespace or pg_database, which begin alike: `oid`, and `nspname` or `datname`.
pub fn oid_and_name(reader: &mut Reader, major: Major, oid: Option<Oid>) -> Result<(Oid, String), Truncated> {
    Ok((row_oid(reader, major, oid)?, name(reader, "name")?))
}

/// A row of pg_class.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PgClass {
    pub oid: Oid,
    pub relname: String,
    pub relnamespace: Oid,
    pub relam: Oid,
    /// 0: mapped, or no file.
    pub relfilenode: Oid,
    /// 0: that of the database.
    pub reltablespace: Oid,
    pub reltoastrelid: Oid,
    pub relisshared: bool,
    /// `p` permanent, `u` unlogged, `t` temporary.
    pub relpersistence: u8,
    /// `r` table, `i` index, `S` sequence, `t` TOAST table, `m` materialized view and others without files.
    pub relkind: u8,
    pub relnatts: u16,
    pub relfrozenxid: u32,
    pub relminmxid: u32,
}

impl PgClass {
    /// In disk order.
    pub fn read(reader: &mut Reader, major: Major, oid: Option<Oid>) -> Result<PgClass, Truncated> {
        let oid = row_oid(reader, major, oid)?;
        let relname = name(reader, "relname")?;
        let relnamespace = reader.u32("relnamespace")?;
        reader.u32("reltype")?;
        reader.u32("reloftype")?;
        reader.u32("relowner")?;
        let relam = reader.u32("relam")?;
        let relfilenode = reader.u32("relfilenode")?;
        let reltablespace = reader.u32("reltablespace")?;
        reader.u32("relpages")?;
        reader.u32("reltuples")?;
        reader.u32("relallvisible")?;
        if major >= Major::V18 {
            reader.u32("relallfrozen")?;
        }
        let reltoastrelid = reader.u32("reltoastrelid")?;
        reader.u8("relhasindex")?;
        let relisshared = reader.u8("relisshared")? != 0;
        let relpersistence = reader.u8("relpersistence")?;
        let relkind = reader.u8("relkind")?;
        let relnatts = reader.u16("relnatts")?;
        reader.u16("relchecks")?;
        if major < Major::V12 {
            reader.u8("relhasoids")?;
        }
        if major < Major::V11 {
            reader.u8("relhaspkey")?;
        }
        for field in [
            "relhasrules",
            "relhastriggers",
            "relhassubclass",
            "relrowsecurity",
            "relforcerowsecurity",
            "relispopulated",
            "relreplident",
            "relispartition",
        ] {
            reader.u8(field)?;
        }
        if major >= Major::V11 {
            reader.u32("relrewrite")?;
        }
        Ok(PgClass {
            oid,
            relname,
            relnamespace,
            relam,
            relfilenode,
            reltablespace,
            reltoastrelid,
            relisshared,
            relpersistence,
            relkind,
            relnatts,
            relfrozenxid: reader.u32("relfrozenxid")?,
            relminmxid: reader.u32("relminmxid")?,
        })
    }
}

/// A row of pg_attribute: what `CompactAttribute` has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PgAttribute {
    pub attrelid: Oid,
    pub atttypid: Oid,
    /// In bytes; -1: a varlena, -2: a C string.
    pub attlen: i16,
    pub attnum: i16,
    pub attbyval: bool,
    /// `p` plain, `e` external, `m` main, `x` extended.
    pub attstorage: u8,
    /// `c`, `s`, `i`, `d`: 1, 2, 4 bytes and those of a double.
    pub attalign: u8,
    pub attisdropped: bool,
    pub attcollation: Oid,
}

impl PgAttribute {
    /// `attrelid`, `attnum` and `attname` alone: names are needed for few relations.
    pub fn read_name(reader: &mut Reader, major: Major) -> Result<(Oid, i16, String), Truncated> {
        let attrelid = reader.u32("attrelid")?;
        let attname = name(reader, "attname")?;
        reader.u32("atttypid")?;
        if major < Major::V16 {
            reader.u32("attstattarget")?;
        }
        reader.u16("attlen")?;
        Ok((attrelid, reader.u16("attnum")? as i16, attname))
    }

    /// In disk order.
    pub fn read(reader: &mut Reader, major: Major) -> Result<PgAttribute, Truncated> {
        let attrelid = reader.u32("attrelid")?;
        reader.array::<NAME>("attname")?;
        let atttypid = reader.u32("atttypid")?;
        if major < Major::V16 {
            reader.u32("attstattarget")?;
        }
        let attlen = reader.u16("attlen")? as i16;
        let attnum = reader.u16("attnum")? as i16;
        if major < Major::V16 {
            reader.u32("attndims")?;
        }
        if major < Major::V18 {
            reader.u32("attcacheoff")?;
        }
        reader.u32("atttypmod")?;
        if major >= Major::V16 {
            reader.u16("attndims")?;
        }
        let attbyval = reader.u8("attbyval")? != 0;
        let (attstorage, attalign);
        if major >= Major::V14 {
            attalign = reader.u8("attalign")?;
            attstorage = reader.u8("attstorage")?;
            reader.u8("attcompression")?;
        } else {
            attstorage = reader.u8("attstorage")?;
            attalign = reader.u8("attalign")?;
        }
        reader.u8("attnotnull")?;
        reader.u8("atthasdef")?;
        if major >= Major::V11 {
            reader.u8("atthasmissing")?;
        }
        reader.u8("attidentity")?;
        if major >= Major::V12 {
            reader.u8("attgenerated")?;
        }
        let attisdropped = reader.u8("attisdropped")? != 0;
        reader.u8("attislocal")?;
        if major < Major::V16 {
            reader.u32("attinhcount")?;
        } else {
            reader.u16("attinhcount")?;
            if major < Major::V17 {
                reader.u16("attstattarget")?;
            }
        }
        let attcollation = reader.u32("attcollation")?;
        Ok(PgAttribute {
            attrelid,
            atttypid,
            attlen,
            attnum,
            attbyval,
            attstorage,
            attalign,
            attisdropped,
            attcollation,
        })
    }
}

/// A row of pg_index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PgIndex {
    pub indexrelid: Oid,
    pub indrelid: Oid,
    pub indnatts: u16,
    /// Without the columns that are only included (11+).
    pub indnkeyatts: u16,
    pub indisunique: bool,
    pub indisvalid: bool,
    pub indisready: bool,
    pub indislive: bool,
    /// Columns of the table, 0 for expressions.
    pub indkey: Vec<i16>,
    pub indcollation: Vec<Oid>,
    pub indclass: Vec<Oid>,
    /// 1: descending, 2: nulls first.
    pub indoption: Vec<i16>,
    /// Only rows that satisfy it are indexed: the last column, `indpred`, is not null.
    pub has_predicate: bool,
}

impl PgIndex {
    /// In disk order.
    pub fn read(reader: &mut Reader, major: Major, has_predicate: bool) -> Result<PgIndex, Truncated> {
        let indexrelid = reader.u32("indexrelid")?;
        let indrelid = reader.u32("indrelid")?;
        let indnatts = reader.u16("indnatts")?;
        let indnkeyatts = if major >= Major::V11 { reader.u16("indnkeyatts")? } else { indnatts };
        let indisunique = reader.u8("indisunique")? != 0;
        if major >= Major::V15 {
            reader.u8("indnullsnotdistinct")?;
        }
        for field in ["indisprimary", "indisexclusion", "indimmediate", "indisclustered"] {
            reader.u8(field)?;
        }
        let indisvalid = reader.u8("indisvalid")? != 0;
        reader.u8("indcheckxmin")?;
        let indisready = reader.u8("indisready")? != 0;
        let indislive = reader.u8("indislive")? != 0;
        reader.u8("indisreplident")?;
        Ok(PgIndex {
            indexrelid,
            indrelid,
            indnatts,
            indnkeyatts,
            indisunique,
            indisvalid,
            indisready,
            indislive,
            indkey: vector(reader, |reader| Ok(reader.u16("indkey")? as i16))?,
            indcollation: vector(reader, |reader| reader.u32("indcollation"))?,
            indclass: vector(reader, |reader| reader.u32("indclass"))?,
            indoption: vector(reader, |reader| Ok(reader.u16("indoption")? as i16))?,
            has_predicate,
        })
    }
}

/// `int2vector` or `oidvector`: never compressed, never with a short header.
fn vector<T>(
    reader: &mut Reader,
    value: impl Fn(&mut Reader) -> Result<T, Truncated>,
) -> Result<Vec<T>, Truncated> {
    for field in ["vl_len_", "ndim", "dataoffset", "elemtype"] {
        reader.u32(field)?;
    }
    let dim1 = reader.u32("dim1")?;
    reader.u32("lbound1")?;
    (0..dim1.min(MAX_VECTOR)).map(|_| value(reader)).collect()
}

/// A row of pg_opclass.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PgOpclass {
    pub oid: Oid,
    /// The access method.
    pub opcmethod: Oid,
    pub opcname: String,
    pub opcfamily: Oid,
    pub opcintype: Oid,
    /// 0: the keys in the index have the type of the column.
    pub opckeytype: Oid,
}

impl PgOpclass {
    /// In disk order.
    pub fn read(reader: &mut Reader, major: Major, oid: Option<Oid>) -> Result<PgOpclass, Truncated> {
        let oid = row_oid(reader, major, oid)?;
        let opcmethod = reader.u32("opcmethod")?;
        let opcname = name(reader, "opcname")?;
        reader.u32("opcnamespace")?;
        reader.u32("opcowner")?;
        let opcfamily = reader.u32("opcfamily")?;
        let opcintype = reader.u32("opcintype")?;
        reader.u8("opcdefault")?;
        Ok(PgOpclass { oid, opcmethod, opcname, opcfamily, opcintype, opckeytype: reader.u32("opckeytype")? })
    }
}
