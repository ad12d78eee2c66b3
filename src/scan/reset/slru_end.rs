//! How far an SLRU goes on disk, by the names and sizes of its files and what the last ones hold.
//!
//! ```text
//! 0FFE 0FFF 0000 0001            files in the order of their age, where the numbers began again
//! |oldest        newest|         behind the newest one is the largest hole of the circle
//!                  |page|        the last page on disk; entries behind the last one that is set are zeros
//! ```

use std::ops::Range;
use std::path::PathBuf;

use crate::format::slru::{Slru, SlruLayout, XidStatus};
use crate::source::Error;
use crate::source::file::{DataFile, ReadAt};
use crate::source::pgdata::DataDirectory;

/// What is on disk.
#[derive(Debug)]
pub struct SlruEnd {
    /// Which array.
    pub layout: SlruLayout,
    /// Number and size of each file, the oldest first.
    pub files: Vec<(u64, u64)>,
    /// Files that are missing between the oldest and the newest.
    pub holes: u64,
    /// The last entry that is not zero, in the last file that has one.
    pub last_set: Option<u64>,
    /// What it is, in pg_multixact/offsets.
    pub last_offset: Option<u64>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
    directory: PathBuf,
}

impl SlruEnd {
    /// Lists the files of one array and looks into the newest ones.
    pub fn scan(directory: &DataDirectory, layout: SlruLayout) -> SlruEnd {
        let path = directory.join(layout.slru.directory());
        let mut end = SlruEnd {
            layout,
            files: Vec::new(),
            holes: 0,
            last_set: None,
            last_offset: None,
            unreadable: Vec::new(),
            directory: path,
        };
        match std::fs::read_dir(&end.directory) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    let segment = entry.file_name().to_str().and_then(|name| layout.parse_name(name));
                    if let (Some(segment), Ok(metadata)) = (segment, entry.metadata()) {
                        end.files.push((segment, metadata.len()));
                    }
                }
            }
            Err(error) => end.unreadable.push(Error::at(&end.directory, "open directory")(error)),
        }
        end.put_in_order();
        end.find_last();
        end
    }

    /// How many files there are before the first follows again.
    fn circle(&self) -> Option<u64> {
        let per_segment = u64::from(self.layout.pages_per_segment.max(1));
        self.layout.total_pages().map(|pages| pages.div_ceil(per_segment))
    }

    /// The oldest file is the one behind the largest hole.
    fn put_in_order(&mut self) {
        if let Some(circle) = self.circle() {
            self.files.retain(|(segment, _)| *segment < circle);
        }
        self.files.sort_unstable();
        let Some(circle) = self.circle() else {
            self.holes = holes(&self.files);
            return;
        };
        let hole = |index: usize| {
            let at = |index: usize| self.files.get(index).map_or(0, |(segment, _)| *segment);
            let before = at((index + self.files.len() - 1) % self.files.len().max(1));
            (at(index) + circle - before - 1) % circle
        };
        let first = (0..self.files.len()).max_by_key(|index| (hole(*index), usize::MAX - index)).unwrap_or(0);
        self.holes = (0..self.files.len()).filter(|index| *index != first).map(hole).sum();
        self.files.rotate_left(first);
    }

    /// Looks for the last entry that is not zero, from the newest page back.
    fn find_last(&mut self) {
        let page_size = self.layout.page_size as usize;
        for (segment, length) in self.files.clone().into_iter().rev().take(LOOKED_INTO) {
            let path = self.directory.join(self.layout.file_name(segment));
            let file = match DataFile::open(&path) {
                Ok(file) => file,
                Err(error) => return self.unreadable.push(error),
            };
            let mut page = vec![0; page_size];
            for index in (0..length.min(self.layout.segment_bytes()) / page_size as u64).rev() {
                match file.read_full_at(&mut page, index * page_size as u64) {
                    Ok(filled) if filled == page_size => {}
                    Ok(_) => continue,
                    Err(error) => return self.unreadable.push(Error::at(&path, "read file")(error)),
                }
                if super::super::pages::is_zero(&page) {
                    continue;
                }
                let number =
                    segment.saturating_mul(self.layout.pages_per_segment.into()).saturating_add(index);
                let first = self.layout.first_of_page(number);
                let entries = first..first.saturating_add(self.layout.entries_per_page());
                self.last_set = entries.rev().find(|id| is_set(&self.layout, &page, *id));
                if let (Slru::MultiXactOffset, Some(id)) = (self.layout.slru, self.last_set) {
                    self.last_offset = self.layout.member_offset(&page, self.layout.place(id));
                }
                return;
            }
        }
    }

    /// The first entry of the oldest file.
    pub fn first(&self) -> Option<u64> {
        Some(self.first_of_file(self.files.first()?.0))
    }

    /// The first entry of the file behind the newest one.
    pub fn behind(&self) -> Option<u64> {
        let next = self.files.last()?.0.saturating_add(1);
        Some(self.first_of_file(self.circle().map_or(next, |circle| next % circle)))
    }

    fn first_of_file(&self, segment: u64) -> u64 {
        self.layout.first_of_page(segment.saturating_mul(self.layout.pages_per_segment.into()))
    }

    /// Path below PGDATA of the newest file.
    pub fn newest(&self) -> Option<String> {
        Some(self.layout.path(self.files.last()?.0))
    }

    /// Path below PGDATA of the oldest file.
    pub fn oldest(&self) -> Option<String> {
        Some(self.layout.path(self.files.first()?.0))
    }

    /// The parts of a range of pages that are in no file.
    pub fn missing(&self, pages: Range<u64>) -> Vec<Range<u64>> {
        let per_segment = u64::from(self.layout.pages_per_segment.max(1));
        let page_size = u64::from(self.layout.page_size.max(1));
        let mut there: Vec<Range<u64>> = self
            .files
            .iter()
            .map(|(segment, length)| {
                let first = segment.saturating_mul(per_segment);
                first..first.saturating_add((length / page_size).min(per_segment))
            })
            .collect();
        there.sort_unstable_by_key(|range| range.start);
        let mut missing = Vec::new();
        let mut at = pages.start;
        for range in there.into_iter().filter(|range| range.end > pages.start && range.start < pages.end) {
            if range.start > at {
                missing.push(at..range.start);
            }
            at = at.max(range.end);
        }
        if at < pages.end {
            missing.push(at..pages.end);
        }
        missing
    }
}

/// Files that are looked into for the last entry.
const LOOKED_INTO: usize = 4;

fn holes(files: &[(u64, u64)]) -> u64 {
    files.windows(2).map(|pair| pair.last().map_or(0, |b| b.0) - pair.first().map_or(0, |a| a.0 + 1)).sum()
}

fn is_set(layout: &SlruLayout, page: &[u8], id: u64) -> bool {
    let at = layout.place(id);
    match layout.slru {
        Slru::Xact => XidStatus::read(page, at).is_some_and(|status| status != XidStatus::InProgress),
        Slru::MultiXactOffset => layout.member_offset(page, at).is_some_and(|offset| offset != 0),
        Slru::MultiXactMember => layout.member(page, at).is_some_and(|member| member.xid != 0),
        Slru::Subtrans => layout.parent(page, at).is_some_and(|parent| parent != 0),
        Slru::CommitTs => layout.commit_timestamp(page, at).is_some_and(|(time, _)| time != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::Major;

    fn end(slru: Slru, files: &[(u64, u64)]) -> SlruEnd {
        let layout =
            SlruLayout { slru, major: Major::V18, page_size: 8192, pages_per_segment: 32, big_endian: false };
        let mut end = SlruEnd {
            layout,
            files: files.to_vec(),
            holes: 0,
            last_set: None,
            last_offset: None,
            unreadable: Vec::new(),
            directory: PathBuf::new(),
        };
        end.put_in_order();
        end
    }

    #[test]
    fn files_in_the_order_of_their_age() {
        let whole = 32 * 8192;
        let plain = end(Slru::Xact, &[(1, whole), (0, whole), (2, 8192)]);
        assert_eq!((plain.first(), plain.behind(), plain.holes), (Some(0), Some(0x30_0000), 0));
        let again = end(Slru::Xact, &[(0, whole), (1, 8192), (0xFFE, whole), (0xFFF, whole)]);
        assert_eq!(again.files.first(), Some(&(0xFFE, whole)));
        assert_eq!((again.first(), again.behind()), (Some(0xFFE0_0000), Some(0x20_0000)));
        let full = end(Slru::Xact, &[(0xFFF, 8192)]);
        assert_eq!((full.first(), full.behind()), (Some(0xFFF0_0000), Some(0)));
        assert_eq!(end(Slru::Xact, &[(3, whole), (5, whole)]).holes, 1);
        assert_eq!(end(Slru::Xact, &[]).first(), None);
    }

    #[test]
    fn missing_pages() {
        let end = end(Slru::Xact, &[(0, 3 * 8192), (2, 32 * 8192)]);
        let missing =
            |pages| end.missing(pages).into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>();
        assert_eq!(missing(0..3), []);
        assert_eq!(missing(0..5), [(3, 5)]);
        assert_eq!(missing(0..70), [(3, 64)]);
        assert_eq!(missing(90..100), [(96, 100)]);
    }
}
