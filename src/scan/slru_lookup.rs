//! Single entries of the SLRUs, found as the server finds them: the page of the number, in the file of the page.
//!
//! What cannot be looked up is told in the server's own words, which 19 has the other way round.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::format::control::ControlFile;
use crate::format::reader::Abi;
use crate::format::slru::{EntryPlace, Member, SLRU_PAGES_PER_SEGMENT, Slru, SlruLayout, XidStatus};
use crate::format::twophase::TwoPhaseState;
use crate::pg::Major;
use crate::pg::ids::FIRST_NORMAL_TRANSACTION_ID;
use crate::source::file::{DataFile, ReadAt, read_prefix};
use crate::source::pgdata::DataDirectory;
use crate::source::{Error, system_message};

/// Pages that are kept: 8 MB of the usual ones.
const KEPT_PAGES: usize = 1024;
/// Members of one multixact that are looked up; no server has so many transactions at a time.
pub const MAX_MEMBERS: u64 = 1 << 18;
/// A state file holds the locks and subtransactions of one transaction.
pub const MAX_STATE_FILE: usize = 64 << 20;

/// The layouts of a cluster's arrays.
#[derive(Clone, Copy, Debug)]
pub struct Layouts {
    /// Whose server wrote them.
    pub major: Major,
    /// `BLCKSZ`.
    pub page_size: u32,
    /// Pages in a whole file.
    pub pages_per_segment: u32,
    /// The machine that wrote them.
    pub abi: Abi,
}

impl Layouts {
    /// As pg_control has them, or as a default build does.
    pub fn new(major: Major, abi: Abi, control: Option<&ControlFile>) -> Layouts {
        let page_size = control.map(|control| control.blcksz);
        let legal = |size: &u32| size.is_power_of_two() && (1 << 10..=1 << 15).contains(size);
        let pages = control.and_then(|control| control.slru_pages_per_segment);
        Layouts {
            major,
            page_size: page_size.filter(legal).unwrap_or(8192),
            pages_per_segment: pages
                .filter(|pages| (1..=1 << 17).contains(pages))
                .unwrap_or(SLRU_PAGES_PER_SEGMENT),
            abi,
        }
    }

    /// That of one array.
    pub fn of(&self, slru: Slru) -> SlruLayout {
        let Layouts { major, page_size, pages_per_segment, abi } = *self;
        SlruLayout { slru, major, page_size, pages_per_segment, big_endian: abi.big_endian }
    }
}

/// Why an entry cannot be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Unavailable {
    /// The file cannot be opened; the system's message.
    Open { path: String, message: String },
    /// The file ends before the page does.
    Short { path: String, offset: u64 },
    /// The page cannot be read; the system's message.
    Read { path: String, offset: u64, message: String },
}

impl Unavailable {
    /// Below PGDATA.
    pub fn path(&self) -> &str {
        match self {
            Unavailable::Open { path, .. }
            | Unavailable::Short { path, .. }
            | Unavailable::Read { path, .. } => path,
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::Open { path, message } => write!(f, "could not open file \"{path}\": {message}"),
            Unavailable::Short { path, offset } => {
                write!(f, "could not read from file \"{path}\" at offset {offset}: read too few bytes")
            }
            Unavailable::Read { path, offset, message } => {
                write!(f, "could not read from file \"{path}\" at offset {offset}: {message}")
            }
        }
    }
}

/// The server's message and its DETAIL, when it looks for an entry. `multi`: whose member is looked for, if known.
pub fn server_words(layout: &SlruLayout, id: u64, multi: Option<u32>, why: &Unavailable) -> (String, String) {
    let mut cause = why.to_string();
    if layout.major >= Major::V19 {
        let detail = match layout.slru {
            Slru::Xact => format!("Could not access commit status of transaction {id}."),
            Slru::MultiXactOffset => format!("Could not access offset of multixact {id}."),
            Slru::MultiXactMember => match multi {
                Some(multi) => format!("Could not access member of multixact {multi} at offset {id}."),
                None => format!("Could not access multixact member at offset {id}."),
            },
            Slru::Subtrans => format!("Could not access subtransaction status of transaction {id}."),
            Slru::CommitTs => format!("Could not access commit timestamp of transaction {id}."),
        };
        return (cause, detail);
    }
    // Before 12 a short read was an error of the system, and there was none.
    if layout.major < Major::V12 && matches!(why, Unavailable::Short { .. }) {
        cause = cause.replace("read too few bytes", "Success");
    }
    let detail = cause.replacen('c', "C", 1) + ".";
    let id = multi.map_or(id, u64::from);
    (format!("could not access status of transaction {id}"), detail)
}

/// Looks entries up, from any thread.
#[derive(Debug)]
pub struct SlruLookup {
    directory: DataDirectory,
    layouts: Layouts,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    known: HashMap<(Slru, u64), PageOrNot>,
    files: HashSet<(Slru, u64)>,
    bytes: u64,
}

/// A page, or why there is none.
pub type PageOrNot = Result<Arc<[u8]>, Unavailable>;

impl SlruLookup {
    /// In one data directory.
    pub fn new(directory: &DataDirectory, layouts: Layouts) -> SlruLookup {
        SlruLookup { directory: directory.clone(), layouts, pages: Mutex::default() }
    }

    /// The layout of one array.
    pub fn layout(&self, slru: Slru) -> SlruLayout {
        self.layouts.of(slru)
    }

    /// The file of a page, as the user can open it.
    pub fn path(&self, slru: Slru, page: u64) -> PathBuf {
        let layout = self.layout(slru);
        self.directory.join(&layout.path(layout.segment_of(page).0))
    }

    /// One page.
    pub fn page(&self, slru: Slru, page: u64) -> PageOrNot {
        let lock = || self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().known.get(&(slru, page)) {
            return known.clone();
        }
        let read = self.read_page(slru, page);
        let mut pages = lock();
        if pages.known.len() >= KEPT_PAGES {
            pages.known.clear();
        }
        if let Ok(bytes) = &read {
            pages.files.insert((slru, self.layout(slru).segment_of(page).0));
            pages.bytes += bytes.len() as u64;
        }
        pages.known.insert((slru, page), read.clone());
        read
    }

    /// How many files and bytes were read so far.
    pub fn read(&self) -> (u64, u64) {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        (pages.files.len() as u64, pages.bytes)
    }

    fn read_page(&self, slru: Slru, page: u64) -> PageOrNot {
        let layout = self.layout(slru);
        let (segment, offset) = layout.segment_of(page);
        let path = layout.path(segment);
        let source = match DataFile::open(&self.directory.join(&path)) {
            Ok(source) => source,
            Err(error) => return Err(Unavailable::Open { path, message: system_message(&error.source) }),
        };
        let mut bytes = vec![0; layout.page_size as usize];
        match source.read_full_at(&mut bytes, offset) {
            Ok(filled) if filled == bytes.len() => Ok(bytes.into()),
            Ok(_) => Err(Unavailable::Short { path, offset }),
            Err(error) => Err(Unavailable::Read { path, offset, message: system_message(&error) }),
        }
    }

    fn entry<T>(
        &self,
        slru: Slru,
        id: u64,
        read: impl FnOnce(&SlruLayout, &[u8], EntryPlace) -> Option<T>,
    ) -> Result<T, Unavailable> {
        let layout = self.layout(slru);
        let at = layout.place(id);
        let page = self.page(slru, at.page)?;
        let (segment, offset) = layout.segment_of(at.page);
        // Every entry lies within its page.
        read(&layout, &page, at).ok_or_else(|| Unavailable::Short { path: layout.path(segment), offset })
    }

    /// pg_xact.
    pub fn status(&self, xid: u32) -> Result<XidStatus, Unavailable> {
        self.entry(Slru::Xact, xid.into(), |_, page, at| XidStatus::read(page, at))
    }

    /// pg_multixact/offsets.
    pub fn member_offset(&self, multi: u32) -> Result<u64, Unavailable> {
        self.entry(Slru::MultiXactOffset, multi.into(), SlruLayout::member_offset)
    }

    /// pg_subtrans.
    pub fn parent(&self, xid: u32) -> Result<u32, Unavailable> {
        self.entry(Slru::Subtrans, xid.into(), SlruLayout::parent)
    }

    /// pg_commit_ts.
    pub fn commit_timestamp(&self, xid: u32) -> Result<(i64, u16), Unavailable> {
        self.entry(Slru::CommitTs, xid.into(), SlruLayout::commit_timestamp)
    }

    /// What a multixact stands for. `control`: where the newest one ends.
    pub fn multixact(&self, multi: u32, control: Option<&ControlFile>) -> Result<MultiXact, NoMultiXact> {
        let offset = |multi| self.member_offset(multi).map_err(NoMultiXact::Offset);
        let start = offset(multi)?;
        if start == 0 {
            return Err(NoMultiXact::NeverSet);
        }
        let next = if multi == u32::MAX { 1 } else { multi + 1 };
        let newest = control.map(|control| &control.check_point_copy).filter(|copy| copy.next_multi == next);
        let end = match newest {
            Some(copy) => copy.next_multi_offset,
            None => match offset(next)? {
                0 => return Err(NoMultiXact::NoEnd { start }),
                end => end,
            },
        };
        let wraps_at = self.layout(Slru::MultiXactMember).wraps_at();
        let length = match wraps_at {
            Some(wrap) => (end + wrap - start) % wrap,
            None => end.wrapping_sub(start),
        };
        if length == 0 || length > MAX_MEMBERS {
            return Err(NoMultiXact::Length { start, end });
        }
        let layout = self.layout(Slru::MultiXactMember);
        let mut members = Vec::new();
        let mut last: Option<(u64, Arc<[u8]>)> = None;
        for step in 0..length {
            let at = start.wrapping_add(step);
            let at = wraps_at.map_or(at, |wrap| at % wrap);
            let place = layout.place(at);
            let page = match last.take_if(|(number, _)| *number == place.page) {
                Some((_, page)) => page,
                None => {
                    let page = self.page(Slru::MultiXactMember, place.page);
                    page.map_err(|why| NoMultiXact::Member { at, why })?
                }
            };
            // Offset 0 is left out when the offsets start again.
            members.extend(
                layout.member(&page, place).filter(|member| member.xid != 0).map(|member| (at, member)),
            );
            last = Some((place.page, page));
        }
        Ok(MultiXact { start, members })
    }
}

/// A multixact looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiXact {
    /// Where its members begin.
    pub start: u64,
    /// They, with their offsets.
    pub members: Vec<(u64, Member)>,
}

impl MultiXact {
    /// The transaction that updated or deleted the row, if one did.
    pub fn updater(&self) -> Option<u32> {
        self.members.iter().find(|(_, member)| member.is_update()).map(|(_, member)| member.xid)
    }
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NoMultiXact {
    /// The page of its offset.
    Offset(Unavailable),
    /// A page of its members.
    Member { at: u64, why: Unavailable },
    /// Its offset is 0.
    NeverSet,
    /// The next one's offset is 0.
    NoEnd { start: u64 },
    /// So many members cannot be.
    Length { start: u64, end: u64 },
}

impl fmt::Display for NoMultiXact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoMultiXact::Offset(why) | NoMultiXact::Member { why, .. } => write!(f, "{why}"),
            NoMultiXact::NeverSet => write!(f, "never recorded: its offset is 0"),
            NoMultiXact::NoEnd { start } => {
                write!(f, "begins at member {start}, and the next multixact was never recorded")
            }
            NoMultiXact::Length { start, end } => {
                write!(f, "has members {start} to {end}, which cannot be")
            }
        }
    }
}

/// The transactions that are prepared, and their subtransactions.
#[derive(Debug, Default)]
pub struct Prepared {
    /// By transaction: the one that was prepared with it.
    pub xids: HashMap<u32, u32>,
    /// State files that cannot be read.
    pub unreadable: Vec<Error>,
}

impl Prepared {
    /// The transactions, without their subtransactions.
    pub fn prepared(&self) -> impl Iterator<Item = u32> {
        self.xids.iter().filter(|(xid, top)| xid == top).map(|(xid, _)| *xid)
    }

    /// Reads `pg_twophase`.
    pub fn scan(directory: &DataDirectory, layouts: &Layouts) -> Prepared {
        let mut prepared = Prepared::default();
        let path = directory.join("pg_twophase");
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            // Its absence is no matter of the SLRUs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return prepared,
            Err(error) => {
                prepared.unreadable.push(Error::at(&path, "open directory")(error));
                return prepared;
            }
        };
        let digits = if layouts.major >= Major::V17 { 16 } else { 8 };
        for entry in entries.flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            if name.len() != digits || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                continue;
            }
            match read_prefix(&entry.path(), MAX_STATE_FILE) {
                Ok((bytes, _)) => match TwoPhaseState::read(&bytes, layouts.abi, layouts.major) {
                    Ok(state) => {
                        prepared.xids.insert(state.xid, state.xid);
                        prepared.xids.extend(state.subxacts().map(|sub| (sub, state.xid)));
                    }
                    Err(error) => {
                        let error = io::Error::new(io::ErrorKind::InvalidData, error);
                        prepared.unreadable.push(Error::at(&entry.path(), "read file")(error));
                    }
                },
                Err(error) => prepared.unreadable.push(error),
            }
        }
        prepared
    }
}

/// `TransactionIdIsNormal`: can an ordinary transaction have this id? The others are committed for ever.
pub fn is_normal(xid: u32) -> bool {
    xid >= FIRST_NORMAL_TRANSACTION_ID
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What servers of 10, 18 and 19 wrote into their logs.
    #[test]
    fn words_of_the_server() {
        let words = |major, why: &Unavailable| {
            let layout = Layouts::new(major, Abi::LITTLE_64, None).of(Slru::Xact);
            let (message, detail) = server_words(&layout, 666, None, why);
            format!("{message} | {detail}")
        };
        let path = "pg_xact/0000".to_owned();
        let open = Unavailable::Open { path: path.clone(), message: "No such file or directory".to_owned() };
        let short = Unavailable::Short { path, offset: 0 };
        assert_eq!(
            words(Major::V18, &open),
            "could not access status of transaction 666 | Could not open file \"pg_xact/0000\": No such file or directory."
        );
        assert_eq!(
            words(Major::V18, &short),
            "could not access status of transaction 666 | Could not read from file \"pg_xact/0000\" at offset 0: read too few bytes."
        );
        assert_eq!(
            words(Major::V10, &short),
            "could not access status of transaction 666 | Could not read from file \"pg_xact/0000\" at offset 0: Success."
        );
        assert_eq!(
            words(Major::V19, &short),
            "could not read from file \"pg_xact/0000\" at offset 0: read too few bytes | Could not access commit status of transaction 666."
        );
    }
}
