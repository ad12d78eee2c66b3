//! The inside of tables: sound clusters of every major, and the damage that is named by them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/heap_damage.rs"]
mod heap_damage;
#[path = "common/structure.rs"]
mod structure;

use common::{MAJORS, Random, cluster, poke, testdata_text};
use heap_damage::{DAMAGES, INFOMASK, Page, multi, of_major, plain};
use pgforensic::finding::Severity;
use pgforensic::format::control::Layout;
use pgforensic::format::reader::Abi;
use pgforensic::pg::{Lsn, Major};
use structure::{examine, examine_until};

/// Nothing but notes about what servers wrote.
#[test]
fn sound_tables_of_every_major() {
    for major in MAJORS {
        let scratch = cluster(major);
        let findings = examine(&scratch.path().join("cluster"), |_| true);
        let bad: Vec<_> = findings
            .iter()
            .filter(|(_, finding)| finding.severity > Severity::Note)
            .map(|(title, finding)| format!("{title}: {} {}", finding.code.id, finding.headline))
            .collect();
        assert!(bad.is_empty(), "{major}: {bad:#?}");
        let notes: Vec<_> = findings.iter().map(|(_, finding)| &finding.headline).collect();
        println!("{major}: {notes:#?}");
    }
}

// raises HEA-001, HEA-002, HEA-003, HEA-004, HEA-005, HEA-006, HEA-007, HEA-008, HEA-009, HEA-010, HEA-011, HEA-012
// raises HEA-015, HEA-017, HEA-018, HEA-019, HEA-020, HEA-021, HEA-022, HEA-023, HEA-026, HEA-027
// raises TOA-001, TOA-002, TOA-003, TOA-004, TOA-005, TOA-006
#[test]
fn every_damage_is_named() {
    for major in [14, 18] {
        let scratch = cluster(major);
        let pgdata = scratch.path().join("cluster");
        let relations = testdata_text(format!("pg{major}/oracle/relations.tsv"));
        for (number, (table, edit, code, words)) in DAMAGES.iter().enumerate() {
            let path =
                relations.lines().find_map(|line| line.strip_prefix(table)?.strip_prefix('\t')).unwrap();
            let path = pgdata.join(path);
            let sound = std::fs::read(&path).unwrap();
            let mut page = Page(sound[..8192].to_vec());
            let items = plain(&page);
            assert!(items.len() > 2, "{major}: {table} {items:?}");
            edit(&mut page, &items);
            poke(&path, 0, &page.0);
            let found = examine(&pgdata, |title| title == *table || (*table == "toast" && title == "docs"));
            let words = of_major(words, major);
            assert!(
                found
                    .iter()
                    .any(|(_, finding)| finding.code.id == *code && finding.headline.contains(&words)),
                "{major}, damage {number} of {table}, {words}: {:#?}",
                found.iter().map(|(_, f)| format!("{} {}", f.code.id, f.headline)).collect::<Vec<_>>()
            );
            std::fs::write(&path, sound).unwrap();
        }
    }
}

/// What the files beside the table say: pg_xact, pg_multixact, the visibility map, pg_control.
// raises HEA-013, HEA-014, HEA-016, HEA-024, HEA-025
#[test]
fn contradictions_with_other_files() {
    let scratch = cluster(18);
    let pgdata = scratch.path().join("cluster");
    let relations = testdata_text("pg18/oracle/relations.tsv");
    let path = |table: &str| {
        pgdata.join(relations.lines().find_map(|line| line.strip_prefix(table)?.strip_prefix('\t')).unwrap())
    };
    let says = |table: &str, code: &str, words: &str| {
        let found = examine(&pgdata, |title| title == table);
        let found: Vec<_> = found.iter().map(|(_, f)| format!("{} {}", f.code.id, f.headline)).collect();
        assert!(found.iter().any(|f| f.starts_with(code) && f.contains(words)), "{code} {words}: {found:#?}");
    };
    let sound = std::fs::read(path("events")).unwrap();
    let edited = |edit: &dyn Fn(&mut Page, usize)| {
        let mut page = Page(sound[..8192].to_vec());
        let item = plain(&page)[0];
        edit(&mut page, item);
        poke(&path("events"), 0, &page.0);
    };
    // One multixact was given out: its offset was never written, then it has a locker only.
    let layout = Layout { major: Major::V18, abi: Abi::LITTLE_64 };
    let at = |name: &str| layout.fields().iter().find(|field| field.name == name).unwrap().bytes.start as u64;
    let control = pgdata.join("global/pg_control");
    poke(&control, at("nextMulti"), &2_u32.to_le_bytes());
    poke(&control, at("nextMultiOffset"), &2_u32.to_le_bytes());
    edited(&|page, item| {
        multi(page, item);
        page.set(item, 4, &1_u32.to_le_bytes());
    });
    says("events", "HEA-013", "members of multixact 1 cannot be looked up: never recorded: its offset is 0");
    poke(&pgdata.join("pg_multixact/offsets/0000"), 4, &1_u32.to_le_bytes());
    poke(&pgdata.join("pg_multixact/members/0000"), 8, &700_u32.to_le_bytes());
    says("events", "HEA-014", "update xid is invalid");
    // The same member as an updater that is none of ours.
    poke(&pgdata.join("pg_multixact/members/0000"), 1, &[5]);
    poke(&pgdata.join("pg_multixact/members/0000"), 8, &70_000_u32.to_le_bytes());
    says("events", "HEA-010", "update xid 70000 equals or exceeds next valid transaction ID 0:");
    edited(&|page, item| page.clear(item, INFOMASK, 0x0300));
    std::fs::remove_file(pgdata.join("pg_xact/0000")).unwrap();
    says("events", "HEA-016", "could not access status of transaction ");
    // The WAL that made the page is not there.
    let found = examine_until(&pgdata, Some(Lsn(0x10_0000)), |title| title == "docs");
    let words = "is not satisfied --- flushed only to 0/100000";
    assert!(found.iter().any(|(_, f)| f.code.id == "HEA-025" && f.headline.contains(words)), "{found:?}");
    // All visible and frozen.
    poke(
        &path("events").with_file_name(format!("{}_vm", path("events").file_name().unwrap().display())),
        24,
        &[3],
    );
    says("events", "HEA-024", "tuple is not frozen, but visibility map says that the page is: xmin ");
}

/// Any bytes in a page whose header is possible: something is said, or nothing, and the rest is still read.
#[test]
fn random_damage_is_survived() {
    let mut random = Random(0x5EED_0001);
    for major in [10, 13, 19] {
        let scratch = cluster(major);
        let pgdata = scratch.path().join("cluster");
        let relations = testdata_text(format!("pg{major}/oracle/relations.tsv"));
        let path = |table: &str| {
            pgdata.join(
                relations.lines().find_map(|line| line.strip_prefix(table)?.strip_prefix('\t')).unwrap(),
            )
        };
        let files =
            ["events", "docs", "toast"].map(|table| (path(table), std::fs::read(path(table)).unwrap()));
        let mut found = 0;
        for _ in 0..8 {
            for (path, sound) in &files {
                let mut bytes = sound.clone();
                for page in bytes.chunks_exact_mut(8192) {
                    for _ in 0..random.below(12) {
                        // Mostly in line pointers and at the headers of tuples behind the free space.
                        let at = if random.below(2) == 0 {
                            24 + random.below(200)
                        } else {
                            24 + random.below(8168)
                        };
                        page[at] = random.next() as u8;
                    }
                }
                std::fs::write(path, &bytes).unwrap();
            }
            found += examine(&pgdata, |title| title == "events" || title == "docs").len();
        }
        assert!(found > 1000, "{major}: {found}");
    }
}
