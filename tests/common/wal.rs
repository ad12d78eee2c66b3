//! A segment of a real server taken apart and damaged in every way for which the server has words.
//!
//! Damages keep the CRC right where the test that they are for comes behind it.

use std::path::Path;

use super::unpack;

use pgforensic::format::reader::Data;
use pgforensic::format::wal::record::{RecordHeader, record_crc};
use pgforensic::pg::Major;
use tempfile::TempDir;

pub const PAGE: usize = 8192;
/// Size of the segments of the fixtures.
pub const SEGMENT: usize = 1 << 20;

/// The archive of each major with a pg_waldump that is not damaged.
pub fn sound_archive(major: u32) -> Option<&'static str> {
    Some(match major {
        11 => "unbroken-11",
        13 => "unbroken-13",
        14 => "unbroken-14",
        15 => "unbroken",
        16 => "unbroken-16",
        17 => "unbroken-17",
        18 => "unbroken-18",
        19 => "unbroken-19",
        _ => return None,
    })
}

/// The archive unpacked, and the names of its segments in order.
pub fn unpacked_archive(name: &str) -> (TempDir, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    unpack(format!("archives/{name}.tar.zst"), directory.path());
    let entries = std::fs::read_dir(directory.path().join(name)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.len() == 24).collect();
    names.sort();
    (directory, names)
}

/// A segment in which records can be found and changed.
#[derive(Clone)]
pub struct Segment {
    pub major: Major,
    pub bytes: Vec<u8>,
}

impl Segment {
    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    /// Offsets of the records that lie on one page, and of those that reach over its end: of the first pages.
    pub fn records(&self) -> (Vec<usize>, Vec<usize>) {
        let (mut whole, mut crossing) = (Vec::new(), Vec::new());
        for page in (0..40).map(|page| page * PAGE) {
            let header = if page == 0 { 40 } else { 24 };
            let rest = (self.u32(page + 16) as usize).next_multiple_of(8);
            if rest >= PAGE - header {
                continue;
            }
            let mut at = page + header + rest;
            while at + 24 <= page + PAGE && self.u32(at) >= 24 {
                let length = self.u32(at) as usize;
                if at + length > page + PAGE {
                    crossing.push(at);
                    break;
                }
                whole.push(at);
                at += length.next_multiple_of(8);
            }
        }
        (whole, crossing)
    }

    /// Changes bytes.
    pub fn poke(&self, at: usize, bytes: &[u8]) -> Segment {
        let mut changed = self.clone();
        changed.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    }

    /// Makes the CRC of the record on one page right.
    pub fn sign(mut self, at: usize) -> Segment {
        let record = &self.bytes[at..at + self.u32(at) as usize];
        let crc = record_crc(record);
        self.bytes[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
        self
    }

    fn header(&self, at: usize) -> RecordHeader {
        RecordHeader::read(Data::little(&self.bytes[at..])).unwrap()
    }
}

/// The record with block data, and the one that crosses pages, in which damages are made.
fn targets(sound: &Segment) -> Option<(usize, usize)> {
    let (whole, crossing) = sound.records();
    // One block reference without an image; not the first record of its page.
    let plain = |at: &&usize| {
        **at > PAGE
            && sound.bytes[**at + 24] == 0
            && sound.bytes[**at + 25] & 0x30 == 0x20
            && **at % PAGE > 100
    };
    Some((*whole.iter().find(plain)?, *crossing.iter().find(|at| **at > PAGE)?))
}

/// A segment of an archive that has such records, and its index: not the first one, if another will do.
pub fn segment_to_damage(major: u32, archive: &Path, names: &[String]) -> (usize, Segment) {
    let major = Major::from_number(major).unwrap();
    let indexes = (1..names.len()).chain([0]);
    let segment =
        |index: usize| Segment { major, bytes: std::fs::read(archive.join(&names[index])).unwrap() };
    let mut segments = indexes.map(|index| (index, segment(index)));
    segments.find(|(_, segment)| targets(segment).is_some()).expect("a segment with full pages")
}

/// Every damage by name.
pub fn damages(sound: &Segment) -> Vec<(&'static str, Segment)> {
    let (whole, _) = sound.records();
    let (target, across) = targets(sound).unwrap();
    let next = (across / PAGE + 1) * PAGE;
    let page = (target / PAGE) * PAGE;
    let block_header = target + 24;
    let two = |major: Major, old: u8, new: u8| if major >= Major::V15 { new } else { old };
    let mut list = vec![
        ("crc", sound.poke(target + 30, &[sound.bytes[target + 30] ^ 1])),
        ("length 0", sound.poke(target, &[0; 4])),
        ("length 23", sound.poke(target, &23u32.to_le_bytes())),
        ("length too long", sound.poke(target, &0x7000_0000u32.to_le_bytes())),
        ("length a bit longer", sound.poke(target, &(sound.u32(target) + 8).to_le_bytes())),
        ("length over the page", sound.poke(target, &9000u32.to_le_bytes())),
        ("resource manager", sound.poke(target + 17, &[99]).sign(target)),
        ("custom resource manager", sound.poke(target + 17, &[200]).sign(target)),
        ("prev-link", sound.poke(target + 8, &(sound.header(target).prev.0 - 8).to_le_bytes()).sign(target)),
        ("magic", sound.poke(next, &[0x55])),
        ("zero page", sound.poke(next, &[0; PAGE])),
        ("info bits", sound.poke(next + 3, &[0x80])),
        ("long header in the middle", sound.poke(next + 2, &[sound.bytes[next + 2] | 2])),
        ("page address", sound.poke(next + 9, &[sound.bytes[next + 9] ^ 0x40])),
        ("timeline", sound.poke(next + 4, &[7])),
        ("no contrecord", sound.poke(next + 2, &[sound.bytes[next + 2] & !1])),
        ("contrecord length", sound.poke(next + 16, &(sound.u32(next + 16) + 8).to_le_bytes())),
        ("contrecord length 0", sound.poke(next + 16, &[0; 4])),
        ("crc of a record over two pages", sound.poke(next + 24, &[sound.bytes[next + 24] ^ 1])),
        ("segment size", sound.poke(34, &[0x20])),
        ("block size", sound.poke(36, &[0, 0x40])),
        ("first page", sound.poke(0, &[0; 4])),
        ("page address of the first page", sound.poke(11, &[0x70])),
        ("block id", sound.poke(block_header, &[100]).sign(target)),
        ("data flag without data", sound.poke(block_header + 2, &[0, 0]).sign(target)),
        (
            "data without flag",
            sound.poke(block_header + 1, &[sound.bytes[block_header + 1] & !0x20]).sign(target),
        ),
        ("same rel", sound.poke(block_header + 1, &[sound.bytes[block_header + 1] | 0x80]).sign(target)),
        ("image", sound.poke(block_header + 1, &[sound.bytes[block_header + 1] | 0x10]).sign(target)),
        ("block data too long", sound.poke(block_header + 2, &[0xFF, 0x7F]).sign(target)),
        ("page of zeros behind the record", sound.poke(page + PAGE, &[0; 3 * PAGE])),
    ];
    // Image headers: a record with one image, no block data behind it that could move.
    let images = |at: &&usize| sound.bytes[**at + 24] == 0 && sound.bytes[**at + 25] & 0x30 == 0x10;
    if let Some(at) = whole.iter().find(images) {
        let image = at + 28;
        let flag = |flag: u8| sound.poke(image + 4, &[sound.bytes[image + 4] ^ flag]).sign(*at);
        list.push(("hole offset", sound.poke(image + 2, &[0, 0]).sign(*at)));
        list.push(("hole flag", flag(1)));
        list.push(("compressed", flag(two(sound.major, 2, 4))));
    }
    list
}
