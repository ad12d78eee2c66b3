//! Records against pg_waldump: `testdata/wal/pgNN.tsv` holds one real record of each kind and major, its bytes and
//! the line that the major's own pg_waldump printed for it (TZ=UTC).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{MAJORS, testdata_text};
use jiff::tz::TimeZone;
use pgforensic::format::reader::Data;
use pgforensic::format::wal::record::{Parts, Record, RecordHeader};
use pgforensic::format::wal::rmgr::{Desc, RMGRS, rmgr};
use pgforensic::format::wal::waldump::push_line;
use pgforensic::pg::{Lsn, Major};

/// One line of a vector file: the bytes, and what pg_waldump printed.
fn vectors(major: u32) -> Vec<(String, Lsn, Vec<u8>, String)> {
    let text = testdata_text(format!("wal/pg{major}.tsv"));
    text.lines()
        .map(|line| {
            let [kind, lsn, bytes, printed] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            (kind.to_owned(), lsn.parse().unwrap(), hex::decode(bytes).unwrap(), printed.to_owned())
        })
        .collect()
}

#[test]
fn every_kind_of_record_prints_as_pg_waldump_prints_it() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for number in MAJORS {
        let major = Major::from_number(number).unwrap();
        for (kind, lsn, bytes, printed) in vectors(number) {
            let data = Data::little(&bytes);
            let header = RecordHeader::read(data).unwrap();
            // What has no row yet is not compared.
            if rmgr(header.rmid).is_none() {
                continue;
            }
            let mut parts = Parts::default();
            parts.decode(data, major).unwrap_or_else(|fault| panic!("{number} {kind}: {fault:?}"));
            let mut out = Vec::new();
            let record = Record { lsn, header, parts: &parts, data, major };
            push_line(&mut out, &record, &TimeZone::UTC, false);
            let ours = String::from_utf8(out).unwrap();
            compared += 1;
            if ours.trim_end_matches('\n') != printed {
                wrong.push(format!("{number} {kind}\n  ours   {ours}  theirs {printed}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 100, "{compared}");
}

/// The named values are one JSON object, whatever the bytes are.
#[test]
fn named_values_are_json() {
    for number in MAJORS {
        let major = Major::from_number(number).unwrap();
        for (kind, lsn, bytes, _) in vectors(number) {
            for cut in [0, 1, 3, 8] {
                let bytes = &bytes[..bytes.len() - cut.min(bytes.len() - 24)];
                let data = Data::little(bytes);
                let header = RecordHeader::read(data).unwrap();
                let mut parts = Parts::default();
                let _ = parts.decode(data, major);
                let Some(manager) = rmgr(header.rmid) else { continue };
                let mut out = vec![b'{'];
                let record = Record { lsn, header, parts: &parts, data, major };
                let _ = (manager.describe)(&record, &mut Desc::json(&mut out, major, &TimeZone::UTC));
                out.push(b'}');
                let text = String::from_utf8_lossy(&out);
                let value: Result<serde_json::Value, _> = serde_json::from_str(&text);
                assert!(value.is_ok(), "{number} {kind} cut {cut}: {text}");
            }
        }
    }
}

#[test]
fn rows_stand_at_their_ids() {
    let names = [
        "XLOG",
        "Transaction",
        "Storage",
        "CLOG",
        "Database",
        "Tablespace",
        "MultiXact",
        "RelMap",
        "Standby",
        "Heap2",
        "Heap",
        "Btree",
        "Hash",
        "Gin",
        "Gist",
        "Sequence",
        "SPGist",
        "BRIN",
        "CommitTs",
        "ReplicationOrigin",
        "Generic",
        "LogicalMessage",
    ];
    for (row, name) in RMGRS.iter().zip(names) {
        assert_eq!(row.name, name);
    }
}
