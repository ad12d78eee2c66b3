//! A WAL summary, `pg_wal/summaries/TTTTTTTT SSSSSSSSSSSSSSSS EEEEEEEEEEEEEEEE.summary` (17+): which blocks a stretch of WAL changed.
//!
//! ```text
//! magic | entries: key of 24 bytes, lengths of the chunks, the chunks | 24 bytes of zeros | CRC-32C of all before
//! key     tablespace, database, relfilenumber, fork, limit_block, number of chunks
//! chunk   of 65536 blocks each: a list of 16-bit block numbers, or with length 4096 a bitmap
//! ```
//!
//! The name has timeline, start and end of the stretch in hexadecimal, without the blanks. Blocks from `limit_block` on
//! were all made anew (the relation was cut there or created). In the byte order of the server. The server takes an
//! incremental backup only if summaries cover everything from the start of the one before to its own start.
//! Source: common/blkreftable.c, backup/walsummary.c.

use super::crc32c::crc32c;
use super::reader::{Abi, Reader, Truncated};
use crate::pg::relation::RelFileLocator;
use crate::pg::wal_file::parse_hex8;
use crate::pg::{BlockNumber, Lsn, TimelineId};

/// `BLOCKREFTABLE_MAGIC`.
pub const SUMMARY_MAGIC: u32 = 0x652B_137B;
/// `BLOCKS_PER_CHUNK`.
const BLOCKS_PER_CHUNK: u64 = 65536;
/// `MAX_ENTRIES_PER_CHUNK`: a chunk of so many 16-bit words is a bitmap.
const BITMAP_WORDS: u16 = 4096;

/// What the name of a summary says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SummaryName {
    /// Timeline of the WAL.
    pub timeline: TimelineId,
    /// From here.
    pub start: Lsn,
    /// To here, exclusive.
    pub end: Lsn,
}

impl SummaryName {
    /// Takes a file name apart.
    pub fn parse(name: &[u8]) -> Option<SummaryName> {
        let digits = name.strip_suffix(b".summary").filter(|digits| digits.len() == 40)?;
        let part = |index: usize| parse_hex8(digits.get(index * 8..index * 8 + 8)?).map(u64::from);
        let lsn = |index: usize| Some(Lsn(part(index)? << 32 | part(index + 1)?));
        Some(SummaryName {
            timeline: TimelineId(u32::try_from(part(0)?).ok()?),
            start: lsn(1)?,
            end: lsn(3)?,
        })
    }
}

/// The changes of one fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SummaryEntry {
    /// The relation.
    pub locator: RelFileLocator,
    /// Its fork, by number.
    pub fork: i32,
    /// All blocks from here on; `None`: it was neither cut nor created.
    pub limit_block: Option<BlockNumber>,
    /// Blocks that were changed.
    pub blocks: u64,
}

/// Why the server refuses a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryFault {
    /// It ends too early.
    Truncated(Truncated),
    /// The first number is another one.
    Magic(u32),
    /// The checksum does not fit.
    Crc {
        /// As calculated.
        calculated: u32,
        /// As it stands there.
        stored: u32,
    },
    /// A chunk has more entries than one can have.
    Chunk(u16),
}

impl From<Truncated> for SummaryFault {
    fn from(truncated: Truncated) -> SummaryFault {
        SummaryFault::Truncated(truncated)
    }
}

impl SummaryFault {
    /// In the server's words where it has any.
    pub fn message(&self, file: &str) -> String {
        match self {
            SummaryFault::Truncated(_) => format!("file \"{file}\" ends unexpectedly"),
            SummaryFault::Magic(found) => {
                format!("file \"{file}\" has wrong magic number: expected {SUMMARY_MAGIC}, found {found}")
            }
            SummaryFault::Crc { calculated, stored } => {
                format!("file \"{file}\" has wrong checksum: expected {calculated:08X}, found {stored:08X}")
            }
            SummaryFault::Chunk(length) => {
                format!("file \"{file}\" has a chunk of {length} entries, more than {BITMAP_WORDS}")
            }
        }
    }
}

/// All entries of a summary.
pub fn read(bytes: &[u8], abi: Abi) -> Result<Vec<SummaryEntry>, SummaryFault> {
    let mut reader = Reader::quick(bytes, abi);
    let magic = reader.u32("magic")?;
    if magic != SUMMARY_MAGIC {
        return Err(SummaryFault::Magic(magic));
    }
    let mut entries = Vec::new();
    loop {
        let locator = RelFileLocator {
            tablespace: reader.u32("tablespace")?,
            database: reader.u32("database")?,
            relnumber: reader.u32("relfilenumber")?,
        };
        let fork = reader.i32("fork")?;
        let limit_block = reader.u32("limit_block")?;
        let chunks = reader.u32("nchunks")?;
        if (locator.tablespace, locator.database, locator.relnumber) == (0, 0, 0)
            && (fork, limit_block, chunks) == (0, 0, 0)
        {
            break;
        }
        let blocks = chunk_blocks(&mut reader, chunks)?;
        let limit_block = (limit_block != BlockNumber::MAX).then_some(limit_block);
        entries.push(SummaryEntry { locator, fork, limit_block, blocks });
    }
    let covered = reader.offset();
    let stored = reader.u32("crc")?;
    let calculated = crc32c(bytes.get(..covered).unwrap_or_default());
    if calculated == stored { Ok(entries) } else { Err(SummaryFault::Crc { calculated, stored }) }
}

fn chunk_blocks(reader: &mut Reader, chunks: u32) -> Result<u64, SummaryFault> {
    // More chunks than bytes run out before they are collected.
    let mut usage = Vec::new();
    for _ in 0..chunks {
        usage.push(reader.u16("chunk usage")?);
    }
    let mut blocks = 0;
    for length in usage {
        if length > BITMAP_WORDS {
            return Err(SummaryFault::Chunk(length));
        }
        for _ in 0..length {
            let word = reader.u16("chunk")?;
            blocks += if length == BITMAP_WORDS { u64::from(word.count_ones()) } else { 1 };
        }
    }
    debug_assert!(blocks <= u64::from(chunks) * BLOCKS_PER_CHUNK);
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Vec<u8> {
        let mut bytes = SUMMARY_MAGIC.to_le_bytes().to_vec();
        for value in [1663u32, 5, 16384, 0, u32::MAX, 2] {
            bytes.extend(value.to_le_bytes());
        }
        for usage in [2u16, BITMAP_WORDS] {
            bytes.extend(usage.to_le_bytes());
        }
        bytes.extend([7u16, 3].map(u16::to_le_bytes).concat());
        bytes.extend(vec![0x11; 2 * usize::from(BITMAP_WORDS)]);
        bytes.extend([0; 24]);
        bytes.extend(crc32c(&bytes).to_le_bytes());
        bytes
    }

    #[test]
    fn lists_and_bitmaps() {
        let entries = read(&summary(), Abi::LITTLE_64).unwrap();
        let locator = RelFileLocator { tablespace: 1663, database: 5, relnumber: 16384 };
        let blocks = 2 + 4 * u64::from(BITMAP_WORDS);
        assert_eq!(entries, [SummaryEntry { locator, fork: 0, limit_block: None, blocks }]);
    }

    #[test]
    fn damage_has_a_name() {
        let whole = summary();
        for cut in [0, 3, 4, 20, 31, 40, whole.len() - 1] {
            assert!(matches!(read(&whole[..cut], Abi::LITTLE_64), Err(SummaryFault::Truncated(_))), "{cut}");
        }
        let mut changed = whole.clone();
        changed[0] ^= 1;
        assert!(matches!(read(&changed, Abi::LITTLE_64), Err(SummaryFault::Magic(_))));
        let mut changed = whole.clone();
        changed[36] ^= 1;
        assert!(matches!(read(&changed, Abi::LITTLE_64), Err(SummaryFault::Crc { .. })));
        let mut changed = whole;
        changed[28..30].copy_from_slice(&5000u16.to_le_bytes());
        assert_eq!(read(&changed, Abi::LITTLE_64), Err(SummaryFault::Chunk(5000)));
    }

    #[test]
    fn names() {
        let name = SummaryName::parse(b"0000000100000000020000280000000002000120.summary").unwrap();
        assert_eq!((name.timeline, name.start, name.end), (TimelineId(1), Lsn(0x200_0028), Lsn(0x200_0120)));
        assert_eq!(SummaryName::parse(b"temp.summary"), None);
    }
}
