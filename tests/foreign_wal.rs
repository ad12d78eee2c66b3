//! WAL of a machine with the other byte order: the same records written both ways are told the same way.
//!
//! There is no such machine here. The little-endian writing of these records is proved by the real pg_waldump where there is one;
//! the big-endian one differs by the order of the bytes of each number and nothing else, as the C structures do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{pgforensic, servers};
use pgforensic::format::crc32c::crc32c;

const PAGE: usize = 8192;
const SEGMENT: usize = 1 << 20;
/// Segment 1.
const START: u64 = SEGMENT as u64;
/// `XLOG_PAGE_MAGIC` of 18.
const MAGIC: u16 = 0xD118;
const NAME: &str = "000000010000000000000001";

/// Writes numbers in one byte order.
struct Bytes {
    bytes: Vec<u8>,
    big: bool,
}

impl Bytes {
    fn new(big: bool) -> Bytes {
        Bytes { bytes: Vec::new(), big }
    }

    fn number(mut self, value: u64, size: usize) -> Bytes {
        let all = value.to_be_bytes();
        let mut own = all[8 - size..].to_vec();
        if !self.big {
            own.reverse();
        }
        self.bytes.extend(own);
        self
    }

    fn u8(self, value: u8) -> Bytes {
        self.number(value.into(), 1)
    }

    fn u16(self, value: u16) -> Bytes {
        self.number(value.into(), 2)
    }

    fn u32(self, value: u32) -> Bytes {
        self.number(value.into(), 4)
    }

    fn u64(self, value: u64) -> Bytes {
        self.number(value, 8)
    }

    fn raw(mut self, bytes: &[u8]) -> Bytes {
        self.bytes.extend(bytes);
        self
    }
}

/// A block reference's head, with its relation, and its data.
struct Block {
    relation: [u32; 3],
    block: u32,
    data: Vec<u8>,
}

struct Writer {
    big: bool,
    wal: Vec<u8>,
    prev: u64,
}

impl Writer {
    fn bytes(&self) -> Bytes {
        Bytes::new(self.big)
    }

    fn page_header(&mut self, rest: u32) {
        let at = self.wal.len();
        let long = at == 0;
        let info = if rest > 0 { 1 } else { 0 } | if long { 2 } else { 0 };
        let header = self.bytes().u16(MAGIC).u16(info).u32(1).u64(START + at as u64).u32(rest).u32(0);
        let header = if long {
            header.u64(0x1234_5678_9ABC_DEF0).u32(SEGMENT as u32).u32(PAGE as u32)
        } else {
            header
        };
        self.wal.extend(header.bytes);
    }

    /// Appends a record, over as many pages as it needs.
    fn record(&mut self, rmid: u8, info: u8, xid: u32, block: Option<Block>, main: &[u8]) {
        let mut body = self.bytes();
        if let Some(block) = &block {
            let [tablespace, database, number] = block.relation;
            body = body.u8(0).u8(0x20).u16(block.data.len() as u16);
            body = body.u32(tablespace).u32(database).u32(number).u32(block.block);
        }
        body = match u8::try_from(main.len()) {
            Ok(length) => body.u8(0xFF).u8(length),
            Err(_) => body.u8(0xFE).u32(main.len() as u32),
        };
        let body = body.raw(block.as_ref().map_or(&[], |block| &block.data)).raw(main).bytes;
        let head = self
            .bytes()
            .u32(24 + body.len() as u32)
            .u32(xid)
            .u64(self.prev)
            .u8(info)
            .u8(rmid)
            .raw(&[0; 2])
            .bytes;
        let crc = crc32c(&[&body[..], &head[..]].concat());
        let record = self.bytes().raw(&head).u32(crc).raw(&body).bytes;
        if self.wal.len().is_multiple_of(PAGE) {
            self.page_header(0);
        }
        self.prev = START + self.wal.len() as u64;
        let mut rest = &record[..];
        loop {
            let room = (PAGE - self.wal.len() % PAGE).min(rest.len());
            self.wal.extend(&rest[..room]);
            rest = &rest[room..];
            if rest.is_empty() {
                break;
            }
            self.page_header(rest.len() as u32);
        }
        self.wal.resize(self.wal.len().next_multiple_of(8), 0);
    }
}

/// A segment with records of several kinds, some over two and three pages.
fn segment(big: bool) -> Vec<u8> {
    let mut wal = Writer { big, wal: Vec::new(), prev: 0 };
    let new = || Bytes::new(big);
    let mut name = b"before the release".to_vec();
    name.resize(64, 0);
    for round in 0..200u32 {
        let main = new().u64(800_000_000_000_000 + u64::from(round)).raw(&name);
        wal.record(0, 0x70, 0, None, &main.bytes);
        // xl_heap_header and a row.
        let data = new().u16(2).u16(0x0802).u8(24).raw(&vec![b'x'; 10 + 20 * round as usize]).bytes;
        let block = Block { relation: [1663, 5, 16384 + round], block: 70_000 * round, data };
        let main = new().u16(round as u16 + 1).u8(8);
        wal.record(10, 0x00, 700 + round, Some(block), &main.bytes);
        // xl_running_xacts: of two transactions.
        let main = new().u32(2).u32(0).u8(0).raw(&[0; 3]).u32(900).u32(700).u32(899).u32(700).u32(701);
        wal.record(8, 0x10, 0, None, &main.bytes);
        // xl_xact_commit with relations that are dropped, XACT_XINFO_HAS_RELFILELOCATORS.
        let main = new()
            .u64(800_000_001_000_000 + u64::from(round))
            .u32(4)
            .u32(1)
            .u32(1663)
            .u32(5)
            .u32(16384 + round);
        wal.record(1, 0x80, 700 + round, None, &main.bytes);
        if round % 50 == 7 {
            // xl_logical_message, longer than a page.
            let main =
                new().u32(5).u8(1).raw(&[0; 3]).u64(5).u64(20_000).raw(b"test\0").raw(&vec![b'm'; 20_000]);
            wal.record(21, 0x00, 700 + round, None, &main.bytes);
        }
    }
    assert!(wal.wal.len() < SEGMENT);
    wal.wal.resize(SEGMENT, 0);
    wal.wal
}

fn written(big: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(NAME), segment(big)).unwrap();
    directory
}

fn stdout(directory: &Path, arguments: &[&str]) -> String {
    let output = pgforensic(directory, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn both_byte_orders_tell_the_same() {
    let (little, big) = (written(false), written(true));
    for arguments in [
        &["wal-dump", NAME][..],
        &["wal-dump", NAME, "-b"],
        &["wal-dump", NAME, "--format", "json"],
        &["wal-stats", NAME, "--stats=record"],
        &["wal-find", ".", "--commits", "--restore-points", "--all"],
        &["wal-gaps", ".", "--deep"],
    ] {
        let expected = stdout(little.path(), arguments);
        assert!(expected.lines().count() > 4, "{expected}");
        assert_eq!(stdout(big.path(), arguments), expected, "{arguments:?}");
    }
    assert_eq!(stdout(little.path(), &["wal-dump", NAME]).lines().count(), 804);
}

/// The records are what PostgreSQL takes them for.
#[test]
fn the_real_pg_waldump_reads_them_alike() {
    let Some(server) = servers().into_iter().find(|server| server.major == 18 && server.has("pg_waldump"))
    else {
        println!("skipped: no pg_waldump of 18 is installed");
        return;
    };
    let little = written(false);
    let mut theirs = Command::new(server.bin.join("pg_waldump"));
    let theirs = theirs.arg(NAME).current_dir(little.path()).env("TZ", "UTC").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&theirs.stdout), stdout(little.path(), &["wal-dump", NAME]));
}
