//! Only reads the files that a page scan reads, as fast as this machine can: the floor under `scan-pages`.
//!
//! The same files in the same 256 kB positioned reads into aligned memory by the same number of threads, and
//! nothing is done with the bytes. Run by `tests/bench/checksums.sh`: `read_floor DIRECTORY THREADS`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

const READ: usize = 256 << 10;
const SLICE: u64 = 32 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo bench` passes options of its own and no directory: nothing to measure then.
    let (Some(root), Some(threads)) = (arguments.get(1), arguments.get(2)) else { return };
    let mut slices: Vec<(PathBuf, u64)> = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let length = if entry.file_type().is_file() { entry.metadata().unwrap().len() } else { 0 };
        slices.extend((0..length).step_by(SLICE as usize).map(|start| (entry.path().to_owned(), start)));
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads.parse().unwrap() {
            scope.spawn(|| {
                let mut memory = vec![0; READ + 4096];
                let start = memory.as_ptr().align_offset(4096);
                let buffer = &mut memory[start..start + READ];
                while let Some((path, start)) = slices.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let file = File::open(path).unwrap();
                    for offset in (*start..start + SLICE).step_by(READ) {
                        if file.read_at(buffer, offset).unwrap() < READ {
                            break;
                        }
                    }
                }
            });
        }
    });
}
