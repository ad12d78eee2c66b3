//! A WAL record: header, block references, main data.
//!
//! ```text
//! offset size
//!      0    4 xl_tot_len    whole record, without the padding to 8
//!      4    4 xl_xid
//!      8    8 xl_prev       start of the record before
//!     16    1 xl_info       high half: the resource manager's; low half: flags
//!     17    1 xl_rmid
//!     20    4 xl_crc        CRC-32C of bytes 24.. and then of bytes 0..20
//!     24      headers: block references (id 0..32), origin (253), toplevel xid (252),
//!             main data (255 short, 254 long); unaligned
//!             then per block: image, data; last: main data
//! ```
//!
//! Nothing behind the 24 bytes is aligned. Decoding allocates nothing once its [`Parts`] have grown, because a
//! dump decodes millions. History: image flags were renumbered in 15 (`BKPIMAGE_*`); id 252 came in 14.
//! Source: access/xlogrecord.h, `DecodeXLogRecord` in access/transam/xlogreader.c.

use std::ops::Range;

use crate::format::compress::Compression;
use crate::format::crc32c::crc32c_of_both;
use crate::format::reader::Data;
use crate::pg::relation::RelFileLocator;
use crate::pg::{BlockNumber, Lsn, Major};

/// `SizeOfXLogRecord`.
pub const SIZE_OF_XLOG_RECORD: usize = 24;

/// Where `xl_crc` is: it covers the bytes of the header before it.
const CRC_OFFSET: usize = 20;

/// `XLR_MAX_BLOCK_ID`.
const MAX_BLOCK_ID: u8 = 32;
const BLOCK_ID_TOPLEVEL_XID: u8 = 252;
const BLOCK_ID_ORIGIN: u8 = 253;
const BLOCK_ID_DATA_LONG: u8 = 254;
const BLOCK_ID_DATA_SHORT: u8 = 255;

const BLCKSZ: u16 = 8192;

/// `XLogRecord`: the fixed part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// `xl_tot_len`.
    pub total_length: u32,
    /// `xl_xid`; 0 for none.
    pub xid: u32,
    /// `xl_prev`.
    pub prev: Lsn,
    /// `xl_info`.
    pub info: u8,
    /// `xl_rmid`.
    pub rmid: u8,
    /// `xl_crc`.
    pub crc: u32,
}

impl RecordHeader {
    /// Reads the 24 bytes.
    #[inline]
    pub fn read(data: Data) -> Option<RecordHeader> {
        let data = Data { bytes: data.bytes.first_chunk::<SIZE_OF_XLOG_RECORD>()?, ..data };
        Some(RecordHeader {
            total_length: data.u32(0)?,
            xid: data.u32(4)?,
            prev: Lsn(data.u64(8)?),
            info: data.u8(16)?,
            rmid: data.u8(17)?,
            crc: data.u32(20)?,
        })
    }

    /// `XLogRecGetInfo() & ~XLR_INFO_MASK`: the part that says which kind of record it is.
    pub fn op(&self) -> u8 {
        self.info & 0xF0
    }
}

/// A full-page image as it lies in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its bytes in the record.
    pub bytes: Range<usize>,
    /// Where the hole, left out of the image, begins in the page.
    pub hole_offset: u16,
    /// Its length.
    pub hole_length: u16,
    /// `None`: as it is.
    pub compression: Option<Compression>,
    /// Replay puts it back; otherwise it is there for checking only.
    pub apply: bool,
}

/// A page that the record changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockReference {
    /// 0 to 32.
    pub id: u8,
    /// The relation.
    pub locator: RelFileLocator,
    /// Fork number: 0 main, 1 fsm, 2 vm, 3 init; larger ones are unknown.
    pub fork: u8,
    /// Block in the fork.
    pub block: BlockNumber,
    /// Replay makes the page anew.
    pub will_init: bool,
    /// The page as it was after the change.
    pub image: Option<Image>,
    /// `BKPBLOCK_HAS_DATA`.
    pub has_data: bool,
    /// The block's data in the record.
    pub data: Range<usize>,
}

/// Where the parts of a record lie in its bytes. Kept and filled again for the next record.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The blocks in ascending order of their ids.
    pub blocks: Vec<BlockReference>,
    /// The resource manager's own data.
    pub main: Range<usize>,
    /// Replication origin.
    pub origin: Option<u16>,
    /// 14+: the top transaction of a subtransaction's first record.
    pub toplevel_xid: Option<u32>,
    /// Bytes of all images.
    image_length: u32,
}

/// Why a record whose CRC is right cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// An id that is none.
    InvalidBlockId(u8),
    /// Ids must ascend.
    OutOfOrderBlockId(u8),
    /// Flag without data.
    DataFlagWithoutData,
    /// Data without flag.
    DataWithoutFlag(u16),
    /// A hole that cannot be.
    Hole {
        /// Its offset.
        offset: u16,
        /// Its length.
        length: u16,
        /// Length of the image.
        image: u16,
    },
    /// Hole values without the hole flag.
    HoleWithoutFlag {
        /// Its offset.
        offset: u16,
        /// Its length.
        length: u16,
    },
    /// Compressed, but as long as a page.
    CompressedFullLength(u16),
    /// Neither compressed nor with a hole, but not as long as a page.
    PlainShort(u16),
    /// `SAME_REL` without a block before.
    SameRelWithoutRel,
    /// Lengths that do not add up to the record's.
    InvalidLength,
}

impl DecodeFault {
    /// The server's message for the record at `lsn`.
    pub fn message(&self, lsn: Lsn, major: Major) -> String {
        let lsn = lsn.text(major);
        // 15 renamed the flag when it got more than one method.
        let compressed = if major >= Major::V15 { "COMPRESSED" } else { "IS_COMPRESSED" };
        match self {
            DecodeFault::InvalidBlockId(id) => format!("invalid block_id {id} at {lsn}"),
            DecodeFault::OutOfOrderBlockId(id) => format!("out-of-order block_id {id} at {lsn}"),
            DecodeFault::DataFlagWithoutData => {
                format!("BKPBLOCK_HAS_DATA set, but no data included at {lsn}")
            }
            DecodeFault::DataWithoutFlag(length) => {
                format!("BKPBLOCK_HAS_DATA not set, but data length is {length} at {lsn}")
            }
            DecodeFault::Hole { offset, length, image } => format!(
                "BKPIMAGE_HAS_HOLE set, but hole offset {offset} length {length} block image length {image} at {lsn}"
            ),
            DecodeFault::HoleWithoutFlag { offset, length } => {
                format!("BKPIMAGE_HAS_HOLE not set, but hole offset {offset} length {length} at {lsn}")
            }
            DecodeFault::CompressedFullLength(length) => {
                format!("BKPIMAGE_{compressed} set, but block image length {length} at {lsn}")
            }
            DecodeFault::PlainShort(length) => format!(
                "neither BKPIMAGE_HAS_HOLE nor BKPIMAGE_{compressed} set, but block image length is {length} at {lsn}"
            ),
            DecodeFault::SameRelWithoutRel => format!("BKPBLOCK_SAME_REL set but no previous rel at {lsn}"),
            DecodeFault::InvalidLength => format!("record with invalid length at {lsn}"),
        }
    }
}

impl Parts {
    /// Finds the parts of a whole record.
    #[inline]
    pub fn decode(&mut self, record: Data, major: Major) -> Result<(), DecodeFault> {
        // Compiled for either byte order, so that the order is no question at every field.
        if record.big_endian {
            self.decode_in(Data { big_endian: true, ..record }, major)
        } else {
            self.decode_in(Data { big_endian: false, ..record }, major)
        }
    }

    #[inline(always)]
    fn decode_in(&mut self, record: Data, major: Major) -> Result<(), DecodeFault> {
        self.blocks.clear();
        self.main = 0..0;
        self.origin = None;
        self.toplevel_xid = None;
        self.image_length = 0;
        let end = record.bytes.len();
        let mut at = SIZE_OF_XLOG_RECORD;
        // Sum of the images, block data and main data announced so far.
        let mut announced = 0;
        let mut last_id = None;
        let mut main_length = 0;
        let short = || DecodeFault::InvalidLength;
        while end.saturating_sub(at) > announced {
            let id = record.u8(at).ok_or_else(short)?;
            at += 1;
            match id {
                BLOCK_ID_DATA_SHORT => {
                    main_length = usize::from(record.u8(at).ok_or_else(short)?);
                    at += 1;
                    announced += main_length;
                    // By convention the main data's header is the last one.
                    break;
                }
                BLOCK_ID_DATA_LONG => {
                    main_length = record.u32(at).ok_or_else(short)? as usize;
                    at += 4;
                    announced += main_length;
                    break;
                }
                BLOCK_ID_ORIGIN => {
                    self.origin = Some(record.u16(at).ok_or_else(short)?);
                    at += 2;
                }
                BLOCK_ID_TOPLEVEL_XID if major >= Major::V14 => {
                    self.toplevel_xid = Some(record.u32(at).ok_or_else(short)?);
                    at += 4;
                }
                0..=MAX_BLOCK_ID => {
                    if last_id >= Some(id) {
                        return Err(DecodeFault::OutOfOrderBlockId(id));
                    }
                    last_id = Some(id);
                    announced += self.block_header(id, record, &mut at, major)?;
                }
                other => return Err(DecodeFault::InvalidBlockId(other)),
            }
        }
        if end.checked_sub(at) != Some(announced) {
            return Err(DecodeFault::InvalidLength);
        }
        // The lengths are known; now the places.
        for block in &mut self.blocks {
            if let Some(image) = &mut block.image {
                image.bytes = at..at + image.bytes.len();
                at = image.bytes.end;
            }
            block.data = at..at + block.data.len();
            at = block.data.end;
        }
        self.main = at..at + main_length;
        Ok(())
    }

    /// Reads the header of block `id` and returns how many bytes its image and data will take.
    #[inline(always)]
    fn block_header(
        &mut self,
        id: u8,
        record: Data,
        at: &mut usize,
        major: Major,
    ) -> Result<usize, DecodeFault> {
        let short = || DecodeFault::InvalidLength;
        // The last field first: then all are known to be there.
        let fixed = record.from(*at);
        let data_length = fixed.u16(1).ok_or_else(short)?;
        let fork_flags = fixed.u8(0).ok_or_else(short)?;
        *at += 3;
        let has_data = fork_flags & 0x20 != 0;
        if has_data && data_length == 0 {
            return Err(DecodeFault::DataFlagWithoutData);
        }
        if !has_data && data_length != 0 {
            return Err(DecodeFault::DataWithoutFlag(data_length));
        }
        // Most have no image; the two ways meet late, so that these have none to copy.
        if fork_flags & 0x10 == 0 {
            return self.rest_of_block_header(id, fork_flags, data_length, None, record, at);
        }
        let image = image_header(record, at, major)?;
        let length = image.bytes.len();
        self.image_length += length as u32;
        let data = self.rest_of_block_header(id, fork_flags, data_length, Some(image), record, at)?;
        Ok(length + data)
    }

    /// What follows the image's header. Returns the length of the data.
    #[inline(always)]
    fn rest_of_block_header(
        &mut self,
        id: u8,
        fork_flags: u8,
        data_length: u16,
        image: Option<Image>,
        record: Data,
        at: &mut usize,
    ) -> Result<usize, DecodeFault> {
        let short = || DecodeFault::InvalidLength;
        let place = record.from(*at);
        let (locator, block) = if fork_flags & 0x80 == 0 {
            *at += 16;
            let block = place.u32(12);
            (place.locator(0).ok_or_else(short)?, block)
        } else {
            *at += 4;
            (self.blocks.last().ok_or(DecodeFault::SameRelWithoutRel)?.locator, place.u32(0))
        };
        let block = block.ok_or_else(short)?;
        self.blocks.push(BlockReference {
            id,
            locator,
            fork: fork_flags & 0x0F,
            block,
            will_init: fork_flags & 0x40 != 0,
            image,
            has_data: fork_flags & 0x20 != 0,
            data: 0..usize::from(data_length),
        });
        Ok(usize::from(data_length))
    }

    /// The block with this id.
    pub fn block(&self, id: u8) -> Option<&BlockReference> {
        self.blocks.iter().find(|block| block.id == id)
    }
}

/// `XLogRecordBlockImageHeader`, and the compressed one's extra field; `bytes` holds the length only.
fn image_header(record: Data, at: &mut usize, major: Major) -> Result<Image, DecodeFault> {
    let short = || DecodeFault::InvalidLength;
    let length = record.u16(*at).ok_or_else(short)?;
    let hole_offset = record.u16(*at + 2).ok_or_else(short)?;
    let info = record.u8(*at + 4).ok_or_else(short)?;
    *at += 5;
    let has_hole = info & 0x01 != 0;
    let (apply, compression) = if major >= Major::V15 {
        let compression = match info & 0x1C {
            0 => None,
            0x04 => Some(Compression::Pglz),
            0x08 => Some(Compression::Lz4),
            0x10 => Some(Compression::Zstd),
            _ => Some(Compression::Unknown),
        };
        (info & 0x02 != 0, compression)
    } else {
        (info & 0x04 != 0, (info & 0x02 != 0).then_some(Compression::Pglz))
    };
    let hole_length = match (compression, has_hole) {
        (Some(_), true) => {
            let stored = record.u16(*at).ok_or_else(short)?;
            *at += 2;
            stored
        }
        (Some(_), false) => 0,
        (None, _) => BLCKSZ.wrapping_sub(length),
    };
    if has_hole && (hole_offset == 0 || hole_length == 0 || length == BLCKSZ) {
        return Err(DecodeFault::Hole { offset: hole_offset, length: hole_length, image: length });
    }
    if !has_hole && (hole_offset != 0 || hole_length != 0) {
        return Err(DecodeFault::HoleWithoutFlag { offset: hole_offset, length: hole_length });
    }
    if compression.is_some() && length == BLCKSZ {
        return Err(DecodeFault::CompressedFullLength(length));
    }
    if compression.is_none() && !has_hole && length != BLCKSZ {
        return Err(DecodeFault::PlainShort(length));
    }
    Ok(Image { bytes: 0..usize::from(length), hole_offset, hole_length, compression, apply })
}

/// The CRC of a whole record: of what follows the header, then of the header before `xl_crc`.
#[inline(always)]
pub fn record_crc(record: &[u8]) -> u32 {
    match (record.get(SIZE_OF_XLOG_RECORD..), record.first_chunk::<CRC_OFFSET>()) {
        (Some(body), Some(header)) => crc32c_of_both(body, header),
        _ => 0,
    }
}

/// A whole record with what is needed to describe it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it starts.
    pub lsn: Lsn,
    /// Its fixed part.
    pub header: RecordHeader,
    /// Where its parts lie.
    pub parts: &'a Parts,
    /// All of its bytes, without page headers.
    pub data: Data<'a>,
    /// The major that wrote it.
    pub major: Major,
}

impl<'a> Record<'a> {
    /// The resource manager's own data.
    pub fn main(&self) -> Data<'a> {
        self.data.slice(self.parts.main.clone())
    }

    /// The data of block `id`, if the record has the block and the block has data.
    pub fn block_data(&self, id: u8) -> Option<Data<'a>> {
        let block = self.parts.block(id).filter(|block| block.has_data)?;
        Some(self.data.slice(block.data.clone()))
    }

    /// Bytes of all images: what pg_waldump counts as "fpi".
    pub fn image_length(&self) -> u32 {
        self.parts.image_length
    }
}
