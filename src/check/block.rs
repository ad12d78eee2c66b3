//! One block: what is lost with it, and the best source to get it from.
//!
//! ```text
//! sources, best first      crash recovery writes it anyway
//!                          an image in the WAL, or a copy, that no later record changes
//!                          a backup and the WAL behind it
//!                          nothing
//! ```

use super::page_checksum::Role;
use crate::finding::{Finding, Findings, Place, Severity, blk};
use crate::format::control::{ControlFile, DbState};
use crate::format::page::header::SIZE_OF_PAGE_HEADER_DATA;
use crate::pg::{Lsn, Major, SystemId};
use crate::scan::block_copy::{BlockCopy, Differences, PageState};
use crate::scan::block_rows::PageRows;
use crate::scan::block_wal::{BlockWal, Effect};

/// A line pointer and the header of a tuple, aligned: `MaxHeapTuplesPerPage` divides by it.
const LEAST_TUPLE: usize = 28;

/// The WAL that was read, and what it says of the block.
pub struct WalOfBlock {
    /// What was found.
    pub found: BlockWal,
    /// Whose records.
    pub major: Major,
    /// Behind its last record.
    pub end: Lsn,
    /// File of the newest base.
    pub base_segment: Option<String>,
    /// It is in the pg_wal of the data directory.
    pub base_is_own: bool,
    /// The newest image beside the page on disk.
    pub differences: Option<Differences>,
}

/// A copy of the block, and what comes after it.
pub struct CopyOfBlock {
    /// The copy.
    pub copy: BlockCopy,
    /// Beside the page on disk.
    pub differences: Option<Differences>,
    /// Which of the WAL's positions is its `pd_lsn`.
    pub position: Option<usize>,
}

/// Everything that is known of one block.
pub struct BlockFacts<'a> {
    /// Where it is.
    pub place: Place,
    /// How people know it: `block 7 of base/5/16384 (table accounts)`.
    pub title: String,
    /// The file ends before it.
    pub is_missing: bool,
    /// The page on disk; `None`: it cannot be read.
    pub state: Option<PageState>,
    /// What is lost with it.
    pub role: Role,
    /// pg_control, if its CRC is right.
    pub control: Option<&'a ControlFile>,
    /// A server runs on the files.
    pub is_live: bool,
    /// The files are a backup's: pg_control can be newer than other files until recovery has run.
    pub is_backup: bool,
    /// A table's rows.
    pub rows: Option<&'a PageRows>,
    /// The WAL; `None`: there is none.
    pub wal: Option<&'a WalOfBlock>,
    /// Copies that were named.
    pub copies: &'a [CopyOfBlock],
}

/// From where to take the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing is wrong with it.
    Disk,
    /// It is built again from the table.
    Rebuild,
    /// The next start replays an image of it.
    Recovery,
    /// An image that is the newest state.
    Image,
    /// A copy that no record of the WAL changes: its index.
    Copy(usize),
    /// A copy, and so many records behind it.
    CopyAndRecords(usize, u64),
    /// A backup from before the base, and so many records behind that.
    BackupAndRecords(u64),
    /// Only a copy, and no WAL that tells what came later: its index.
    OldCopy(usize),
    /// Nothing.
    Nothing,
}

impl BlockFacts<'_> {
    /// Is the page damaged?
    pub fn is_damaged(&self) -> bool {
        self.state.as_ref().is_none_or(|state| !state.is_sound())
    }

    /// Will the next start replay WAL from REDO on?
    fn needs_recovery(&self) -> bool {
        !self.is_live && self.control.is_some_and(|control| control.db_state() != Some(DbState::ShutDown))
    }

    /// What lies before REDO is in the files; what lies behind it, without recovery, is of another time than they are.
    fn is_of_the_files(&self, lsn: Lsn) -> bool {
        self.control.is_none_or(|control| lsn <= control.check_point_copy.redo)
    }

    /// Where the WAL ends that must have been there when pg_control was written.
    fn behind_control(&self) -> Option<Lsn> {
        self.control.map(|control| control.check_point)
    }

    /// Does the WAL reach up to the newest state that is known?
    pub fn wal_is_current(&self, wal: &WalOfBlock) -> bool {
        self.behind_control().is_none_or(|needed| wal.end > needed)
    }

    fn wal_is_whole(&self, wal: &WalOfBlock) -> bool {
        wal.found.losses.is_empty() && wal.found.unreadable.is_empty() && self.wal_is_current(wal)
    }

    /// Is the newest image the block as it should be in these files?
    fn is_image_enough(&self, wal: &WalOfBlock) -> bool {
        let base = wal.found.base.as_ref().filter(|base| base.later.count == 0);
        let base = base.filter(|base| matches!(base.page, Some(Ok(_))));
        self.wal_is_whole(wal) && base.is_some_and(|base| self.is_of_the_files(base.touch.end))
    }

    /// Copies of the same cluster with a sound page that is not empty.
    fn sound_copies(&self) -> impl Iterator<Item = (usize, &CopyOfBlock, &PageState)> {
        let copies = self.copies.iter().enumerate();
        copies.filter_map(|(index, copy)| {
            let (_, state) = copy.copy.page.as_ref().ok()?;
            let sound = state.is_sound() && !state.empty && !self.is_foreign(&copy.copy);
            sound.then_some((index, copy, state))
        })
    }

    fn is_foreign(&self, copy: &BlockCopy) -> bool {
        let own: Option<SystemId> = self.control.map(|control| control.system_identifier);
        own.zip(copy.system_id).is_some_and(|(own, other)| own != other)
    }

    /// The best source.
    pub fn source(&self) -> Source {
        if !self.is_damaged() {
            return Source::Disk;
        }
        if matches!(self.role, Role::Index | Role::Map) {
            return Source::Rebuild;
        }
        let wal = self.wal;
        let base =
            wal.and_then(|wal| wal.found.base.as_ref()).filter(|base| base.touch.effect != Effect::Truncate);
        if let (Some(base), Some(wal)) = (base, wal)
            && self.needs_recovery()
            && wal.base_is_own
            && !self.is_of_the_files(base.touch.lsn)
        {
            return Source::Recovery;
        }
        let whole = wal.filter(|wal| self.wal_is_whole(wal));
        if wal.is_some_and(|wal| self.is_image_enough(wal)) {
            return Source::Image;
        }
        // How many records change each copy, if the WAL reaches back to it.
        let mut copies: Vec<(usize, Lsn, Option<u64>)> = self
            .sound_copies()
            .map(|(index, copy, state)| {
                let behind = wal
                    .filter(|wal| wal.found.first.is_some_and(|first| first <= state.lsn))
                    .zip(copy.position)
                    .and_then(|(wal, position)| wal.found.behind.get(position).map(|behind| behind.count));
                (index, state.lsn, behind)
            })
            .collect();
        copies.sort_by_key(|(index, lsn, _)| (std::cmp::Reverse(*lsn), *index));
        match (copies.first(), base) {
            (Some((index, lsn, Some(0))), _) if whole.is_some() && self.is_of_the_files(*lsn) => {
                Source::Copy(*index)
            }
            (Some((index, _, Some(count))), _) => Source::CopyAndRecords(*index, *count),
            (_, Some(base)) => Source::BackupAndRecords(base.later.count),
            (Some((index, _, None)), None) => Source::OldCopy(*index),
            (None, None) => Source::Nothing,
        }
    }

    /// The source in words.
    pub fn source_text(&self, source: &Source) -> String {
        let copy = |index: &usize| {
            let copy = self.copies.get(*index);
            copy.map(|copy| copy.copy.root.display().to_string()).unwrap_or_default()
        };
        let base = self.wal.and_then(|wal| Some((wal, wal.found.base.as_ref()?)));
        let at = base.map(|(wal, base)| base.touch.lsn.text(wal.major)).unwrap_or_default();
        let what = match base.map(|(_, base)| base.touch.effect) {
            Some(Effect::Init) => "record that makes the page anew",
            _ => "full-page image",
        };
        let records = |count: &u64| format!("{count} record{}", if *count == 1 { "" } else { "s" });
        match source {
            Source::Disk => "the page on disk is sound".to_owned(),
            Source::Rebuild => match self.role {
                Role::Index => "REINDEX builds it again from the table".to_owned(),
                _ => "VACUUM builds the map again".to_owned(),
            },
            Source::Recovery => format!("crash recovery: it replays the {what} at {at}, behind REDO"),
            Source::Image => format!("the full-page image in the WAL at {at}, which no later record changes"),
            Source::Copy(index) => {
                format!("the copy in {}, which no later record in the WAL changes", copy(index))
            }
            Source::CopyAndRecords(index, count) => {
                format!("the copy in {} and the WAL behind it: {} to replay", copy(index), records(count))
            }
            Source::BackupAndRecords(count) => {
                format!(
                    "a backup from before the {what} at {at}, and the WAL: {} change the block after it",
                    records(count)
                )
            }
            Source::OldCopy(index) => {
                format!("the copy in {}; the WAL here does not tell what changed since", copy(index))
            }
            Source::Nothing => "nothing that was named has it".to_owned(),
        }
    }

    /// Rows that a new transaction sees; none: not all of them can be read.
    pub fn visible_rows(&self) -> Option<u64> {
        if self.state.as_ref().is_some_and(|state| state.empty) {
            return Some(0);
        }
        let rows = self.rows.filter(|rows| rows.broken.len() <= rows.strays.len())?;
        let all = rows.rows.iter().chain(&rows.strays);
        all.clone().all(|row| row.visible.is_some()).then(|| rows.visible().count() as u64)
    }

    /// So many rows that a new transaction sees were in it at least, and at most: those that sound line pointers lead to,
    /// and for each broken one a row more; of a page without line pointers as many as fit into one.
    pub fn row_bounds(&self, page_size: usize) -> (u64, u64) {
        let room = page_size.saturating_sub(SIZE_OF_PAGE_HEADER_DATA.into()) / LEAST_TUPLE;
        let Some(rows) = self.rows.filter(|rows| rows.items > 0) else { return (0, room as u64) };
        let least = rows.rows.iter().filter(|row| row.visible == Some(true)).count();
        let most = rows.rows.iter().filter(|row| row.visible != Some(false)).count() + rows.broken.len();
        (least as u64, most.min(room.max(least)) as u64)
    }

    /// What goes with the block, in a few words.
    pub fn loss_text(&self) -> String {
        let s = |count: usize| if count == 1 { "" } else { "s" };
        let empty = self.state.as_ref().is_some_and(|state| state.empty);
        match self.rows {
            _ if empty || matches!(self.role, Role::Index | Role::Map) => "nothing".to_owned(),
            Some(rows) => {
                let seen = rows.visible().count();
                let mut text = match rows.items {
                    0 if self.is_damaged() && seen > 0 => {
                        format!("{seen} row{} found in what is left of it", s(seen))
                    }
                    _ => format!("{seen} readable row{}", s(seen)),
                };
                // An item whose tuple was found all the same is counted among the rows.
                let unknown = rows.broken.len().saturating_sub(rows.strays.len());
                if unknown > 0 {
                    text.push_str(&format!(" and what {unknown} broken line pointer{} led to", s(unknown)));
                }
                text
            }
            None => "what was in it, which cannot be read".to_owned(),
        }
    }

    /// The first line of the report.
    pub fn verdict(&self) -> String {
        let (title, loss) = (&self.title, self.loss_text());
        if self.never_was() {
            return format!("{title}: the file ends before it, and nothing that was read has it");
        }
        match &self.state {
            Some(state) if state.is_sound() => {
                format!("{title}: {}; would be lost with it: {loss}", state.text())
            }
            state => {
                let state = state.as_ref().map_or_else(|| "cannot be read".to_owned(), PageState::text);
                let source = self.source_text(&self.source());
                format!("{title}: {state}; lost with it: {loss}; best source: {source}")
            }
        }
    }

    /// There is no such block, and nothing says that there ever was one.
    fn never_was(&self) -> bool {
        let in_wal = self.wal.is_some_and(|wal| wal.found.touches.count > 0);
        self.is_missing && !in_wal && self.copies.iter().all(|copy| copy.copy.page.is_err())
    }

    /// Judges all of it.
    pub fn check(&self, findings: &mut Findings) {
        let source = self.source();
        if self.never_was() {
            return;
        }
        if self.is_damaged() {
            self.check_loss(&source, findings);
        } else {
            self.check_lost_write(findings);
        }
        self.check_wal(findings);
        for copy in self.copies {
            self.check_copy(copy, findings);
        }
    }

    fn check_loss(&self, source: &Source, findings: &mut Findings) {
        let place = || self.place.clone();
        if matches!(self.role, Role::Index | Role::Map) {
            let text = format!("nothing is lost with {}: {}", self.title, self.source_text(source));
            findings.push(Finding::new(blk::REBUILT, place(), text));
            return;
        }
        let mut finding = Finding::new(
            blk::ROWS_LOST,
            place(),
            format!("{}: lost with it: {}", self.title, self.loss_text()),
        );
        // Given back by recovery, or of a relation that is emptied anyway.
        let severity = if *source == Source::Recovery { Severity::Warning } else { self.role.severity() };
        if let Some(rows) = self.rows {
            let (all, seen) = (rows.rows.len() + rows.strays.len(), rows.visible().count());
            finding = finding
                .measured("row versions that can be read", all)
                .measured("of these, rows that a new transaction sees", seen);
            if !rows.strays.is_empty() {
                finding = finding.measured("found without their line pointer", rows.strays.len());
            }
            for (_, why) in rows.broken.iter().take(10) {
                finding = finding.measured("not readable", why);
            }
        }
        finding = finding.measured("best source", self.source_text(source));
        findings.push(finding.with_severity(severity));
        if *source == Source::Nothing {
            let text = format!("no source for {} was found", self.title);
            findings.push(Finding::new(blk::NO_SOURCE, place(), text).with_severity(self.role.severity()));
        }
    }

    /// A sound page that lacks a change which a checkpoint must have written.
    fn check_lost_write(&self, findings: &mut Findings) {
        let (Some(wal), Some(state), Some(control)) = (self.wal, &self.state, self.control) else { return };
        if state.empty || self.is_backup {
            return;
        }
        let missed = wal.found.behind.first().and_then(|behind| {
            behind.first.iter().find(|touch| self.is_of_the_files(touch.end) && touch.is_sure_change())
        });
        if let Some(touch) = missed {
            let major = wal.major;
            let text = format!(
                "{}: pd_lsn is {}, but the record at {} changed the page before the last checkpoint",
                self.title,
                state.lsn.text(major),
                touch.lsn.text(major)
            );
            findings.push(
                Finding::new(blk::LOST_WRITE, self.place.clone(), text)
                    .differs("pd_lsn", state.lsn.text(major), touch.end.text(major))
                    .measured("record", format!("{} {}", touch.manager, touch.description))
                    .measured("REDO", control.check_point_copy.redo.text(major))
                    .with_severity(self.role.severity()),
            );
        }
    }

    fn check_wal(&self, findings: &mut Findings) {
        let Some(wal) = self.wal else { return };
        let major = wal.major;
        if let Some(state) = &self.state
            && state.header_faults.is_empty()
            && state.lsn > wal.end
        {
            let text = format!(
                "{}: pd_lsn is {}, the WAL ends at {}",
                self.title,
                state.lsn.text(major),
                wal.end.text(major)
            );
            findings.push(Finding::new(blk::NEWER_THAN_WAL, self.place.clone(), text));
        }
        if !self.is_damaged() {
            return;
        }
        let Some(base) = &wal.found.base else { return };
        if base.touch.effect == Effect::Truncate {
            return;
        }
        let alone = self.is_image_enough(wal);
        let code = if alone { blk::IMAGE } else { blk::IMAGE_AND_RECORDS };
        let text = format!(
            "{} at {}; {} later record{} the block",
            base.touch.effect.name(),
            base.touch.lsn.text(major),
            base.later.count,
            if base.later.count == 1 { " changes" } else { "s change" }
        );
        let mut place = Place::wal(base.touch.lsn, base.touch.end);
        if let Some(segment) = &wal.base_segment {
            place = place.in_file(segment);
        }
        let mut finding = Finding::new(code, place, text)
            .measured("record", format!("{} {}", base.touch.manager, base.touch.description));
        if let Some(differences) = &wal.differences {
            finding = finding.measured("differs from the page on disk in", differences.text());
        }
        if let Some(Err(why)) = &base.page {
            finding = finding.measured("cannot be restored", why);
        }
        findings.push(finding);
    }

    fn check_copy(&self, copy: &CopyOfBlock, findings: &mut Findings) {
        let BlockCopy { root, file, system_id, page } = &copy.copy;
        let place = Place { path: Some(file.clone()), ..self.place.clone() };
        let useless = |why: String| {
            Finding::new(blk::COPY_USELESS, place.clone(), format!("{}: {why}", root.display()))
        };
        if self.is_foreign(&copy.copy) {
            let mut finding = useless("the copy is of another cluster".to_owned());
            if let (Some(found), Some(control)) = (system_id, self.control) {
                finding = finding.differs("system identifier", found, control.system_identifier);
            }
            findings.push(finding);
            return;
        }
        let (_, state) = match page {
            Ok(found) => found,
            Err(why) => {
                findings.push(useless(why.clone()));
                return;
            }
        };
        if !state.is_sound() || state.empty {
            findings.push(useless(format!("the block is {}", state.text())));
            return;
        }
        let text = format!("{}: the block is {}", root.display(), state.text());
        let mut finding = Finding::new(blk::COPY_SOUND, place, text).measured("pd_lsn", state.lsn);
        if let Some(own) = self.state.as_ref().filter(|own| own.header_faults.is_empty()) {
            finding = finding.measured("pd_lsn of the page on disk", own.lsn);
        }
        if let Some(differences) = &copy.differences {
            finding = finding.measured("differs from the page on disk in", differences.text());
        }
        if let (Some(wal), Some(position)) = (self.wal, copy.position) {
            let count = wal.found.behind.get(position).map_or(0, |behind| behind.count);
            let reach = match wal.found.first {
                Some(first) if first <= state.lsn => String::new(),
                Some(first) => format!(", but the WAL begins at {} only", first.text(wal.major)),
                None => String::new(),
            };
            finding =
                finding.measured("records in the WAL that change it afterwards", format!("{count}{reach}"));
        }
        findings.push(finding);
    }
}
