//! The pages of a backup's files, tested while they are read; those of incremental files too.
//!
//! Which files have pages is told by their names, as a base backup of 17 and later tells it; up to 16 it takes more
//! files for such, but there are no others in these directories.

use crate::format::incremental::{FIXED_SIZE, INCREMENTAL_PREFIX, IncrementalHead};
use crate::pg::relation::RelPath;
use crate::pg::{BlockNumber, Lsn};
use crate::scan::backup_files::FileFault;
use crate::scan::cluster::Geometry;
use crate::scan::pages::{PageFault, PageTester};

/// Bad pages of one file that are told apart; there are no more in a segment file.
const KEPT_BAD: usize = 131_072;

/// Pages of a file that fail their tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadPages {
    /// The first ones.
    pub pages: Vec<BadPage>,
    /// All of them.
    pub count: u64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPage {
    /// In the segment file of the relation.
    pub index: BlockNumber,
    /// In the file of the backup.
    pub offset: u64,
    /// What is wrong.
    pub fault: PageFault,
    /// Its `pd_lsn`.
    pub lsn: Lsn,
}

/// The relation of a file, incremental or not.
pub fn relation_of(path: &[u8]) -> Option<RelPath> {
    let text = std::str::from_utf8(path).ok()?;
    let (directory, name) = text.rsplit_once('/')?;
    let name = name.strip_prefix(INCREMENTAL_PREFIX).unwrap_or(name);
    RelPath::parse(&format!("{directory}/{name}")).filter(|relation| relation.prefix.is_empty())
}

/// Is it an incremental file?
pub fn is_incremental(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.starts_with(INCREMENTAL_PREFIX.as_bytes()) && relation_of(path).is_some()
}

/// Tests the pages of one file while it is read.
pub(super) struct PageReader {
    tester: PageTester,
    geometry: Geometry,
    segment: u32,
    /// Of an incremental file: its first bytes until the block numbers are known.
    head: Option<Vec<u8>>,
    incremental: Option<(IncrementalHead, Vec<BlockNumber>)>,
    fault: Option<IncrementalHead>,
    bad: BadPages,
    /// Pages tested.
    pub(super) tested: u64,
}

impl PageReader {
    /// `None`: a file without pages.
    pub(super) fn of(path: &[u8], tester: PageTester, geometry: Geometry) -> Option<PageReader> {
        let relation = relation_of(path).filter(|relation| !relation.name.temporary)?;
        Some(PageReader {
            tester,
            geometry,
            segment: relation.name.segment,
            head: is_incremental(path).then(Vec::new),
            incremental: None,
            fault: None,
            bad: BadPages::default(),
            tested: 0,
        })
    }

    /// The bytes from `offset` of the file on; all but the last of whole pages.
    pub(super) fn take(&mut self, bytes: &[u8], offset: u64) {
        if self.fault.is_some() {
            return;
        }
        self.take_head(bytes);
        let size = self.geometry.page_size;
        let first = self.segment.wrapping_mul(self.geometry.relseg_size);
        for (page, at) in bytes.chunks_exact(size).zip((offset..).step_by(size)) {
            let index = match (&self.head, &self.incremental) {
                (None, None) => (at / size as u64) as BlockNumber,
                (Some(_), Some((head, numbers))) => {
                    let Some(behind) = at.checked_sub(head.header_length(size as u64)) else { continue };
                    let Some(number) = numbers.get((behind / size as u64) as usize) else { continue };
                    *number
                }
                _ => continue,
            };
            self.tested += 1;
            if let Err((fault, lsn)) = self.tester.test(page, first.wrapping_add(index)) {
                self.bad.count += 1;
                if self.bad.pages.len() < KEPT_BAD {
                    self.bad.pages.push(BadPage { index, offset: at, fault, lsn });
                }
            }
        }
    }

    fn take_head(&mut self, bytes: &[u8]) {
        let Some(head) = self.head.as_mut().filter(|_| self.incremental.is_none()) else { return };
        head.extend_from_slice(bytes);
        let Ok(numbers) = IncrementalHead::read(head, self.tester.abi()) else { return };
        if numbers.fault("", self.geometry.relseg_size).is_some() {
            self.fault = Some(numbers);
            return;
        }
        let Some(list) = head.get(FIXED_SIZE..numbers.numbers_end() as usize) else { return };
        let big_endian = self.tester.abi().big_endian;
        let number = |bytes: &[u8; 4]| {
            if big_endian { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) }
        };
        let list = list.as_chunks::<4>().0.iter().map(number).collect();
        self.incremental = Some((numbers, list));
        self.head = Some(Vec::new());
    }

    /// What is wrong with the file of this length.
    pub(super) fn finish(self, path: &[u8], length: u64) -> Vec<FileFault> {
        let mut faults = Vec::new();
        let text = String::from_utf8_lossy(path);
        if let Some(head) = self.fault {
            faults.extend(head.fault(&text, self.geometry.relseg_size).map(FileFault::Incremental));
        } else if self.head.is_some() {
            match self.incremental {
                Some((head, _)) => {
                    let expected = head.file_size(self.geometry.page_size as u64);
                    if expected != length {
                        faults.push(FileFault::IncrementalSize { found: length, expected });
                    }
                }
                None => {
                    let what =
                        format!("could not read file \"{text}\": read only {length} bytes of its head");
                    faults.push(FileFault::Incremental(what));
                }
            }
        }
        if self.bad.count > 0 {
            faults.push(FileFault::Pages(self.bad));
        }
        faults
    }
}
