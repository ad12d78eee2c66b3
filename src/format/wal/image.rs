//! Full-page images: from the bytes in the record back to the page of 8192 bytes.
//!
//! ```text
//! page    | header, line pointers |        hole        | tuples, special |
//!         0                 hole_offset           + hole_length       8192
//! image   | header, line pointers | tuples, special |      perhaps compressed as a whole
//! ```
//!
//! The hole, free space in the middle, is not in the image; it comes back as zeros. The page is as it was after the
//! change, but with the `pd_lsn` of before and a checksum that is out of date: replay sets both. History: 15
//! added lz4 and zstd and another message. Source: `RestoreBlockImage` in access/transam/xlogreader.c.

use super::record::{BlockReference, Record};
use crate::format::compress::Compression;
use crate::pg::Major;

/// `BLCKSZ`.
pub const BLCKSZ: usize = 8192;

/// Why an image does not become a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFault {
    /// The block has no image.
    None,
    /// It does not unpack to the size that it should have.
    Compressed,
    /// A flag says compressed, but by no method that is known.
    Method,
    /// The hole reaches over the end of the page.
    Hole,
}

impl ImageFault {
    /// The server's message for an image of this record.
    pub fn message(self, record: &Record, block: &BlockReference) -> String {
        let (lsn, block) = (record.lsn.text(record.major), block.id);
        match self {
            ImageFault::Compressed if record.major < Major::V15 => {
                format!("invalid compressed image at {lsn}, block {block}")
            }
            ImageFault::Compressed => format!("could not decompress image at {lsn}, block {block}"),
            ImageFault::Method => {
                format!("could not restore image at {lsn} compressed with unknown method, block {block}")
            }
            ImageFault::None => {
                format!("could not restore image at {lsn} with invalid state, block {block}")
            }
            // The server would copy beyond the page.
            ImageFault::Hole => {
                format!("could not restore image at {lsn} whose hole is not inside the page, block {block}")
            }
        }
    }
}

/// Restores the image of `block`. After a fault the page is not to be used.
pub fn restore_image(
    record: &Record,
    block: &BlockReference,
    page: &mut [u8; BLCKSZ],
) -> Result<(), ImageFault> {
    let image = block.image.as_ref().ok_or(ImageFault::None)?;
    let stored = record.data.slice(image.bytes.clone()).bytes;
    let (offset, length) = (usize::from(image.hole_offset), usize::from(image.hole_length));
    let size = BLCKSZ.checked_sub(length).ok_or(ImageFault::Hole)?;
    // With the hole at the end first; then what follows it moves there.
    let (packed, rest) = page.split_at_mut_checked(size).ok_or(ImageFault::Hole)?;
    match image.compression {
        None if stored.len() == size => packed.copy_from_slice(stored),
        None => return Err(ImageFault::Hole),
        Some(Compression::Unknown) => return Err(ImageFault::Method),
        Some(method) => method.unpack(stored, packed).ok_or(ImageFault::Compressed)?,
    }
    rest.fill(0);
    if length > 0 {
        let behind = offset + length;
        if behind > BLCKSZ {
            return Err(ImageFault::Hole);
        }
        page.copy_within(offset..size, behind);
        page.get_mut(offset..behind).ok_or(ImageFault::Hole)?.fill(0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::reader::Data;
    use crate::format::wal::record::{Image, Parts, RecordHeader};
    use crate::pg::Lsn;

    /// A page with a hole from 40 on, of `hole` bytes.
    fn page(hole: usize) -> [u8; BLCKSZ] {
        let mut page = [0; BLCKSZ];
        for (at, byte) in page.iter_mut().enumerate() {
            *byte = if (40..40 + hole).contains(&at) { 0 } else { (at / 7) as u8 | 1 };
        }
        page
    }

    fn block(length: usize, hole_length: u16, compression: Option<Compression>) -> BlockReference {
        let hole_offset = if hole_length > 0 { 40 } else { 0 };
        BlockReference {
            id: 1,
            locator: Default::default(),
            fork: 0,
            block: 7,
            will_init: false,
            image: Some(Image { bytes: 0..length, hole_offset, hole_length, compression, apply: true }),
            has_data: false,
            data: 0..0,
        }
    }

    fn restore(
        bytes: &[u8],
        block: &BlockReference,
        major: Major,
    ) -> Result<Box<[u8; BLCKSZ]>, (ImageFault, String)> {
        let parts = Parts::default();
        let data = Data::little(bytes);
        let record =
            Record { lsn: Lsn(0x12_0034_5678), header: RecordHeader::default(), parts: &parts, data, major };
        // What was there before must not shine through.
        let mut page = Box::new([0xEE; BLCKSZ]);
        restore_image(&record, block, &mut page).map_err(|fault| (fault, fault.message(&record, block)))?;
        Ok(page)
    }

    #[test]
    fn every_method_with_and_without_a_hole() {
        for hole in [0, 1, 3000, 8000, 8151] {
            let page = page(hole);
            let raw = [&page[..40], &page[40 + hole..]].concat();
            let packed = [
                (None, raw.clone()),
                (Some(Compression::Lz4), lz4_flex::block::compress(&raw)),
                (Some(Compression::Zstd), zstd::bulk::compress(&raw, 1).unwrap()),
            ];
            for (method, bytes) in packed {
                let block = block(bytes.len(), hole as u16, method);
                assert_eq!(*restore(&bytes, &block, Major::V18).unwrap(), page, "{method:?} {hole}");
                for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                    let (fault, _) = restore(&bytes[..cut], &block, Major::V18).unwrap_err();
                    let expected = if method.is_some() { ImageFault::Compressed } else { ImageFault::Hole };
                    assert_eq!(fault, expected, "{method:?} {hole} {cut}");
                }
            }
        }
    }

    #[test]
    fn the_words_of_each_major() {
        let message =
            |compression, major| restore(&[1, 2, 3], &block(3, 0, Some(compression)), major).unwrap_err().1;
        assert_eq!(message(Compression::Pglz, Major::V14), "invalid compressed image at 12/345678, block 1");
        assert_eq!(
            message(Compression::Pglz, Major::V15),
            "could not decompress image at 12/345678, block 1"
        );
        assert_eq!(
            message(Compression::Zstd, Major::V19),
            "could not decompress image at 12/00345678, block 1"
        );
        assert_eq!(
            message(Compression::Unknown, Major::V16),
            "could not restore image at 12/345678 compressed with unknown method, block 1"
        );
    }

    #[test]
    fn holes_that_cannot_be() {
        for (offset, length) in [(8000, 193), (u16::MAX, 1), (1, 8192), (1, u16::MAX)] {
            for method in [None, Some(Compression::Lz4)] {
                let size = BLCKSZ.saturating_sub(usize::from(length));
                let raw = vec![7; size];
                let bytes = if method.is_some() { lz4_flex::block::compress(&raw) } else { raw };
                let mut block = block(bytes.len(), length, method);
                if let Some(image) = &mut block.image {
                    image.hole_offset = offset;
                }
                let (fault, _) = restore(&bytes, &block, Major::V18).unwrap_err();
                assert!(matches!(fault, ImageFault::Hole), "{offset} {length} {fault:?}");
            }
        }
        let none = BlockReference { image: None, ..block(0, 0, None) };
        assert_eq!(restore(&[], &none, Major::V18).unwrap_err().0, ImageFault::None);
    }
}
