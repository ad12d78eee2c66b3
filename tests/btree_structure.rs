//! The B-trees of the fixtures of all majors, as the servers left them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::btree::{check_indexes, lines};
use common::{MAJORS, cluster};

#[test]
fn sound_indexes() {
    for major in MAJORS {
        let directory = cluster(major);
        let (found, indexes) = check_indexes(&directory.path().join("cluster"), "", true);
        println!("{major}: {indexes} indexes, {} findings", found.len());
        found.iter().take(3).for_each(|finding| println!("{finding:?}"));
        assert!(indexes > 80, "{major}: {indexes}");
        assert_eq!(lines(&found), [""; 0], "{major}: {:#?}", found.iter().take(3).collect::<Vec<_>>());
    }
}
