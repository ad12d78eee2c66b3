//! One page of a real table, known to the last byte: `(i int, t text)` after an UPDATE and a VACUUM.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::{json, pgforensic};

const HEAD: &str =
    "0000000078717c01e88404003000401f0020042000000000e09f3e00b89f420006000100909f4600689f4200409f4400";
/// The newest version of row 3; VACUUM left its first place in the free space as it was.
const TROIS: &str = "d80200000000000000000000000000000600028002291800030000000d54524f4953000000000000";
const ROWS: &str = "d70200000000000000000000000000000500020002091800050000000b63696e7100000000000000\
    d70200000000000000000000000000000400020002091800040000000f7175617472650000000000\
    d70200000000000000000000000000000200020002091800020000000b6465757800000000000000\
    d702000000000000000000000000000001000200020918000100000007756e00";

/// What heap_page_items says of it.
const ITEMS: &str = r"1	8160	1	31	727	0	0	(0,1)	2	2306	24	\N	\N	\\x0100000007756e
2	8120	1	33	727	0	0	(0,2)	2	2306	24	\N	\N	\\x020000000b64657578
3	6	2	0	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N
4	8080	1	35	727	0	0	(0,4)	2	2306	24	\N	\N	\\x040000000f717561747265
5	8040	1	33	727	0	0	(0,5)	2	2306	24	\N	\N	\\x050000000b63696e71
6	8000	1	34	728	0	0	(0,6)	32770	10498	24	\N	\N	\\x030000000d54524f4953
";

#[test]
fn every_byte_of_a_real_page() {
    let [head, tail] = [HEAD.to_owned(), TROIS.repeat(2) + ROWS].map(|text| hex::decode(text).unwrap());
    let mut page = head;
    page.resize(8192 - tail.len(), 0);
    page.extend(tail);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("16399"), page.repeat(2)).unwrap();

    let output = pgforensic(directory.path(), &["items", "16399", "0"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), ITEMS);

    // In its own place it is right, in the next one it is not.
    let report =
        json(&pgforensic(directory.path(), &["scan-pages", "16399", "--checksums", "--format", "json"]));
    assert_eq!(report["summary"]["bad_checksums"], 1);
    let headline = report["findings"][0]["headline"].as_str().unwrap();
    assert!(headline.contains("block 1: calculated checksum 84E9 but block contains 84E8"), "{headline}");

    let report = json(&pgforensic(directory.path(), &["page", "16399", "0", "--format", "json"]));
    let text = report.to_string();
    for part in ["0/17C7178", "PD_ALL_VISIBLE", "HEAP_ONLY_TUPLE", "to item 6"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let fields = report["fields"].as_array().unwrap();
    let free = fields.iter().find(|field| field["name"] == "free space").unwrap();
    assert_eq!((&free["offset"], &free["length"]), (&48.into(), &7952.into()));
    assert!(free["is_gap"] == true && free["value"].as_str().unwrap().ends_with(TROIS), "the remnant");
    let bytes: u64 = fields.iter().map(|field| field["length"].as_u64().unwrap()).sum();
    assert_eq!(bytes, 8192);

    // Nothing inside contradicts itself; the remnant is no finding above a note.
    let report = json(&pgforensic(
        directory.path(),
        &["scan-pages", "16399", "--structure", "--to-block", "0", "--format", "json"],
    ));
    let severe = |finding: &&serde_json::Value| finding["severity"] != "note";
    assert_eq!(report["findings"].as_array().unwrap().iter().find(severe), None);
}

/// A header that people know: eight items of 40 bytes each.
#[test]
fn a_header_in_numbers() {
    let mut page = hex::decode("1a0f000040ac6e5a000000003800c01e0020042047030000").unwrap();
    for item in 1..=8_u32 {
        let offset = 8192 - 40 * item;
        page.extend((offset | 1 << 15 | 36 << 17).to_le_bytes());
    }
    assert_eq!(page.len(), 56);
    page.resize(8192, 0);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("16399"), page).unwrap();
    let output = pgforensic(directory.path(), &["items", "16399", "0", "--function", "page_header"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "F1A/5A6EAC40\t0\t0\t56\t7872\t8192\t8192\t4\t839\n");
    let output = pgforensic(directory.path(), &["items", "16399", "0", "--function", "heap_page_items"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 8);
}
