//! Free space maps and visibility maps: nothing to say of those that servers wrote, and what was changed is named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{MAJORS, cluster, json, pgforensic, poke, testdata_text};
use pgforensic::format::checksum::PageChecksum;

/// Code, severity and headline of the findings about maps.
fn findings(directory: &Path) -> Vec<String> {
    let output =
        pgforensic(directory, &["scan-pages", "cluster", "--structure", "--all", "--format", "json"]);
    let report = json(&output);
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let all = report["findings"].as_array().unwrap().iter();
    all.map(|finding| {
        format!("{} {} {}", text(finding, "code"), text(finding, "severity"), text(finding, "headline"))
    })
    .filter(|line| line.starts_with("FSM"))
    .collect()
}

#[test]
fn sound_maps_of_every_major() {
    for major in MAJORS {
        assert_eq!(findings(cluster(major).path()), [""; 0], "{major}");
    }
}

/// Overwrites bytes of a page and gives it the checksum of its new content.
fn edit(path: &Path, block: u32, edits: &[(usize, &[u8])]) {
    let mut bytes = fs::read(path).unwrap();
    let page = &mut bytes[8192 * block as usize..][..8192];
    for (at, new) in edits {
        page[*at..*at + new.len()].copy_from_slice(new);
    }
    let sum = PageChecksum::new(false).of(page, block).to_le_bytes();
    page[8..10].copy_from_slice(&sum);
    poke(path, u64::from(8192 * block), &bytes[8192 * block as usize..][..8192]);
}

// raises FSM-001, FSM-002, FSM-003
#[test]
fn maps_that_contradict() {
    for major in [11, 18] {
        let scratch = cluster(major);
        let relations = testdata_text(format!("pg{major}/oracle/relations.tsv"));
        let main = relations.lines().find_map(|line| line.strip_prefix("events\t")).unwrap();
        let fork = |suffix: &str| -> PathBuf { scratch.path().join(format!("cluster/{main}{suffix}")) };
        let blocks = fs::metadata(fork("")).unwrap().len() / 8192;
        // Node 7 of the tree, and its parent's maximum with it.
        let sound = fs::read(fork("_fsm")).unwrap();
        let other = if sound[28 + 7] == 255 { 254 } else { 255 };
        edit(&fork("_fsm"), 0, &[(28 + 7, &[other])]);
        let expected = "FSM-001 note \"events\", block 0: 2 nodes of the free space map are not the maximum of their children";
        assert_eq!(findings(scratch.path()), [expected], "{major}");
        // A leaf far behind the end, with all nodes above it.
        fs::write(fork("_fsm"), &sound).unwrap();
        let mut node = 4095 + 4000;
        let mut edits = vec![(28 + node, &[9][..])];
        let page = &sound[2 * 8192..];
        while node > 0 {
            node = (node - 1) / 2;
            if page[28 + node] < 9 {
                edits.push((28 + node, &[9]));
            }
        }
        edit(&fork("_fsm"), 2, &edits);
        let expected = format!(
            "FSM-002 note \"events\", block 2: says that block 4000 has free space, the relation has {blocks} blocks"
        );
        assert_eq!(findings(scratch.path()), [expected], "{major}");
        fs::write(fork("_fsm"), &sound).unwrap();
        // Blocks 8000 to 8003.
        edit(&fork("_vm"), 0, &[(24 + 2000, &[0x55])]);
        let expected = format!(
            "FSM-003 warning \"events\", block 0: says that block 8000 and 3 more are visible to all, the relation has {blocks} blocks"
        );
        assert_eq!(findings(scratch.path()), [expected], "{major}");
    }
}
