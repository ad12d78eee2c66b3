//! Failing reads, for real: a library that is loaded before the C library's own `pread` and fails, cuts or
//! spoils the reads of one file. Skipped with a message where there is no C compiler.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{cluster, json, pgforensic_command, poke};

/// `FAULT_FILE`: end of the path whose reads are changed. `FAULT_MODE`: `eio` fails every read that touches
/// a byte from `FAULT_FROM` to before `FAULT_TO`; `end` reads nothing from `FAULT_FROM` on; `once` inverts
/// the byte at `FAULT_FROM` in the first read that holds it.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static ssize_t fault(const char *name, int fd, char *buf, size_t count, off_t offset) {
    ssize_t (*real)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, name);
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    const char *file = getenv("FAULT_FILE"), *mode = getenv("FAULT_MODE");
    if (n <= 0 || !file || !mode) return real(fd, buf, count, offset);
    path[n] = 0;
    size_t length = strlen(file);
    if ((size_t)n < length || strcmp(path + n - length, file)) return real(fd, buf, count, offset);
    long from = atol(getenv("FAULT_FROM")), to = atol(getenv("FAULT_TO"));
    if (!strcmp(mode, "eio") && offset < to && offset + (off_t)count > from) { errno = EIO; return -1; }
    if (!strcmp(mode, "end")) {
        if (offset >= from) return 0;
        if (offset + (off_t)count > from) count = from - offset;
    }
    n = real(fd, buf, count, offset);
    static int spoilt;
    if (!strcmp(mode, "once") && !spoilt && n > 0 && offset <= from && offset + n > from) {
        buf[from - offset] ^= 0xFF;
        spoilt = 1;
    }
    return n;
}

ssize_t pread(int fd, void *buf, size_t count, off_t offset) { return fault("pread", fd, buf, count, offset); }
ssize_t pread64(int fd, void *buf, size_t count, off_t offset) { return fault("pread64", fd, buf, count, offset); }
"#;

/// Compiles the library; `None` without a compiler.
fn shim(directory: &Path) -> Option<PathBuf> {
    let (source, library) = (directory.join("shim.c"), directory.join("shim.so"));
    fs::write(&source, SHIM).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output();
    match compiled {
        Ok(output) if output.status.success() => Some(library),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            println!("skipped: no C compiler: {error}");
            None
        }
    }
}

fn scan(
    directory: &Path,
    library: &Path,
    mode: &str,
    from: u64,
    to: u64,
) -> (serde_json::Value, Option<i32>) {
    let output = pgforensic_command(directory)
        .args(["scan-pages", "cluster", "--checksums", "--format", "json"])
        .env("LD_PRELOAD", library)
        .env("FAULT_FILE", "base/5/16428")
        .env("FAULT_MODE", mode)
        .env("FAULT_FROM", from.to_string())
        .env("FAULT_TO", to.to_string())
        .output()
        .unwrap();
    (json(&output), output.status.code())
}

// raises PAG-011
#[test]
fn unreadable_blocks_are_named_and_the_scan_goes_on() {
    let directory = cluster(15);
    let Some(library) = shim(directory.path()) else { return };
    // Bytes 100,000 to 120,000 are in blocks 12, 13 and 14; block 3 is bad and must still be found.
    poke(&directory.path().join("cluster/base/5/16428"), 24_600, &[0xFF; 3]);
    let (report, status) = scan(directory.path(), &library, "eio", 100_000, 120_000);
    assert_eq!(status, Some(3), "{report:#}");
    assert_eq!(report["level"], "FAILURE");
    assert_eq!(report["summary"]["blocks_scanned"], 1254 - 3);
    assert_eq!(report["summary"]["bad_checksums"], 1);
    assert_eq!(report["summary"]["unreadable_blocks"], 3);
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|f| f["code"] == "PAG-011").unwrap();
    assert_eq!(
        finding["headline"],
        "could not read block 12 to 14 in file \"cluster/base/5/16428\": Input/output error"
    );
    assert_eq!(finding["at"]["offset"], 12 * 8192);
    assert_eq!(finding["at"]["length"], 3 * 8192);
    assert!(
        finding["evidence"].as_array().unwrap().iter().any(|e| e["name"] == "errno" && e["found"] == "5")
    );
    let unreadable = report["coverage"]["unreadable"].as_array().unwrap();
    assert_eq!(unreadable[0]["why"], "bytes 98304..122880: Input/output error");
    assert_eq!(report["coverage"]["complete"], false);
}

// raises PAG-013
#[test]
fn a_file_that_becomes_shorter_is_named() {
    let directory = cluster(15);
    let Some(library) = shim(directory.path()) else { return };
    let (report, status) = scan(directory.path(), &library, "end", 50 * 8192 + 100, 0);
    assert_eq!(status, Some(0), "{report:#}");
    assert_eq!(report["summary"]["blocks_scanned"], 1254 - 34);
    let finding = &report["findings"][0];
    assert_eq!(finding["code"], "PAG-013");
    assert_eq!(finding["at"]["offset"], 50 * 8192 + 100);
}

/// A server that "runs" on the fixture: a process whose working directory it is.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// raises PAG-014, DIR-001
#[test]
fn a_page_that_is_being_written_is_read_again() {
    let directory = cluster(15);
    let Some(library) = shim(directory.path()) else { return };
    let pgdata = directory.path().join("cluster");
    // Without a server one bad read counts.
    let (report, status) = scan(directory.path(), &library, "once", 30_000, 0);
    assert_eq!((status, &report["summary"]["bad_checksums"]), (Some(1), &1.into()));
    let sleep = Server(Command::new("sleep").arg("600").current_dir(&pgdata).spawn().unwrap());
    let lock = format!("{}\n{}\n1\n5432\n\n\n\nready   \n", sleep.0.id(), pgdata.display());
    fs::write(pgdata.join("postmaster.pid"), lock).unwrap();
    let (report, status) = scan(directory.path(), &library, "once", 30_000, 0);
    assert_eq!(status, Some(0), "{report:#}");
    assert_eq!(report["summary"]["bad_checksums"], 0);
    assert_eq!(report["summary"]["settled"], 1);
    let codes: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["DIR-001", "PAG-014"]);
}
