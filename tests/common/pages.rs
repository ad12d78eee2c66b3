//! The pages of a data directory, and whether an explanation of one leaves nothing out.

use std::fs;
use std::path::Path;

use pgforensic::format::page::map::PageMap;
use pgforensic::pg::relation::{ForkNumber, RelFileName};

/// `BLCKSZ` of all servers that tests use.
pub const PAGE: usize = 8192;
/// `RELSEG_SIZE`.
const SEGMENT: u32 = 131_072;

/// Calls back with path, fork, block number and bytes of every page of every relation.
pub fn every_page(pgdata: &Path, mut each: impl FnMut(&Path, ForkNumber, u32, &[u8])) {
    for directory in ["base", "global"] {
        for entry in walkdir::WalkDir::new(pgdata.join(directory)).sort_by_file_name() {
            let path = entry.unwrap().into_path();
            let name = path.file_name().and_then(|name| RelFileName::parse(name.to_str()?));
            let Some(name) = name.filter(|_| path.is_file()) else { continue };
            for (index, page) in fs::read(&path).unwrap().chunks_exact(PAGE).enumerate() {
                each(&path, name.fork, name.segment * SEGMENT + index as u32, page);
            }
        }
    }
}

/// The title without what differs between pages of one kind.
pub fn kind(title: &str) -> String {
    let end = title.find(|c: char| c.is_ascii_digit() || matches!(c, ':' | ',')).unwrap_or(title.len());
    title[..end].trim().to_owned()
}

/// Do the pieces stand side by side from the first byte to the last?
pub fn tiles(map: &PageMap, length: usize) -> Result<(), String> {
    let mut at = 0;
    for (part, piece) in map.by_place() {
        if piece.bytes.start != at || piece.bytes.is_empty() {
            return Err(format!("{part}: {} at {:?}, after byte {at}", piece.name, piece.bytes));
        }
        at = piece.bytes.end;
    }
    if at == length { Ok(()) } else { Err(format!("ends at {at}")) }
}
