//! Records against pg_waldump: `testdata/wal/pgNN.tsv` holds one real record of each kind and major, its bytes and
//! the line that the major's own pg_waldump printed for it (TZ=UTC). `pgNN.more.tsv` adds records with parts that few
//! have, and some with changed bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{MAJORS, testdata_text};
use jiff::tz::TimeZone;
use pgforensic::format::reader::{Abi, Data};
use pgforensic::format::twophase::{Lock, TwoPhaseState};
use pgforensic::format::wal::record::{Parts, Record, RecordHeader};
use pgforensic::format::wal::rmgr::{Desc, RMGRS, TransactionEnd, rmgr};
use pgforensic::format::wal::waldump::push_line;
use pgforensic::pg::{Lsn, Major};

/// One line of a vector file: the bytes, and what pg_waldump printed.
fn vectors(major: u32) -> Vec<(String, Lsn, Vec<u8>, String)> {
    let mut text = testdata_text(format!("wal/pg{major}.tsv"));
    // There is no pg_waldump of these to ask.
    if ![10, 12].contains(&major) {
        text += &testdata_text(format!("wal/pg{major}.more.tsv"));
    }
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

/// The named values are one JSON object, wherever the main data and the blocks' data end.
#[test]
fn named_values_are_json() {
    for number in MAJORS {
        let major = Major::from_number(number).unwrap();
        for (kind, lsn, bytes, _) in vectors(number) {
            let data = Data::little(&bytes);
            let header = RecordHeader::read(data).unwrap();
            let manager = rmgr(header.rmid).unwrap();
            let mut whole = Parts::default();
            whole.decode(data, major).unwrap();
            for cut in (0..40).chain((40..4000).step_by(97)) {
                let mut parts = whole.clone();
                parts.main.end = parts.main.end.saturating_sub(cut).max(parts.main.start);
                for block in &mut parts.blocks {
                    block.data.end = block.data.end.saturating_sub(cut).max(block.data.start);
                }
                let record = Record { lsn, header, parts: &parts, data, major };
                let mut out = vec![b'{'];
                let _ = (manager.describe)(&record, &mut Desc::json(&mut out, major, &TimeZone::UTC));
                out.push(b'}');
                let text = String::from_utf8_lossy(&out);
                let value: Result<serde_json::Value, _> = serde_json::from_str(&text);
                assert!(value.is_ok(), "{number} {kind} cut {cut}: {text}");
                // Nor must the text fail.
                push_line(&mut out, &record, &TimeZone::UTC, true);
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

/// The state in a PREPARE record, and the end of the same kind of transaction.
#[test]
fn prepared_transactions_of_every_major() {
    for number in MAJORS {
        let major = Major::from_number(number).unwrap();
        for (kind, lsn, bytes, _) in vectors(number) {
            let data = Data::little(&bytes);
            let header = RecordHeader::read(data).unwrap();
            let mut parts = Parts::default();
            parts.decode(data, major).unwrap();
            let record = Record { lsn, header, parts: &parts, data, major };
            if kind == "Transaction PREPARE" {
                let main = record.main().bytes;
                let state = TwoPhaseState::read(main, Abi::LITTLE_64, major).unwrap();
                assert_eq!(state.magic, if number == 10 { 0x57F9_4533 } else { 0x57F9_4534 });
                // The record lacks the CRC.
                assert_eq!(state.total_length as usize, main.len() + 4);
                let locks: Vec<_> = state.resources().filter_map(|resource| resource.lock(major)).collect();
                let own =
                    Lock { kind: "transactionid", fields: [header.xid, 0, 0, 0], mode: "ExclusiveLock" };
                assert!(locks.contains(&own), "{number} {locks:?}");
                assert!(state.resources().all(|resource| resource.manager() != "unknown"), "{number}");
            }
            let end = TransactionEnd::read(&record);
            assert_eq!(end.is_some(), kind.contains("COMMIT") || kind.contains("ABORT"), "{number} {kind}");
            if let Some(end) = end {
                assert_eq!(end.committed, kind.contains("COMMIT"));
                assert!(end.whole && end.xid() != 0, "{number} {kind}");
                assert_eq!(end.gid.is_some(), kind.ends_with("_PREPARED") && number > 10, "{number} {kind}");
            }
        }
    }
}
