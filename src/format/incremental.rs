//! The head of an incremental file, `INCREMENTAL.{file name}` (17+): which blocks of a relation's file it holds.
//!
//! ```text
//! 0       4        8                    12
//! | magic | blocks | truncation length | block numbers, 4 bytes each | zeros to a whole page | the blocks
//! ```
//!
//! Block numbers count within the segment file and ascend. The file that is put together has at least so many blocks as
//! the truncation length; those that are nowhere in the chain are zeros. Without any block there are no zeros either.
//! In the byte order of the server. Source: backup/basebackup_incremental.h, bin/pg_combinebackup/reconstruct.c.

use super::reader::{Abi, Reader, Truncated};

/// `INCREMENTAL_PREFIX`.
pub const INCREMENTAL_PREFIX: &str = "INCREMENTAL.";

/// `INCREMENTAL_MAGIC`.
pub const INCREMENTAL_MAGIC: u32 = 0xD3AE_1F0D;

/// Bytes before the block numbers.
pub const FIXED_SIZE: usize = 12;

/// The numbers at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncrementalHead {
    /// Must be [`INCREMENTAL_MAGIC`].
    pub magic: u32,
    /// How many blocks the file holds.
    pub num_blocks: u32,
    /// Least length of the whole file in blocks.
    pub truncation_block_length: u32,
}

impl IncrementalHead {
    /// Reads the first [`FIXED_SIZE`] bytes.
    pub fn read(bytes: &[u8], abi: Abi) -> Result<IncrementalHead, Truncated> {
        let mut reader = Reader::quick(bytes, abi);
        Ok(IncrementalHead {
            magic: reader.u32("magic")?,
            num_blocks: reader.u32("num_blocks")?,
            truncation_block_length: reader.u32("truncation_block_length")?,
        })
    }

    /// Why pg_combinebackup refuses a file that begins so, in its words.
    pub fn fault(&self, file: &str, relseg_size: u32) -> Option<String> {
        let IncrementalHead { magic, num_blocks, truncation_block_length } = self;
        if *magic != INCREMENTAL_MAGIC {
            return Some(format!(
                "file \"{file}\" has bad incremental magic number (0x{magic:x}, expected 0x{INCREMENTAL_MAGIC:x})"
            ));
        }
        if *num_blocks > relseg_size {
            return Some(format!(
                "file \"{file}\" has block count {num_blocks} in excess of segment size {relseg_size}"
            ));
        }
        (*truncation_block_length > relseg_size).then(|| {
            format!(
                "file \"{file}\" has truncation block length {truncation_block_length} in excess of segment size {relseg_size}"
            )
        })
    }

    /// Where the block numbers end.
    pub fn numbers_end(&self) -> u64 {
        FIXED_SIZE as u64 + 4 * u64::from(self.num_blocks)
    }

    /// Where the first block begins.
    pub fn header_length(&self, page_size: u64) -> u64 {
        if self.num_blocks == 0 { self.numbers_end() } else { self.numbers_end().next_multiple_of(page_size) }
    }

    /// Size of the whole file.
    pub fn file_size(&self, page_size: u64) -> u64 {
        self.header_length(page_size) + u64::from(self.num_blocks) * page_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_faults() {
        let bytes = [INCREMENTAL_MAGIC, 2, 7].map(u32::to_le_bytes).concat();
        let head = IncrementalHead::read(&bytes, Abi::LITTLE_64).unwrap();
        assert_eq!((head.num_blocks, head.truncation_block_length), (2, 7));
        assert_eq!(
            (head.numbers_end(), head.header_length(8192), head.file_size(8192)),
            (20, 8192, 3 * 8192)
        );
        assert_eq!(IncrementalHead { num_blocks: 0, ..head }.file_size(8192), 12);
        assert_eq!(head.fault("f", 131_072), None);
        let bad = IncrementalHead { magic: 1, ..head };
        assert_eq!(
            bad.fault("f", 131_072).unwrap(),
            "file \"f\" has bad incremental magic number (0x1, expected 0xd3ae1f0d)"
        );
        assert!(
            IncrementalHead { num_blocks: 200_000, ..head }.fault("f", 131_072).unwrap().contains("200000")
        );
        assert!(IncrementalHead::read(&bytes[..11], Abi::LITTLE_64).is_err());
    }
}
