//! `pg_filenode.map`: in which files the catalogs are that must be found before pg_class can be read.
//!
//! ```text
//!              up to 15   from 16
//! magic            0         0      u32 0x592717
//! num_mappings     4         4      i32
//! mappings         8         8      62 or 64 times: u32 mapoid, u32 mapfilenumber (mapfilenode up to 15)
//! crc            504       520      CRC-32C of all before it
//! pad            508                nothing
//! size           512       524
//! ```
//!
//! One lies in `global` for the shared catalogs, one in the directory of every database. Not here: which catalogs are
//! mapped. Source: `RelMapFile` in utils/cache/relmapper.c.

use super::crc32c::crc32c;
use super::reader::{Abi, Reader, Truncated};
use crate::pg::{Major, Oid};

/// Its name, in `global` and in every database.
pub const RELMAPPER_FILENAME: &str = "pg_filenode.map";
/// `RELMAPPER_FILEMAGIC`.
pub const RELMAPPER_FILEMAGIC: u32 = 0x59_2717;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelMapFile {
    /// [`RELMAPPER_FILEMAGIC`].
    pub magic: u32,
    /// How many of the mappings are used.
    pub num_mappings: i32,
    /// All places for mappings: catalog and file number.
    pub mappings: Vec<(Oid, Oid)>,
    /// The stored CRC.
    pub crc: u32,
    /// The CRC of the bytes.
    pub calculated_crc: u32,
}

impl RelMapFile {
    /// Size of the file in bytes.
    pub fn size(major: Major) -> usize {
        if major >= Major::V16 { 524 } else { 512 }
    }

    /// `MAX_MAPPINGS`.
    pub fn max_mappings(major: Major) -> usize {
        if major >= Major::V16 { 64 } else { 62 }
    }

    /// In disk order.
    pub fn read(bytes: &[u8], abi: Abi, major: Major) -> Result<RelMapFile, Truncated> {
        let mut reader = Reader::quick(bytes, abi);
        let magic = reader.u32("magic")?;
        let num_mappings = reader.i32("num_mappings")?;
        let mappings = (0..Self::max_mappings(major))
            .map(|_| Ok((reader.u32("mapoid")?, reader.u32("mapfilenumber")?)))
            .collect::<Result<_, Truncated>>()?;
        let calculated_crc = crc32c(bytes.get(..reader.offset()).unwrap_or(bytes));
        Ok(RelMapFile { magic, num_mappings, mappings, crc: reader.u32("crc")?, calculated_crc })
    }

    /// The file with these mappings: as many zeros as places that are not used.
    pub fn write(mappings: &[(Oid, Oid)], abi: Abi, major: Major) -> Vec<u8> {
        let word = |value: u32| if abi.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let most = Self::max_mappings(major);
        let mut bytes = word(RELMAPPER_FILEMAGIC).to_vec();
        bytes.extend(word(mappings.len().min(most) as u32));
        for (oid, file) in mappings.iter().take(most) {
            bytes.extend(word(*oid));
            bytes.extend(word(*file));
        }
        bytes.resize(8 + most * 8, 0);
        bytes.extend(word(crc32c(&bytes)));
        bytes.resize(Self::size(major), 0);
        bytes
    }

    /// Would the server take it?
    pub fn is_valid(&self) -> bool {
        self.magic == RELMAPPER_FILEMAGIC
            && usize::try_from(self.num_mappings).is_ok_and(|count| count <= self.mappings.len())
            && self.crc == self.calculated_crc
    }

    /// The mappings in use, as far as there are as many.
    pub fn used(&self) -> impl Iterator<Item = (Oid, Oid)> {
        self.mappings.iter().copied().take(usize::try_from(self.num_mappings).unwrap_or(0))
    }

    /// The file number of a mapped catalog.
    pub fn file_of(&self, catalog: Oid) -> Option<Oid> {
        self.used().find(|(oid, _)| *oid == catalog).map(|(_, file)| file)
    }
}
