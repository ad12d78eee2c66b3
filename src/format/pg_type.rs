//! What the catalogs say of types: rows of pg_type, pg_range and pg_enum, and of pg_amproc.
//!
//! Only the columns that come first, in disk order, as in `catalog.rs`. Source: catalog/pg_type.h and so on.

use std::collections::HashMap;

use super::catalog::{name, row_oid};
use super::reader::{Reader, Truncated};
use crate::pg::{Major, Oid};

/// `TypeRelationId`.
pub const PG_TYPE: Oid = 1247;
/// `RangeRelationId`.
pub const PG_RANGE: Oid = 3541;
/// `EnumRelationId`.
pub const PG_ENUM: Oid = 3501;
/// `AccessMethodProcedureRelationId`.
pub const PG_AMPROC: Oid = 2603;

/// The type of a range whose value says of which type it is.
pub const ANYRANGE: Oid = 3831;
/// The output function of arrays.
pub const ARRAY_OUT: Oid = 751;

/// A row of pg_type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PgType {
    pub oid: Oid,
    pub typname: String,
    /// In bytes; -1: a varlena, -2: a C string.
    pub typlen: i16,
    /// `b` base, `c` composite, `d` domain, `e` enum, `m` multirange, `p` pseudo, `r` range.
    pub typtype: u8,
    /// Between elements of an array.
    pub typdelim: u8,
    pub typoutput: Oid,
    pub typalign: u8,
    /// Of a domain.
    pub typbasetype: Oid,
}

impl PgType {
    /// In disk order.
    pub fn read(reader: &mut Reader, major: Major, oid: Option<Oid>) -> Result<PgType, Truncated> {
        let oid = row_oid(reader, major, oid)?;
        let typname = name(reader, "typname")?;
        reader.u32("typnamespace")?;
        reader.u32("typowner")?;
        let typlen = reader.u16("typlen")? as i16;
        reader.u8("typbyval")?;
        let typtype = reader.u8("typtype")?;
        for field in ["typcategory", "typispreferred", "typisdefined"] {
            reader.u8(field)?;
        }
        let typdelim = reader.u8("typdelim")?;
        reader.u32("typrelid")?;
        if major >= Major::V14 {
            reader.u32("typsubscript")?;
        }
        for field in ["typelem", "typarray", "typinput"] {
            reader.u32(field)?;
        }
        let typoutput = reader.u32("typoutput")?;
        for field in ["typreceive", "typsend", "typmodin", "typmodout", "typanalyze"] {
            reader.u32(field)?;
        }
        let typalign = reader.u8("typalign")?;
        reader.u8("typstorage")?;
        reader.u8("typnotnull")?;
        let typbasetype = reader.u32("typbasetype")?;
        Ok(PgType { oid, typname, typlen, typtype, typdelim, typoutput, typalign, typbasetype })
    }
}

/// The types of a database.
#[derive(Debug, Default)]
pub struct Types {
    types: HashMap<Oid, PgType>,
    /// By range type.
    subtypes: HashMap<Oid, Oid>,
    /// By enum and the oid of the label.
    labels: HashMap<(Oid, Oid), String>,
}

impl Types {
    /// Takes a row of pg_type.
    pub fn add_type(&mut self, row: PgType) {
        self.types.insert(row.oid, row);
    }

    /// Reads a row of pg_range.
    pub fn read_range(&mut self, reader: &mut Reader) -> Result<(), Truncated> {
        self.subtypes.insert(reader.u32("rngtypid")?, reader.u32("rngsubtype")?);
        Ok(())
    }

    /// Reads a row of pg_enum.
    pub fn read_label(
        &mut self,
        reader: &mut Reader,
        major: Major,
        oid: Option<Oid>,
    ) -> Result<(), Truncated> {
        let oid = row_oid(reader, major, oid)?;
        let enumtypid = reader.u32("enumtypid")?;
        reader.u32("enumsortorder")?;
        self.labels.insert((enumtypid, oid), name(reader, "enumlabel")?);
        Ok(())
    }

    /// A type.
    pub fn get(&self, oid: Oid) -> Option<&PgType> {
        self.types.get(&oid)
    }

    /// Its name, or its number.
    pub fn name(&self, oid: Oid) -> String {
        self.get(oid).map_or_else(|| oid.to_string(), |row| row.typname.clone())
    }

    /// Length and alignment of its values; none is without length.
    pub fn layout(&self, oid: Oid) -> Option<(i16, u8)> {
        self.get(oid).map(|row| (row.typlen, row.typalign)).filter(|(length, _)| *length != 0)
    }

    /// Of which type the bounds of a range are.
    pub fn range_subtype(&self, oid: Oid) -> Option<Oid> {
        self.subtypes.get(&oid).copied()
    }

    /// A value of an enum.
    pub fn label(&self, enumtypid: Oid, oid: Oid) -> Option<&str> {
        self.labels.get(&(enumtypid, oid)).map(String::as_str)
    }
}

/// A row of pg_amproc: a support function of an operator family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PgAmproc {
    pub amprocfamily: Oid,
    pub amproclefttype: Oid,
    pub amprocrighttype: Oid,
    pub amprocnum: i16,
    pub amproc: Oid,
}

impl PgAmproc {
    /// In disk order.
    pub fn read(reader: &mut Reader, major: Major) -> Result<PgAmproc, Truncated> {
        row_oid(reader, major, None)?;
        Ok(PgAmproc {
            amprocfamily: reader.u32("amprocfamily")?,
            amproclefttype: reader.u32("amproclefttype")?,
            amprocrighttype: reader.u32("amprocrighttype")?,
            amprocnum: reader.u16("amprocnum")? as i16,
            amproc: reader.u32("amproc")?,
        })
    }
}

/// What the catalogs say of an index, as far as its entries need it.
#[derive(Debug)]
pub struct IndexColumns {
    /// Its name.
    pub name: String,
    /// All columns, also those that are only included.
    pub columns: Vec<IndexColumn>,
    /// Without the included ones.
    pub key_columns: usize,
    /// The types of its database.
    pub types: Types,
}

/// A column of an index.
#[derive(Clone, Debug)]
pub struct IndexColumn {
    /// Of the table's column; `None`: an expression.
    pub name: Option<String>,
    /// Type, length and alignment of what the index stores.
    pub attribute: super::catalog::PgAttribute,
    /// The first support function of its operator class; 0: unknown.
    pub support: Oid,
}
