//! By which rules pages are written, where pg_control cannot be asked.

use std::collections::BTreeMap;

use crate::format::page::PageHeaderData;
use crate::format::reader::Abi;
use crate::scan::cluster::{ClusterWalk, Geometry};
use crate::source::file::{DataFile, ReadAt};

/// What the pages themselves say of the cluster, where pg_control cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Page size and byte order that most headers show; the default where none is usable.
    pub page_size: usize,
    /// See `page_size`.
    pub abi: Abi,
    /// More pages with a checksum than without.
    pub checksums: bool,
    /// How many page headers say so.
    pub sampled: u64,
}

/// Looks at the first pages of the first files.
pub fn guess(walk: ClusterWalk) -> Guess {
    const ENOUGH: usize = 200;
    let mut votes: BTreeMap<(usize, bool), u64> = BTreeMap::new();
    let (mut with, mut without) = (0u64, 0u64);
    for file in walk.flat_map(|listing| listing.files).filter(|file| file.length > 0).take(ENOUGH) {
        let mut head = [0; 24];
        let Ok(source) = DataFile::open(&file.path) else { continue };
        if !source.read_full_at(&mut head, 0).is_ok_and(|filled| filled == head.len()) {
            continue;
        }
        for abi in [Abi::LITTLE_64, Abi::BIG_64] {
            let Ok(header) = PageHeaderData::read(&head, abi) else { continue };
            let size = usize::from(header.page_size());
            if !header.is_new() && size.is_power_of_two() && size >= 1024 && header.is_sane(size, abi) {
                *votes.entry((size, abi.big_endian)).or_default() += 1;
                if header.pd_checksum == 0 { without += 1 } else { with += 1 }
            }
        }
    }
    let most = votes.into_iter().max_by_key(|(_, count)| *count).map(|(vote, _)| vote);
    let (page_size, big_endian) = most.unwrap_or((Geometry::DEFAULT.page_size, false));
    let abi = if big_endian { Abi::BIG_64 } else { Abi::LITTLE_64 };
    Guess { page_size, abi, checksums: with >= without, sampled: with + without }
}
