//! The major versions of PostgreSQL and the numbers by which their files are recognised.
//!
//! A new major is one variant and one row of [`VERSIONS`]; formats compare with `>=` on the line
//! where a field came or went. The version is always found in the bytes, never asked of the user.
//! Source: `PG_CONTROL_VERSION` (catalog/pg_control.h), `CATALOG_VERSION_NO` (catalog/catversion.h),
//! `XLOG_PAGE_MAGIC` (access/xlog_internal.h).

use std::fmt;

/// A major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Major {
    V10,
    V11,
    V12,
    V13,
    V14,
    V15,
    V16,
    V17,
    V18,
    V19,
}

/// What identifies one major version in its files.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// The major that this row describes.
    pub major: Major,
    /// Its number as in `PG_VERSION`.
    pub number: u32,
    /// `PG_CONTROL_VERSION`; 13 to 16 share one.
    pub control_version: u32,
    /// `CATALOG_VERSION_NO`, different in every major.
    pub catalog_version: u32,
    /// `XLOG_PAGE_MAGIC`, at the start of every WAL page.
    pub wal_magic: u16,
    /// False while only test releases exist, whose formats can still change.
    pub released: bool,
}

/// Every major that pgforensic knows, oldest first.
#[rustfmt::skip]
pub const VERSIONS: &[Version] = &[
    Version { major: Major::V10, number: 10, control_version: 1002, catalog_version: 201707211, wal_magic: 0xD097, released: true },
    Version { major: Major::V11, number: 11, control_version: 1100, catalog_version: 201809051, wal_magic: 0xD098, released: true },
    Version { major: Major::V12, number: 12, control_version: 1201, catalog_version: 201909212, wal_magic: 0xD101, released: true },
    Version { major: Major::V13, number: 13, control_version: 1300, catalog_version: 202007201, wal_magic: 0xD106, released: true },
    Version { major: Major::V14, number: 14, control_version: 1300, catalog_version: 202107181, wal_magic: 0xD10D, released: true },
    Version { major: Major::V15, number: 15, control_version: 1300, catalog_version: 202209061, wal_magic: 0xD110, released: true },
    Version { major: Major::V16, number: 16, control_version: 1300, catalog_version: 202307071, wal_magic: 0xD113, released: true },
    Version { major: Major::V17, number: 17, control_version: 1700, catalog_version: 202406281, wal_magic: 0xD116, released: true },
    Version { major: Major::V18, number: 18, control_version: 1800, catalog_version: 202506291, wal_magic: 0xD118, released: true },
    Version { major: Major::V19, number: 19, control_version: 1905, catalog_version: 202610061, wal_magic: 0xD122, released: false },
];

impl Major {
    /// This major's row.
    pub fn version(self) -> &'static Version {
        #[allow(clippy::indexing_slicing)] // one row per variant, in order: tested below
        &VERSIONS[self as usize]
    }

    /// The major with this number, as in `PG_VERSION`.
    pub fn from_number(number: u32) -> Option<Major> {
        VERSIONS.iter().find(|v| v.number == number).map(|v| v.major)
    }

    /// The major whose catalogs carry this version number.
    pub fn from_catalog_version(catalog_version: u32) -> Option<Major> {
        VERSIONS.iter().find(|v| v.catalog_version == catalog_version).map(|v| v.major)
    }

    /// The major that writes WAL pages with this magic number.
    pub fn from_wal_magic(magic: u16) -> Option<Major> {
        VERSIONS.iter().find(|v| v.wal_magic == magic).map(|v| v.major)
    }

    /// The oldest major with this control file version: majors that share one share its layout.
    pub fn from_control_version(control_version: u32) -> Option<Major> {
        VERSIONS.iter().find(|v| v.control_version == control_version).map(|v| v.major)
    }

    /// Name of the directory that a tablespace gets for this major, such as `PG_15_202209061`.
    /// Source: `TABLESPACE_VERSION_DIRECTORY`, common/relpath.h.
    pub fn tablespace_directory(self) -> String {
        let version = self.version();
        format!("PG_{}_{}", version.number, version.catalog_version)
    }
}

impl fmt::Display for Major {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.version().number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_per_variant_in_order() {
        for (index, row) in VERSIONS.iter().enumerate() {
            assert_eq!(row.major as usize, index);
            assert_eq!(row.major.version().number, row.number);
            assert_eq!(Major::from_catalog_version(row.catalog_version), Some(row.major));
            assert_eq!(Major::from_wal_magic(row.wal_magic), Some(row.major));
        }
        assert_eq!(Major::from_control_version(1300), Some(Major::V13));
    }
}
