//! Which kinds of records were compared with PostgreSQL: `docs/wal-coverage.md` is made from the files that the other
//! tests compare with. `UPDATE_DOCS=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use common::{MAJORS, testdata_text};
use pgforensic::format::wal::rmgr::RMGRS;
use pgforensic::pg::Major;

/// Why a kind was never seen in the WAL of a server, where there is a reason.
const UNSEEN: &[(&str, &str, &str)] = &[
    ("XLOG", "NOOP", "no server of these majors writes it"),
    ("XLOG", "FPI_MULTI", "only late minors of 10 know it; none was met"),
    (
        "XLOG",
        "OVERWRITE_CONTRECORD",
        "11: the pg_waldump to compare with is older than the record; 12: no vector",
    ),
    ("Heap2", "REWRITE", "10, 12: no vector; printed as in 11"),
    ("Gin", "SPLIT", "10, 12: no vector; printed as in 11"),
    ("Gist", "PAGE_SPLIT", "10, 12: no vector; printed as in 11"),
    ("CommitTs", "SETTS", "only an extension can have it written"),
    ("Generic", "Generic", "10: no vector; an extension (bloom) writes it"),
];

type Kinds = BTreeSet<(u32, String, String)>;

/// Without what a kind's name is only varied by: a page that begins with the record.
fn base(kind: &str) -> &str {
    kind.strip_suffix("+INIT").unwrap_or(kind)
}

/// The kinds that a major's own pg_waldump printed for single records whose bytes are here.
fn of_vectors() -> Kinds {
    let mut kinds = Kinds::new();
    for major in MAJORS {
        for line in testdata_text(format!("wal/pg{major}.tsv")).lines() {
            let name = line.split('\t').next().unwrap();
            let (rmgr, kind) = name.split_once(' ').unwrap_or((name, name));
            kinds.insert((major, rmgr.to_owned(), base(kind).to_owned()));
        }
    }
    kinds
}

/// The kinds of whole workloads, which `live_waldump` compares byte by byte: how many pg_waldump printed.
fn of_workloads() -> BTreeMap<(u32, String, String), u64> {
    let mut kinds = BTreeMap::new();
    for line in testdata_text("wal/workload-kinds.tsv").lines() {
        let [major, rmgr, kind, count] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let key = (major.parse().unwrap(), rmgr.to_owned(), base(kind).to_owned());
        *kinds.entry(key).or_default() += count.parse::<u64>().unwrap();
    }
    kinds
}

#[test]
fn the_table_of_kinds_is_what_was_compared() {
    let (vectors, workloads) = (of_vectors(), of_workloads());
    let mut text = String::from(
        "# Kinds of WAL records, and where each was compared with PostgreSQL\n\n\
         Made by `UPDATE_DOCS=1 cargo test --test wal_coverage`.\n\n\
         - **W**: in the workload that `testdata/make/wal_workload.sql` runs on a server of that major; `tests/live_waldump.rs` compares \
         every line of it with that major's pg_waldump.\n\
         - **v**: one real record and its line are in `testdata/wal/pgNN.tsv`, which `tests/wal_records.rs` compares without a server. There is no \
         pg_waldump of 10 and 12 to run beside, so that is all for these.\n\
         - **·**: the major has this kind, but no server gave one yet; the last column says why.\n\
         - empty: the major does not have it.\n\n| resource manager | record |",
    );
    for major in MAJORS {
        write!(text, " {major} |").unwrap();
    }
    text += " why not |\n|---|---|";
    text += &"---|".repeat(MAJORS.len() + 1);
    text.push('\n');
    let mut unexplained = Vec::new();
    let mut named = BTreeSet::new();
    for manager in RMGRS {
        // In the order of the records' numbers, each name once: some moved.
        let mut names: Vec<&str> = Vec::new();
        for info in (0..=0xF0).step_by(16) {
            for major in MAJORS {
                let name = (manager.identify)(info, Major::from_number(major).unwrap());
                names.extend(name.map(base).filter(|name| !names.contains(name)));
            }
        }
        for name in names {
            write!(text, "| {} | {name} |", manager.name).unwrap();
            let mut missing = false;
            for number in MAJORS {
                let major = Major::from_number(number).unwrap();
                let has = (0..=0xF0)
                    .step_by(16)
                    .any(|info| (manager.identify)(info, major).map(base) == Some(name));
                let key = (number, manager.name.to_owned(), name.to_owned());
                let (vector, workload) = (vectors.contains(&key), workloads.contains_key(&key));
                if (vector || workload) && !has {
                    panic!("{key:?} was seen, but is not known");
                }
                named.insert(key);
                missing |= has && !vector && !workload;
                let cell = match (has, workload, vector) {
                    (false, ..) => "",
                    (true, true, true) => "Wv",
                    (true, true, false) => "W",
                    (true, false, true) => "v",
                    (true, false, false) => "·",
                };
                write!(text, " {cell} |").unwrap();
            }
            let why = UNSEEN.iter().find(|(rmgr, kind, _)| (*rmgr, *kind) == (manager.name, name));
            if missing && why.is_none() {
                unexplained.push(format!("{} {name}", manager.name));
            }
            assert!(missing || why.is_none(), "{} {name} was seen", manager.name);
            writeln!(text, " {} |", why.map_or("", |(_, _, why)| why)).unwrap();
        }
    }
    assert!(unexplained.is_empty(), "never seen, and nobody says why: {unexplained:#?}");
    let seen = vectors.iter().chain(workloads.keys());
    let unknown: Vec<_> = seen.filter(|key| !named.contains(*key)).collect();
    assert!(unknown.is_empty(), "seen, but not in the table: {unknown:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/wal-coverage.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(fs::read_to_string(&path).is_ok_and(|now| now == text), "run it with UPDATE_DOCS=1");
}
