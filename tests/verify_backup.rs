//! `verify-backup` on the small backups of `testdata/backups` and on archives that nobody's server wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::{Random, json, pgforensic, unpack};

/// The codes that a run raises, each once.
fn codes(directory: &Path, arguments: &[&str]) -> Vec<String> {
    let output = pgforensic(directory, &[&["verify-backup", "--format", "json"], arguments].concat());
    let report = json(&output);
    let kinds = report["counts"].as_array().unwrap().iter();
    kinds.map(|kind| kind["code"].as_str().unwrap().to_owned()).collect()
}

/// A member of a tar archive, with whatever name.
fn member(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(data.len() as u64);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_cksum();
    let mut bytes = [header.as_bytes().as_slice(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Nothing of it is written anywhere, and nothing is read outside.
// raises BAK-013, BAK-021, BAK-022
#[test]
fn hostile_archives() {
    let directory = tempfile::tempdir().unwrap();
    let set = directory.path().join("set");
    fs::create_dir(&set).unwrap();
    let label =
        "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n";
    let base = [
        member("backup_label", b'0', label.as_bytes()),
        member("tablespace_map", b'0', b"16400 /srv/ts\n"),
        member("PG_VERSION", b'0', b"15\n"),
        member("/etc/passwd", b'0', b"x"),
        member("../../outside", b'0', b"x"),
        member("base/1/1", b'2', b""),
        member("base/1/2", b'0', b"x"),
        member("base/1/2", b'0', b"y"),
    ]
    .concat();
    fs::write(set.join("base.tar"), &base).unwrap();
    let found = codes(directory.path(), &["set", "-n"]);
    for code in ["BAK-001", "BAK-007", "BAK-013", "BAK-021", "BAK-022"] {
        assert!(found.iter().any(|found| found == code), "{code}: {found:?}");
    }
    let mut left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.extend(fs::read_dir(&set).unwrap().map(|entry| entry.unwrap().file_name()));
    assert_eq!(left, ["set", "base.tar"]);
    // One small file that unpacks to very many bytes is read to its end and takes no memory.
    let zeros = zstd::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 30), 1).unwrap();
    fs::write(set.join("base.tar"), &zeros).unwrap();
    codes(directory.path(), &["set", "-n"]);
}

#[test]
fn archives_with_changed_bytes_end_somehow() {
    let directory = tempfile::tempdir().unwrap();
    unpack("backups/15.tar.zst", directory.path());
    let base = fs::read(directory.path().join("tar/base.tar")).unwrap();
    let packed = zstd::encode_all(&base[..2_000_000], 1).unwrap();
    let set = directory.path().join("set");
    fs::create_dir(&set).unwrap();
    fs::copy(directory.path().join("tar/backup_manifest"), set.join("backup_manifest")).unwrap();
    let mut random = Random(0x5EED);
    for round in 0..40 {
        let mut bytes = if round % 2 == 0 { base[..300_000].to_vec() } else { packed.clone() };
        for _ in 0..1 + random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        fs::write(set.join("base.tar"), &bytes).unwrap();
        let output = pgforensic(directory.path(), &["verify-backup", "set"]);
        assert!(matches!(output.status.code(), Some(1 | 3)), "{output:?}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn manifests_with_changed_bytes_end_somehow() {
    let directory = tempfile::tempdir().unwrap();
    unpack("backups/15.tar.zst", directory.path());
    let path = directory.path().join("full/backup_manifest");
    let whole = fs::read(&path).unwrap();
    let mut random = Random(7);
    for _ in 0..30 {
        let mut bytes = whole.clone();
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
        fs::write(&path, &bytes).unwrap();
        let found = codes(directory.path(), &["full", "-s", "-n"]);
        assert!(found.iter().any(|code| code == "BAK-002"), "byte {at}: {found:?}");
    }
}
