//! What each byte of a page is: every page of every relation of real clusters of 10 to 19 is explained without a problem
//! and without a gap between the pieces; changed pages give problems, never a panic or endless work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::pages::{every_page, kind, tiles};
use common::{MAJORS, Random, cluster};
use pgforensic::format::catalog::PgAttribute;
use pgforensic::format::page::explain::explain_page;
use pgforensic::format::page::pageinspect::{FUNCTIONS, PageInput};
use pgforensic::format::pg_type::{IndexColumn, IndexColumns, PgType, Types};
use pgforensic::format::reader::Abi;
use pgforensic::pg::Major;

#[test]
fn every_byte_of_sound_pages_has_one_name() {
    for number in MAJORS {
        let major = Major::from_number(number).unwrap();
        let scratch = cluster(number);
        let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
        every_page(&scratch.path().join("cluster"), |path, fork, block, page| {
            let map = explain_page(page, block, Some(fork), Abi::LITTLE_64, major);
            let place = format!("{number}: {} block {block}: {}", path.display(), map.title);
            assert_eq!(map.problems, [""; 0], "{place}");
            tiles(&map, page.len()).unwrap_or_else(|what| panic!("{place}: {what}"));
            *kinds.entry(kind(&map.title)).or_default() += 1;
        });
        println!("{number}: {kinds:?}");
        assert!(kinds.len() > 10, "{number}: {kinds:?}");
    }
}

/// Spoils a page where it says most: header, line pointers, starts of tuples, special space; or anywhere.
fn mutate(page: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(5) {
        let lower = usize::from(u16::from_le_bytes([page[12], page[13]])).clamp(48, page.len());
        let upper = usize::from(u16::from_le_bytes([page[14], page[15]])).min(page.len() - 48);
        let at = match random.below(5) {
            0 => 10 + random.below(14),
            1 => random.below(lower),
            2 => upper + random.below(48),
            3 => page.len() - 16 + random.below(16),
            _ => random.below(page.len()),
        };
        match random.below(5) {
            0 => page[at] ^= 1 << random.below(8),
            1 => page[at] = random.next() as u8,
            2 => page[at] = [0, 1, 0x7F, 0x80, 0xFF][random.below(5)],
            3 => {
                let to = page.len().min(at + random.below(700));
                page[at..to].fill([0, 0xFF][random.below(2)]);
            }
            // A line pointer or a tuple of another place.
            _ => {
                let from = random.below(page.len() - 64);
                let length = (page.len() - at).min(1 + random.below(64));
                page.copy_within(from..from + length, at);
            }
        }
    }
}

/// An index of every kind of column: what its pages hold is something else.
fn any_index() -> IndexColumns {
    let mut types = Types::default();
    // Name, length, alignment, type of type, output function, base type.
    for (oid, typlen, typalign, typtype, typoutput, typbasetype) in [
        (16, 1, b'c', b'b', 1243, 0),
        (23, 4, b'i', b'b', 43, 0),
        (25, -1, b'i', b'b', 47, 0),
        (603, 32, b'd', b'b', 0, 0),
        (1007, -1, b'i', b'b', 751, 0),
        (3904, -1, b'i', b'r', 3835, 0),
        (4600, -1, b'i', b'b', 0, 0),
        (4601, -1, b'i', b'b', 0, 0),
        // A domain of itself.
        (9000, 4, b'i', b'd', 0, 9000),
    ] {
        let typname = oid.to_string();
        types.add_type(PgType {
            oid,
            typname,
            typlen,
            typtype,
            typdelim: b',',
            typoutput,
            typalign,
            typbasetype,
        });
    }
    let column = |(number, (atttypid, support)): (usize, (u32, u32))| {
        let (attlen, attalign) = types.layout(atttypid).unwrap();
        let attribute = PgAttribute {
            attrelid: 1,
            atttypid,
            attlen,
            attnum: number as i16 + 1,
            attbyval: false,
            attstorage: b'x',
            attalign,
            attisdropped: false,
            attcollation: 0,
        };
        IndexColumn { name: Some(number.to_string()), attribute, support }
    };
    let kinds = [(23, 3383), (25, 4616), (603, 4105), (1007, 4591), (3904, 4105), (9000, 3383)];
    let columns = kinds.into_iter().enumerate().map(column).collect();
    IndexColumns { name: "any".to_owned(), columns, key_columns: 4, types }
}

#[test]
fn changed_pages_never_cost_more_than_their_bytes() {
    let mut samples: BTreeMap<(String, u32), Vec<u8>> = BTreeMap::new();
    for number in [10, 13, 14, 17, 19] {
        let scratch = cluster(number);
        every_page(&scratch.path().join("cluster"), |_, fork, block, page| {
            let major = Major::from_number(number).unwrap();
            let map = explain_page(page, block, Some(fork), Abi::LITTLE_64, major);
            samples.entry((kind(&map.title), number)).or_insert_with(|| page.to_vec());
        });
    }
    let mut random = Random(0x5EED);
    let wide = Arc::new(any_index());
    // Fewer columns fit more often.
    let mut narrow = any_index();
    narrow.columns.truncate(1);
    let narrow = Arc::new(narrow);
    for ((kind, number), sound) in &samples {
        for round in 0..1000 {
            let mut page = sound.clone();
            mutate(&mut page, &mut random);
            let (major, abi) = match round % 8 {
                0 => (Major::V10, Abi::LITTLE_64),
                1 => (Major::V19, Abi::BIG_64),
                2 => (Major::V19, Abi::I386),
                _ => (Major::from_number(*number).unwrap(), Abi::LITTLE_64),
            };
            // A page cut off is one that the file ends in.
            let length = if round % 16 == 3 { random.below(page.len()) } else { page.len() };
            let page = &page[..length];
            let map = explain_page(page, 7, None, abi, major);
            let pieces = map.parts.iter().map(|part| part.pieces.len()).sum::<usize>();
            assert!(pieces <= 2 * page.len() + 16, "{kind} of {number}, round {round}: {pieces} pieces");
            assert!(map.problems.len() <= page.len() + 16, "{kind} of {number}, round {round}");
            let mut covered = vec![false; page.len()];
            for (_, piece) in map.by_place() {
                covered[piece.bytes.clone()].fill(true);
            }
            assert!(covered.iter().all(|byte| *byte), "{kind} of {number}, round {round}");
            if round % 4 == 0 {
                let relation = |_| Ok(page.to_vec());
                let index = || Ok(Arc::clone(if round % 8 == 0 { &narrow } else { &wide }));
                let block = round / 4 % 20;
                let input = PageInput { page, block, abi, major, relation: &relation, index: &index };
                for function in FUNCTIONS {
                    let rows = (function.rows)(&input).unwrap_or_default();
                    assert!(rows.len() <= page.len(), "{} of {kind}, round {round}", function.name);
                    let columns = (function.columns)(major).len();
                    assert!(rows.iter().all(|row| row.len() == columns), "{} of {kind}", function.name);
                }
            }
        }
    }
    println!("{} kinds of pages", samples.len());
}
