//! The structure of hash, GIN, GiST, SP-GiST and BRIN indexes: sound ones, and every kind of damage to them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use common::am::{Case, Index, POSTING_TREE, examine, examine_file, examine_some};
use common::{MAJORS, Random, cluster, poke};
use pgforensic::finding::Finding;
use pgforensic::format::page::PageKind;
use pgforensic::format::reader::Abi;
use pgforensic::pg::{ItemPointer, Major};
use pgforensic::scan::cluster::Geometry;
use pgforensic::scan::fork::Fork;
use pgforensic::scan::heap_items::{HeapItem, HeapItems};

#[test]
fn sound_indexes() {
    for major in MAJORS {
        let scratch = cluster(major);
        let mut kinds: BTreeMap<PageKind, usize> = BTreeMap::new();
        for outcome in examine(&scratch.path().join("cluster")) {
            *kinds.entry(outcome.kind).or_default() += 1;
            assert!(outcome.findings.is_empty(), "{major} {}: {:#?}", outcome.name, outcome.findings);
            assert!(outcome.coverage.complete());
        }
        assert_eq!(kinds.len(), 5, "{major}: {kinds:?}");
    }
}

fn examine_damaged(cases: &[Case], index: &str) {
    let scratch = cluster(18);
    let pgdata = scratch.path().join("cluster");
    let sound = examine(&pgdata).into_iter().find(|outcome| outcome.name == index).unwrap();
    let path = sound.file.path;
    let original = fs::read(&path).unwrap();
    let mut failures = Vec::new();
    for (name, damage, expected) in cases {
        let mut bytes = Index(original.clone());
        damage(&mut bytes);
        fs::write(&path, &bytes.0).unwrap();
        let outcome = examine_some(&pgdata, |file| file == path).remove(0);
        compare(name, &outcome.findings, expected, &mut failures);
    }
    assert!(failures.is_empty(), "{index}: {}", failures.join("\n"));
}

fn compare(name: &str, findings: &[Finding], expected: &[(&str, &str)], failures: &mut Vec<String>) {
    let all: Vec<String> = findings.iter().map(text).collect();
    let shown = &all[..all.len().min(4)];
    for (code, words) in expected {
        let is = |finding: &Finding| finding.code.id == *code && finding.headline.contains(words);
        if !findings.iter().any(is) {
            failures.push(format!("{name}: no {code} {words}: {shown:#?}"));
        }
    }
    let codes: BTreeSet<&str> = findings.iter().map(|finding| finding.code.id).collect();
    let expected: BTreeSet<&str> = expected.iter().map(|(code, _)| *code).collect();
    if codes != expected {
        failures.push(format!("{name}: {codes:?}: {shown:#?}"));
    }
}

fn text(finding: &Finding) -> String {
    format!("{} {} {}", finding.code.id, finding.severity.name(), finding.headline)
}

const NOWHERE: u32 = 99_999;

// raises IDX-001, IDX-002, IDX-003, IDX-004, IDX-005, IDX-006, IDX-007, IDX-008, IDX-010, IDX-011, IDX-012, IDX-013
// raises IDX-014, IDX-016, IDX-021
const HASH: &[Case] = &[
    ("magic", |i| i.put32(0, 24, 7), &[("IDX-003", "is not a hash index: hashm_magic 0x00000007")]),
    ("version", |i| i.put32(0, 28, 3), &[("IDX-003", "has wrong hash version: 3, not 4")]),
    ("fill factor", |i| i.put16(0, 40, 0), &[("IDX-003", "hashm_ffactor 0 is not above 0")]),
    ("size of bitmaps", |i| i.put16(0, 44, 2048), &[("IDX-003", "hashm_bmsize 2048 is not 4096")]),
    ("masks", |i| i.put32(0, 56, 3), &[("IDX-003", "hashm_lowmask 3 is not half of hashm_highmask")]),
    (
        "number of buckets",
        |i| i.put32(0, 48, 1 << 30),
        &[("IDX-003", "hashm_maxbucket 1073741824 is not from")],
    ),
    (
        "bitmap pages",
        |i| i.put32(0, 68, u32::MAX),
        &[("IDX-003", "hashm_nmaps 4294967295 is not from 1 to 1024")],
    ),
    ("spares", |i| i.put32(0, 76, 5), &[("IDX-003", "hashm_spares[1] 0 is below the 5 before it")]),
    ("zeroed metapage", |i| i.zero(0), &[("IDX-001", "block 0: contains unexpected zero page")]),
    ("zeroed bucket", |i| i.zero(6), &[("IDX-001", "block 6: contains unexpected zero page")]),
    (
        "foreign page",
        |i| i.put16(6, 8190, 0xFF81),
        &[("IDX-002", "its special space is that of a gist index")],
    ),
    (
        "header",
        |i| i.put16(6, 12, 3),
        &[("IDX-002", "block 6: contains corrupted page: its header is impossible")],
    ),
    (
        "chain leaves the file",
        |i| i.put32(8, 8180, NOWHERE),
        &[("IDX-004", "block 8: hasho_nextblkno is block 99999, but there are 19 blocks")],
    ),
    (
        "chain comes back",
        |i| i.put32(18, 8180, 8),
        &[("IDX-005", "block 18: hasho_nextblkno is block 8, which is reached twice")],
    ),
    (
        "chain of another bucket",
        |i| i.put32(18, 8184, 3),
        &[("IDX-006", "is of bucket 3, but what leads here expects the overflow page of bucket 7")],
    ),
    ("bucket page is a bitmap", |i| i.put16(5, 8188, 4), &[("IDX-006", "block 5: page has flags 0x0004")]),
    (
        "link back",
        |i| i.put32(18, 8176, 7),
        &[("IDX-007", "block 18: hasho_prevblkno 7 is not block 8, which leads here")],
    ),
    (
        "last split",
        |i| i.put32(8, 8176, 99),
        &[("IDX-007", "hasho_prevblkno 99 of bucket 7 is not from 7 to hashm_maxbucket 15")],
    ),
    (
        "chain is cut",
        |i| i.put32(8, 8180, u32::MAX),
        &[("IDX-008", "block 18: page is marked as used in the bitmap in block 17, but nothing leads to it")],
    ),
    (
        "bitmap says free",
        |i| i.put(17, 24, &[0xFD]),
        &[("IDX-016", "block 18: page is in use, but free in the bitmap in block 17, bit 1")],
    ),
    (
        "bitmap page is none",
        |i| i.put16(17, 8188, 0x80),
        &[("IDX-006", "block 17: page has flags 0x0080, but is a bitmap page")],
    ),
    (
        "unused line pointer",
        |i| i.put(2, 24, &[0; 4]),
        &[("IDX-010", "block 2, offset 1: invalid line pointer storage: lp_flags Unused")],
    ),
    (
        "tuple outside",
        |i| i.put16(2, 24, 0x8010),
        &[("IDX-010", "block 2, offset 1: line pointer points past end of tuple space")],
    ),
    (
        "size of a tuple",
        |i| {
            let at = i.item(2, 1);
            i.put16(2, at + 6, 40)
        },
        &[("IDX-011", "block 2, offset 1: has inconsistent tuple sizes")],
    ),
    (
        "code of another bucket",
        |i| {
            let at = i.item(2, 284);
            i.put32(2, at + 8, 0xFFFF_FFF2)
        },
        &[("IDX-013", "offset 284: hash code 0xFFFFFFF2 belongs to bucket 2, but the page is of bucket 1")],
    ),
    (
        "order of codes",
        |i| {
            let at = i.item(8, 1);
            i.put32(8, at + 8, 0xFFFF_FFF7)
        },
        &[("IDX-012", "block 8, offset 2: wrong tuple order: hash code")],
    ),
    ("flags", |i| i.put16(8, 8188, 0x8002), &[("IDX-014", "block 8: impossible flags 0x8002")]),
    (
        "file is cut",
        |i| i.0.truncate(10 * 8192),
        &[("IDX-004", "block 0: bucket 9 of 15 is in block 10, but there are 10 blocks")],
    ),
    (
        "row behind the table",
        |i| i.tid(2, 3, 0, (5000, 1)),
        &[(
            "IDX-021",
            "block 2, offset 3: heap tid from index tuple (5000,1) points past the end of the table",
        )],
    ),
    (
        "row behind the items",
        |i| i.tid(2, 3, 0, (1, 290)),
        &[("IDX-021", "(1,290) points past end of heap page line pointer array")],
    ),
    (
        "row on a new page",
        |i| i.tid(2, 3, 0, (NEW_PAGE, 1)),
        &[("IDX-021", "points to a page that was never written")],
    ),
];

// raises IDX-001, IDX-003, IDX-004, IDX-005, IDX-006, IDX-007, IDX-008, IDX-009, IDX-012, IDX-015, IDX-019, IDX-021
const GIN: &[Case] = &[
    ("version", |i| i.put32(0, 72, 9), &[("IDX-003", "metapage: ginVersion 9 is not 0, 1 or 2")]),
    ("no metapage", |i| i.put16(0, 8190, 2), &[("IDX-003", "metapage: flags 0x0002 are not GIN_META")]),
    (
        "tail without head",
        |i| i.put32(0, 24, u32::MAX),
        &[
            ("IDX-003", "head 4294967295 and tail 19 of a pending list of 1 pages"),
            ("IDX-008", "block 19"),
            ("IDX-015", "nPendingPages 1, but the pending list has 0"),
        ],
    ),
    (
        "pending tuples",
        |i| i.put32(0, 40, 77),
        &[("IDX-015", "metapage has nPendingHeapTuples 77, but the pending list has 3")],
    ),
    ("tail", |i| i.put32(0, 28, 5), &[("IDX-015", "metapage has tail 5, but the pending list has 19")]),
    ("free space of the tail", |i| i.put32(0, 32, 0), &[("IDX-015", "metapage has tailFreeSize 0")]),
    (
        "pending list in a circle",
        |i| i.put32(19, 8184, 19),
        &[("IDX-005", "block 19: pending list leads to block 19, which is reached twice")],
    ),
    (
        "pending list elsewhere",
        |i| i.put32(0, 24, 3),
        &[
            ("IDX-006", "block 3: page of the pending list has flags 0x0002"),
            ("IDX-005", "downlink leads to block 3"),
        ],
    ),
    ("no root", |i| i.zero(1), &[("IDX-001", "block 1: contains unexpected zero page")]),
    (
        "root in the list",
        |i| i.put16(1, 8190, 0x10),
        &[("IDX-006", "block 1: page of the entry tree has flags 0x0010")],
    ),
    (
        "downlink leaves the file",
        |i| i.tid(1, 2, 0, (NOWHERE, 0)),
        &[
            ("IDX-004", "block 1, offset 2: downlink leads to block 99999"),
            ("IDX-007", "is not"),
            ("IDX-008", "nothing leads to it"),
        ],
    ),
    (
        "two downlinks",
        |i| i.copy_downlink(1, 2, 3),
        &[
            ("IDX-005", "which is reached twice"),
            ("IDX-007", "rightlink"),
            ("IDX-008", "nothing leads to it"),
        ],
    ),
    (
        "right link",
        |i| i.put32(5, 8184, 9),
        &[("IDX-007", "block 5: rightlink 9 is not 6, the next page of its level")],
    ),
    ("last right link", |i| i.put32(2, 8184, 9), &[("IDX-007", "block 2: rightlink 9")]),
    (
        "leaf as internal page",
        |i| i.put16(5, 8190, 0),
        &[("IDX-009", "block 5: internal page at depth 1"), ("IDX-004", "block 5, offset")],
    ),
    (
        "deleted page in the tree",
        |i| i.put16(5, 8190, 4),
        &[("IDX-006", "block 5: page of the entry tree has flags 0x0004")],
    ),
    (
        "forgotten page",
        |i| i.put16(20, 8190, 2),
        &[("IDX-008", "block 20: page is in use, but nothing leads to it")],
    ),
    (
        "dead line pointer",
        |i| {
            let word = i.get16(5, 24);
            i.put16(5, 24, word | 0x8000);
            let high = i.get16(5, 26);
            i.put16(5, 26, high | 1)
        },
        &[("IDX-010", "block 5, offset 1: invalid line pointer storage: lp_flags Dead")],
    ),
    (
        "rows of an entry",
        |i| {
            let at = i.item(5, 1);
            let rows = i.get16(5, at + 4);
            i.put16(5, at + 4, rows + 1)
        },
        &[("IDX-019", "number of items mismatch in GIN entry tuple")],
    ),
    (
        "place of the rows",
        |i| {
            let at = i.item(5, 1);
            i.put16(5, at + 2, 500)
        },
        &[("IDX-019", "it cannot be at byte 500")],
    ),
    (
        "row behind the table",
        |i| {
            let at = i.posting_list(5, 1);
            i.put16(5, at + 2, 60000)
        },
        &[("IDX-021", "(60000,")],
    ),
    (
        "no item number",
        |i| {
            let at = i.posting_list(5, 1);
            i.put16(5, at + 4, 0)
        },
        &[("IDX-012", "posting list contains invalid heap pointer"), ("IDX-021", ",0) points past end")],
    ),
];

impl Index {
    fn copy_downlink(&mut self, block: usize, from: usize, to: usize) {
        let (from, to) = (block * 8192 + self.item(block, from), self.item(block, to));
        let link: [u8; 6] = self.0[from..from + 6].try_into().unwrap();
        self.put(block, to, &link);
    }

    /// Where the rows of a GIN entry are in its block.
    fn posting_list(&self, block: usize, item: usize) -> usize {
        let at = self.item(block, item);
        at + usize::from(self.get16(block, at + 2))
    }
}

// raises IDX-001, IDX-004, IDX-005, IDX-006, IDX-008, IDX-009, IDX-011, IDX-014, IDX-020, IDX-021
const GIST: &[Case] = &[
    ("no root", |i| i.zero(0), &[("IDX-001", "block 0: contains unexpected zero page")]),
    ("flags", |i| i.put16(3, 8188, 0x101), &[("IDX-014", "block 3: impossible flags 0x0101")]),
    (
        "deleted page",
        |i| i.put16(3, 8188, 3),
        &[("IDX-006", "block 3: page is deleted, but a downlink leads to it")],
    ),
    ("right link", |i| i.put32(3, 8184, NOWHERE), &[("IDX-004", "block 3: rightlink is block 99999")]),
    (
        "unfinished split",
        |i| {
            i.put16(3, 8188, 9);
            i.put32(3, 8184, 3)
        },
        &[("IDX-005", "rightlink of an unfinished split is block 3, which is reached twice")],
    ),
    (
        "leaf as internal page",
        |i| i.put16(3, 8188, 0),
        &[
            ("IDX-009", "block 3: internal page at depth 1"),
            ("IDX-004", "block 3, offset"),
            ("IDX-011", "downlink has item number"),
        ],
    ),
    (
        "invalid tuple",
        |i| {
            let at = i.item(0, 4);
            i.put16(0, at + 4, 0xFFFE)
        },
        &[("IDX-020", "block 0, offset 4: contains an inner tuple marked as invalid")],
    ),
    (
        "item number",
        |i| {
            let at = i.item(0, 4);
            i.put16(0, at + 4, 3)
        },
        &[("IDX-011", "block 0, offset 4: downlink has item number 3, not 65535")],
    ),
    (
        "two downlinks",
        |i| i.copy_downlink(0, 2, 3),
        &[("IDX-005", "block 0, offset 3: downlink leads to block"), ("IDX-008", "nothing leads to it")],
    ),
    (
        "downlink leaves the file",
        |i| i.tid(0, 2, 0, (NOWHERE, 0xFFFF)),
        &[
            ("IDX-004", "block 0, offset 2: downlink leads to block 99999"),
            ("IDX-008", "nothing leads to it"),
        ],
    ),
    (
        "row behind the table",
        |i| i.tid(4, 2, 0, (NOWHERE, 1)),
        &[("IDX-021", "block 4, offset 2: heap tid from index tuple (99999,1)")],
    ),
];

// raises IDX-001, IDX-003, IDX-004, IDX-005, IDX-006, IDX-010, IDX-011, IDX-014, IDX-015, IDX-017, IDX-021
const SPGIST: &[Case] = &[
    ("magic", |i| i.put32(0, 24, 1), &[("IDX-003", "is not an SP-GiST index: magicNumber 0x00000001")]),
    (
        "last used page",
        |i| i.put32(0, 28, NOWHERE),
        &[("IDX-003", "metapage: lastUsedPages has block 99999")],
    ),
    ("no root", |i| i.zero(1), &[("IDX-001", "block 1: contains unexpected zero page")]),
    (
        "nulls in the wrong tree",
        |i| {
            let flags = i.get16(7, 8184);
            i.put16(7, 8184, flags | 8)
        },
        &[("IDX-006", "in the other of the trees of nulls and of values")],
    ),
    (
        "flags",
        |i| {
            let flags = i.get16(7, 8184);
            i.put16(7, 8184, flags | 0x100)
        },
        &[("IDX-014", "block 7: impossible flags 0x0104")],
    ),
    ("root of nulls", |i| i.put16(2, 8184, 4), &[("IDX-014", "block 2: impossible flags 0x0004")]),
    ("redirections", |i| i.put16(7, 8186, 40), &[("IDX-015", "block 7: nRedirection is 40, but there are")]),
    (
        "placeholders",
        |i| i.put16(7, 8188, 4000),
        &[("IDX-015", "block 7: nPlaceholder is 4000, but there are")],
    ),
    ("zeroed leafs", |i| i.zero(7), &[("IDX-001", "block 7: contains unexpected zero page")]),
    (
        "line pointer",
        |i| i.put(7, 24, &[0; 4]),
        &[
            ("IDX-010", "block 7, offset 1: invalid line pointer storage"),
            ("IDX-015", "block 7: nPlaceholder"),
        ],
    ),
    (
        "size",
        |i| {
            let at = i.live(5);
            i.put16(5, at.1 + 4, 60)
        },
        &[("IDX-011", "block 5, offset"), ("IDX-017", "block 5")],
    ),
    (
        "nodes",
        |i| {
            let at = i.live(5);
            let word = i.get16(5, at.1);
            i.put16(5, at.1, word + 8)
        },
        &[("IDX-011", "is not within the tuple")],
    ),
    (
        "chain to itself",
        |i| {
            let at = i.live(7);
            i.put16(7, at.1 + 4, at.0)
        },
        &[("IDX-005", "in chains that come back to themselves"), ("IDX-017", "block 7")],
    ),
    (
        "chain to nowhere",
        |i| {
            let at = i.last_of_chain(7);
            i.put16(7, at + 4, 2000)
        },
        &[("IDX-017", "nextOffset 2000, where no tuple is")],
    ),
    (
        "downlink leaves the file",
        |i| {
            let at = i.node(5);
            i.put16(5, at + 2, 60000)
        },
        &[("IDX-004", "downlink leads to block 60000"), ("IDX-017", "1 tuples without a downlink")],
    ),
    (
        "downlink to another item",
        |i| {
            let at = i.node(5);
            let item = i.get16(5, at + 4);
            i.put16(5, at + 4, item + 1)
        },
        &[("IDX-017", "downlinks lead to other items than those that begin here")],
    ),
    (
        "downlink to the root",
        |i| {
            let at = i.node(5);
            i.put16(5, at + 2, 1)
        },
        &[("IDX-006", "downlink leads to block 1, a fixed page"), ("IDX-017", "1 tuples without a downlink")],
    ),
    (
        "row behind the table",
        |i| {
            let at = i.live(7);
            i.put16(7, at.1 + 8, 60000)
        },
        &[("IDX-021", "heap tid from index tuple (60000,")],
    ),
];

impl Index {
    /// Item and place of a live tuple that is not the only of its page.
    fn live(&self, block: usize) -> (u16, usize) {
        let items = (usize::from(self.get16(block, 12)) - 24) / 4;
        let place = |item: usize| self.item(block, item);
        let item = (1..=items).find(|item| self.get16(block, place(*item)) & 3 == 0).unwrap();
        (item as u16, place(item))
    }

    fn last_of_chain(&self, block: usize) -> usize {
        let items = (usize::from(self.get16(block, 12)) - 24) / 4;
        let mut places = (1..=items).map(|item| self.item(block, item));
        places.find(|at| self.get16(block, *at) & 3 == 0 && self.get16(block, at + 4) & 0x3FFF == 0).unwrap()
    }

    /// Place of the first node with a child of the first live inner tuple.
    fn node(&self, block: usize) -> usize {
        let (_, tuple) = self.live(block);
        let mut at = tuple + 8 + usize::from(self.get16(block, tuple + 2));
        while self.get16(block, at) == 0xFFFF {
            at += usize::from(self.get16(block, at + 6) & 0x1FFF);
        }
        at
    }
}

// raises IDX-001, IDX-003, IDX-004, IDX-006, IDX-010, IDX-011, IDX-014, IDX-018
const BRIN: &[Case] = &[
    ("magic", |i| i.put32(0, 24, 1), &[("IDX-003", "metapage: brinMagic 0x00000001 is not 0xA8109CFA")]),
    ("version", |i| i.put32(0, 28, 2), &[("IDX-003", "metapage: brinVersion 2 is not 1")]),
    ("range", |i| i.put32(0, 32, 0), &[("IDX-003", "metapage: pagesPerRange is 0")]),
    ("last map page", |i| i.put32(0, 36, 900), &[("IDX-003", "lastRevmapPage 900, but there are 3 blocks")]),
    ("type", |i| i.put16(0, 8190, 0xF093), &[("IDX-003", "metapage: unexpected page type 0xF093")]),
    ("map is no map", |i| i.put16(1, 8190, 0xF093), &[("IDX-006", "block 1: unexpected page type 0xF093")]),
    ("zeroed map", |i| i.zero(1), &[("IDX-001", "block 1: contains unexpected zero page")]),
    (
        "zeroed summaries",
        |i| i.zero(2),
        &[("IDX-018", "the range from block 0 leads to (2,1), which was never written")],
    ),
    (
        "summaries are a map",
        |i| i.put16(2, 8190, 0xF092),
        &[
            ("IDX-006", "block 2: unexpected page type 0xF092 behind lastRevmapPage 1"),
            ("IDX-018", "which is no page of summaries"),
        ],
    ),
    ("flags", |i| i.put16(2, 8188, 6), &[("IDX-014", "block 2: impossible flags 0x0006")]),
    (
        "map leads to another",
        |i| i.put16(1, 24 + 4, 2),
        &[(
            "IDX-018",
            "block 1: corrupted BRIN index: inconsistent range map: the range from block 0 leads to (2,2), which summarises the range from block 8",
        )],
    ),
    (
        "map leads nowhere",
        |i| i.put16(1, 24 + 4, 200),
        &[("IDX-018", "the range from block 0 leads to (2,200), where no tuple is")],
    ),
    (
        "map leaves the file",
        |i| i.put16(1, 24 + 2, 77),
        &[
            ("IDX-004", "block 1: the range from block 0 leads to (77,1), block 77"),
            ("IDX-018", "block 2, offset 1"),
        ],
    ),
    (
        "map forgets a range",
        |i| i.put(1, 24, &[0; 6]),
        &[(
            "IDX-018",
            "block 2, offset 1: corrupted BRIN index: inconsistent range map: the tuple summarises the range from block 0, which leads to (0,0)",
        )],
    ),
    (
        "summary of another range",
        |i| {
            let at = i.item(2, 1);
            i.put32(2, at, 8)
        },
        &[("IDX-018", "block 2, offset 1")],
    ),
    (
        "summary of no range",
        |i| {
            let at = i.item(2, 1);
            i.put32(2, at, 3)
        },
        &[("IDX-018", "the tuple summarises a range from block 3, of 8 blocks")],
    ),
    (
        "values",
        |i| {
            let at = i.item(2, 1);
            i.put(2, at + 4, &[3])
        },
        &[("IDX-011", "block 2, offset 1: values cannot be at byte 3")],
    ),
    (
        "line pointer",
        |i| i.put16(2, 24, 0x8004),
        &[("IDX-010", "block 2, offset 1: invalid line pointer storage"), ("IDX-018", "block 1")],
    ),
];

/// The last block of `events`: it was added and never filled.
const NEW_PAGE: u32 = 83;

#[test]
fn damage_to_hash_indexes() {
    examine_damaged(HASH, "events_kind_hash");
}

#[test]
fn damage_to_gin_indexes() {
    examine_damaged(GIN, "events_tags_gin");
}

#[test]
fn damage_to_gist_indexes() {
    examine_damaged(GIST, "events_pos_gist");
}

#[test]
fn damage_to_spgist_indexes() {
    examine_damaged(SPGIST, "events_pos_spgist");
}

#[test]
fn damage_to_brin_indexes() {
    examine_damaged(BRIN, "events_at_brin");
}

// raises IDX-004, IDX-005, IDX-006, IDX-007, IDX-008, IDX-009, IDX-012, IDX-013, IDX-015, IDX-019
#[test]
fn damage_to_posting_trees() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("16389");
    let packed = fs::File::open(common::testdata("am/gin_posting_18.zst")).unwrap();
    let original = zstd::decode_all(packed).unwrap();
    let mut failures = Vec::new();
    for (name, damage, expected) in POSTING_TREE {
        let mut bytes = Index(original.clone());
        damage(&mut bytes);
        fs::write(&path, &bytes.0).unwrap();
        compare(name, &examine_file(&path, PageKind::Gin, Major::V18), expected, &mut failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The table that the indexes are of.
const EVENTS: &str = "base/5/16431";

// raises IDX-022, IDX-023
#[test]
fn rows_that_have_no_entries() {
    let scratch = cluster(18);
    let pgdata = scratch.path().join("cluster");
    let heap = Fork::open(&pgdata.join(EVENTS), Geometry::DEFAULT).unwrap();
    let items = HeapItems::read(&heap, 0, Abi::LITTLE_64, &pgforensic::scan::crew::Crew::default());
    let find = |state: HeapItem| {
        let tids = (0..heap.blocks()).flat_map(|block| {
            (1..=items.items(block).unwrap()).map(move |offset| ItemPointer { block, offset })
        });
        tids.into_iter().find(|tid| items.get(*tid) == state).unwrap()
    };
    let sound = examine(&pgdata);
    for (state, code, words) in [
        (HeapItem::Unused, "IDX-022", "points to unused heap page item"),
        (HeapItem::HeapOnly, "IDX-023", "points to heap-only tuple"),
    ] {
        let tid = find(state);
        for (name, block, item) in [("events_kind_hash", 2, 1), ("events_pos_gist", 3, 1)] {
            let path = &sound.iter().find(|outcome| outcome.name == name).unwrap().file.path;
            let original = fs::read(path).unwrap();
            let mut bytes = Index(original.clone());
            bytes.tid(block, item, 0, (tid.block, tid.offset));
            fs::write(path, &bytes.0).unwrap();
            let findings = examine_some(&pgdata, |file| file == path).remove(0).findings;
            let all: Vec<String> = findings.iter().map(text).collect();
            let expected = format!(
                "{code} warning index \"{name}\", block {block}, offset {item}: heap tid from index tuple {tid} {words}"
            );
            assert_eq!(all, [expected]);
            fs::write(path, original).unwrap();
        }
    }
}

// raises IDX-024
#[test]
fn before_recovery_contradictions_prove_nothing() {
    let scratch = cluster(18);
    let pgdata = scratch.path().join("cluster");
    let sound = examine(&pgdata).into_iter().find(|outcome| outcome.name == "events_kind_hash").unwrap();
    // DB_IN_PRODUCTION
    poke(&pgdata.join("global/pg_control"), 16, &[6]);
    let path = sound.file.path;
    let mut bytes = Index(fs::read(&path).unwrap());
    bytes.put32(18, 8176, 7);
    let mut examine_with_lsn = |high: u32| {
        bytes.put32(3, 0, high);
        fs::write(&path, &bytes.0).unwrap();
        let findings = examine_some(&pgdata, |file| file == path).remove(0).findings;
        findings.iter().map(text).collect::<Vec<_>>()
    };
    let old = examine_with_lsn(0);
    assert!(old.len() == 1 && old[0].starts_with("IDX-007 warning"), "{old:?}");
    let new = examine_with_lsn(77);
    assert_eq!(
        new,
        ["IDX-024 note index \"events_kind_hash\": 1 contradictions in pages that recovery may still change"]
    );
}

/// Whatever the bytes are: no panic, no end that never comes.
#[test]
fn random_damage() {
    let scratch = cluster(18);
    let pgdata = scratch.path().join("cluster");
    let mut random = Random(0x1D_0001);
    for sound in examine(&pgdata) {
        let path = sound.file.path;
        let original = fs::read(&path).unwrap();
        let blocks = original.len() / 8192;
        for _ in 0..150 {
            let mut bytes = original.clone();
            for _ in 0..=random.below(6) {
                let page = random.below(blocks) * 8192;
                // Where the numbers are: behind the header, in the special space, or anywhere.
                let at = page
                    + [24 + random.below(120), 8176 + random.below(16), random.below(8192)][random.below(3)];
                match random.below(5) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = random.next() as u8,
                    2 => {
                        let value =
                            [0, 1, u32::MAX, 1 << 31, blocks as u32, 2][random.below(6)].to_le_bytes();
                        let at = at.min(bytes.len() - 4);
                        bytes[at..at + 4].copy_from_slice(&value);
                    }
                    3 => {
                        let from = random.below(blocks) * 8192;
                        bytes.copy_within(from..from + 8192, page);
                    }
                    _ => bytes[page + 24..page + 24 + random.below(8000)].fill(random.next() as u8),
                }
            }
            if random.below(10) == 0 {
                bytes.truncate(random.below(bytes.len()));
            }
            fs::write(&path, &bytes).unwrap();
            examine_some(&pgdata, |file| file == path);
        }
        fs::write(&path, &original).unwrap();
    }
}
