//! Does every SLRU hold what the server needs of it, and what would the server say where it does not?

use std::ops::Range;
use std::path::Path;

use super::cluster::consequence;
use crate::finding::{Code, Finding, Findings, Place, Severity, slr};
use crate::format::control::{ControlFile, DbState};
use crate::format::slru::{Slru, SlruLayout};
use crate::pg::Major;
use crate::pg::directories::RequiredDirectory;
use crate::scan::pages::BlockRuns;
use crate::scan::slru::{LiveRange, NeededPages, Oddities, SECTOR, SlruFile, SlruScan};
use crate::scan::slru_lookup::{Prepared, Unavailable, server_words};

/// Runs that are named in one line.
const NAMED_RUNS: usize = 8;
/// So many transactions can run at a time, without one of their page having ended.
const FRESH: u64 = 100;

/// In which state the cluster is, as far as it matters here.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlruState {
    /// Stopped cleanly: files and pg_control say the same.
    pub exact: bool,
    /// Recovery will start from a backup's checkpoint, or the files change while they are read: what is missing at the
    /// end will be written.
    pub copied: bool,
    /// pg_resetwal moved the counter of transactions.
    pub reset: bool,
    /// pg_resetwal moved the counter of multixacts.
    pub reset_multi: bool,
}

impl SlruState {
    /// From the control file and what lies around it.
    pub fn new(control: &ControlFile, backup_label: bool, live: bool) -> SlruState {
        SlruState {
            exact: control.db_state() == Some(DbState::ShutDown) && !backup_label && !live,
            copied: backup_label || live,
            reset: control.check_point_copy.oldest_xid_db == 0,
            reset_multi: control.check_point_copy.oldest_multi_db == 0,
        }
    }
}

/// Judges one SLRU. `prepared`: the transactions in `pg_twophase`.
pub fn check_slru(scan: &SlruScan, state: SlruState, prepared: &Prepared, findings: &mut Findings) {
    let judge = Judge { scan, state, prepared, pages: scan.needed_pages() };
    if let Some(error) = &scan.error {
        if error.is_not_found() {
            let at = Place::path(&scan.directory);
            let mut finding = Finding::new(slr::DIRECTORY_MISSING, at, error.to_string());
            if let Some(required) = RequiredDirectory::find(scan.layout.slru.directory()) {
                let (severity, what) = consequence(required.loss(scan.layout.major, !state.exact));
                finding = finding.with_severity(severity).measured("a server of this major", what);
            }
            findings.push(finding);
        } else {
            findings.push(Finding::new(slr::UNREADABLE, Place::path(&scan.directory), error.to_string()));
        }
        return;
    }
    judge.missing(findings);
    for file in &scan.files {
        judge.file(file, findings);
    }
    for path in &scan.foreign {
        let headline =
            format!("\"{}\" is no name of a file of {}", shown(path), scan.layout.slru.directory());
        findings.push(Finding::new(slr::FOREIGN_NAME, Place::path(path), headline));
    }
    judge.multixacts(findings);
}

fn shown(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Numbers of pages or sectors, as ranges.
fn runs_text(runs: &BlockRuns) -> String {
    let text = |run: &Range<u64>| match run.end - run.start {
        1 => run.start.to_string(),
        _ => format!("{}-{}", run.start, run.end - 1),
    };
    let named: Vec<_> = runs.runs.iter().take(NAMED_RUNS).map(text).collect();
    let more = if runs.runs.len() > NAMED_RUNS { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}

struct Judge<'a> {
    scan: &'a SlruScan,
    state: SlruState,
    prepared: &'a Prepared,
    pages: Option<NeededPages>,
}

impl Judge<'_> {
    fn layout(&self) -> &SlruLayout {
        &self.scan.layout
    }

    /// Was the counter moved over numbers that nobody ever had?
    fn is_reset(&self) -> bool {
        match self.layout().slru {
            Slru::Xact => self.state.reset,
            Slru::MultiXactOffset | Slru::MultiXactMember => self.state.reset_multi,
            Slru::Subtrans | Slru::CommitTs => false,
        }
    }

    /// The prepared transactions whose status lies in `lost` and is looked up before recovery begins
    /// (`restoreTwoPhaseData`): no file may be missing then. From 15 on a start after a crash is already in recovery,
    /// where a lost file counts as zeros.
    fn read_before_recovery(&self, lost: &Range<u64>) -> Vec<u32> {
        let layout = self.layout();
        if layout.slru != Slru::Xact || (layout.major >= Major::V15 && !self.state.exact) {
            return Vec::new();
        }
        let is_lost = |xid: &u32| lost.contains(&layout.page_of(u64::from(*xid)));
        let mut xids: Vec<u32> = self.prepared.prepared().filter(is_lost).collect();
        xids.sort_unstable();
        xids
    }

    /// Needed files that are not there, each run of them once.
    fn missing(&self, findings: &mut Findings) {
        let (Some(range), Some(pages)) = (self.scan.needed.range(), self.pages) else { return };
        let per_segment = u64::from(self.layout().pages_per_segment.max(1));
        let mut there: Vec<u64> = self.scan.files.iter().map(|file| file.segment).collect();
        there.sort_unstable();
        for span in pages.spans() {
            let end = (span.end - 1) / per_segment + 1;
            let mut next = span.start / per_segment;
            let inside = there.iter().copied().filter(|segment| (next..end).contains(segment));
            for segment in inside.chain([end]).collect::<Vec<_>>() {
                if segment > next {
                    let lost = (next * per_segment).max(span.start)..(segment * per_segment).min(span.end);
                    self.lost(slr::MISSING, lost, None, range, findings);
                }
                next = segment + 1;
            }
        }
    }

    /// Pages that cannot be read because there are none: `file` ends before them.
    fn lost(
        &self,
        code: &'static Code,
        lost: Range<u64>,
        file: Option<&SlruFile>,
        range: &LiveRange,
        findings: &mut Findings,
    ) {
        let layout = self.layout();
        let Some(pages) = self.pages else { return };
        let at_end = lost.contains(&pages.last());
        // A start looks for the next number, everything else for one of its own.
        let is_read_at_start = at_end && layout.start_reads(range.next);
        let read_first = self.read_before_recovery(&lost);
        let first = layout.first_of_page(lost.start);
        let oldest = if range.contains(first) { first } else { range.oldest };
        let id = match read_first.first() {
            Some(xid) => u64::from(*xid),
            None if is_read_at_start && self.state.exact => range.next,
            None => oldest,
        };
        let (segment, offset) = layout.segment_of(layout.page_of(id));
        let path = layout.path(segment);
        let why = match file {
            Some(_) => Unavailable::Short { path: path.clone(), offset },
            None => Unavailable::Open { path: path.clone(), message: "No such file or directory".to_owned() },
        };
        let (message, detail) = server_words(layout, id, None, &why);
        let at = match file {
            Some(file) => Place { offset: Some(file.length), ..Place::path(&file.path) },
            None => Place::path(self.scan.directory.join(layout.file_name(layout.segment_of(lost.start).0))),
        };
        let severity = match layout.slru {
            Slru::CommitTs => Severity::Warning,
            _ if !read_first.is_empty() || is_read_at_start && self.state.exact => Severity::Fatal,
            _ if self.is_reset() => Severity::Warning,
            _ => code.severity,
        };
        let at_front = lost.contains(&pages.first) && !at_end;
        let is_newest = at_end && !lost.contains(&pages.first);
        let (code, severity) = if !read_first.is_empty() {
            (code, severity)
        } else if self.state.copied && is_newest {
            (slr::RECOVERY_MAKES, slr::RECOVERY_MAKES.severity)
        } else if at_front && file.is_none() && (!self.state.exact || self.is_reset()) {
            (slr::FRONT_MISSING, slr::FRONT_MISSING.severity)
        } else {
            (code, severity)
        };
        let last = layout.first_of_page(lost.end) - 1;
        let last = if range.contains(last) { last } else { range.last() };
        let mut finding = Finding::new(code, at, format!("{message}: {detail}")).with_severity(severity);
        if lost.end - lost.start > u64::from(layout.pages_per_segment) {
            let (first, _) = layout.segment_of(lost.start);
            let (last, _) = layout.segment_of(lost.end - 1);
            let names = format!("{} to {}", layout.path(first), layout.path(last));
            finding = finding.measured("missing files", format!("{}, {names}", last - first + 1));
        }
        if range.is_empty() {
            finding = finding.measured("nothing is recorded yet; the next", range.next);
        } else {
            let entries = format!("{} to {}", oldest, last);
            finding = finding.measured(lost_name(layout.slru), entries);
        }
        if let Some(file) = file {
            let pages = lost.end - file.segment * u64::from(layout.pages_per_segment);
            let needed = pages * u64::from(layout.page_size);
            finding = finding.differs("size in bytes", file.length, format!("at least {needed}"));
        }
        if !read_first.is_empty() {
            let xids: Vec<_> = read_first.iter().take(NAMED_RUNS).map(u32::to_string).collect();
            let more = if read_first.len() > NAMED_RUNS { ", …" } else { "" };
            let names = format!("{}{more}", xids.join(", "));
            finding = finding.measured("read at every start for the prepared transactions", names);
        } else if is_read_at_start && self.state.exact {
            finding = finding.measured("read at every start for the next", range.next);
        } else if at_end && file.is_none() && !self.state.exact && layout.slru != Slru::CommitTs {
            let words = format!("file \"{path}\" doesn't exist, reading as zeroes");
            finding = finding.measured("a start would say, and go on", words);
        }
        findings.push(finding);
    }

    fn file(&self, file: &SlruFile, findings: &mut Findings) {
        let layout = self.layout();
        let page_size = u64::from(layout.page_size);
        if let Some(error) = &file.error {
            findings.push(Finding::new(slr::UNREADABLE, Place::path(&file.path), error.to_string()));
            return;
        }
        let start = file.segment.saturating_mul(layout.pages_per_segment.into());
        let end = start.saturating_add(layout.pages_per_segment.into());
        let spans = self.pages.into_iter().flat_map(|pages| pages.spans());
        let needed: Vec<Range<u64>> = spans
            .map(|span| span.start.max(start)..span.end.min(end))
            .filter(|part| !part.is_empty())
            .collect();
        let have = start.saturating_add(file.length / page_size);
        let mut is_short = false;
        for part in &needed {
            if let (true, Some(range)) = (part.end > have, self.scan.needed.range()) {
                is_short = true;
                self.lost(slr::SHORT, part.start.max(have)..part.end, Some(file), range, findings);
            }
        }
        if needed.is_empty() && self.pages.is_some() && self.state.exact {
            let headline = format!("{} holds nothing that is needed", layout.path(file.segment));
            findings.push(Finding::new(slr::OUTSIDE, Place::path(&file.path), headline));
        }
        if file.length > layout.segment_bytes() {
            let headline = format!("{} is larger than a segment", layout.path(file.segment));
            let finding = Finding::new(slr::TOO_LONG, Place::path(&file.path), headline);
            findings.push(finding.differs("size in bytes", file.length, layout.segment_bytes()));
        } else if !file.length.is_multiple_of(page_size) && !is_short {
            let tail = file.length % page_size;
            let headline = format!("{} ends at byte {tail} of a page", layout.path(file.segment));
            let at = Place::bytes(&file.path, file.length - tail, tail);
            let finding = Finding::new(slr::NOT_WHOLE_PAGES, at, headline);
            findings.push(finding.measured("size in bytes", file.length));
        }
        for run in &file.unreadable {
            let offset = run.blocks.start * page_size;
            let why =
                Unavailable::Read { path: layout.path(file.segment), offset, message: run.message.clone() };
            let id = layout.first_of_page(start.saturating_add(run.blocks.start));
            let (message, detail) = server_words(layout, id, None, &why);
            let length = (run.blocks.end - run.blocks.start) * page_size;
            let at = Place::bytes(&file.path, offset, length);
            findings.push(Finding::new(slr::UNREADABLE, at, format!("{message}: {detail}")));
        }
        self.zeros(file, findings);
        if file.beyond.count > 0 && self.state.exact {
            let next = self.scan.needed.range().map_or(0, |range| range.next);
            let headline = format!("{} transactions from nextXid {next} on have a status", file.beyond.count);
            let finding = Finding::new(slr::BEYOND_NEXT, Place::path(&file.path), headline);
            findings.push(with_oddities(finding, &file.beyond, "transaction"));
        }
    }

    fn zeros(&self, file: &SlruFile, findings: &mut Findings) {
        let layout = self.layout();
        let judged = matches!(layout.slru, Slru::Xact | Slru::MultiXactOffset | Slru::MultiXactMember);
        let (Some(pages), Some(range), true) = (self.pages, self.scan.needed.range(), judged) else { return };
        if let Some(first) = file.zero.runs.first() {
            let first_id = layout.first_of_page(first.start);
            let is_last = file.zero.count == 1 && first.start == pages.last();
            // The last page can be so new that nobody on it has ended yet; a stopped server leaves no multixact
            // unrecorded.
            let used = range.last().wrapping_sub(first_id).saturating_add(1);
            let can_be_new = layout.slru == Slru::Xact || !self.state.exact;
            let is_new = is_last && can_be_new && (used <= FRESH || self.state.copied && pages.count > 1);
            let severity =
                if is_new || self.is_reset() { Severity::Warning } else { slr::ZERO_PAGES.severity };
            let first_id = if range.contains(first_id) { first_id } else { range.oldest };
            let (segment, offset) = layout.segment_of(first.start);
            let count = file.zero.count;
            let what = if count == 1 { "page" } else { "pages" };
            let consequence = match layout.slru {
                Slru::Xact => "every transaction there counts as in progress, which is aborted to the server",
                Slru::MultiXactOffset => "every multixact there has invalid offset",
                _ => "every member there is transaction 0",
            };
            let headline = format!("{count} {what} of zeros in {}: {consequence}", layout.path(segment));
            let length = (first.end - first.start) * u64::from(layout.page_size);
            let finding = Finding::new(slr::ZERO_PAGES, Place::bytes(&file.path, offset, length), headline)
                .with_severity(severity)
                .measured("pages", runs_text(&file.zero))
                .measured(lost_name(layout.slru), format!("from {first_id} on"));
            findings.push(finding);
        }
        if let Some(first) = file.zero_sectors.runs.first() {
            let per_sector = SECTOR as u64 * 4;
            let at = (first.start * SECTOR as u64) % layout.segment_bytes();
            let length = (first.end - first.start) * SECTOR as u64;
            let headline = format!(
                "{} sectors of zeros in {}: transactions {} to {} count as in progress",
                file.zero_sectors.count,
                layout.path(file.segment),
                first.start * per_sector,
                first.end * per_sector - 1
            );
            let finding = Finding::new(slr::ZERO_SECTORS, Place::bytes(&file.path, at, length), headline);
            findings.push(finding.measured("sectors of 512 bytes", runs_text(&file.zero_sectors)));
        }
    }

    fn multixacts(&self, findings: &mut Findings) {
        let scan = self.scan;
        let at = || Place::path(&scan.directory);
        let mut push = |code: &'static Code, odd: &Oddities, what: &'static str, headline: &str| {
            if odd.count > 0 {
                let finding = Finding::new(code, at(), format!("{headline}: {}", odd.count));
                // More than were being made when the server crashed.
                let many = code == slr::NEVER_RECORDED && odd.count > FRESH && !self.is_reset();
                let severity = if many { Severity::Warning } else { code.severity };
                findings.push(with_oddities(finding, odd, what).with_severity(severity));
            }
        };
        push(slr::BAD_OFFSET, &scan.bad_offsets, "multixact", "multixacts with impossible offsets");
        push(slr::NEVER_RECORDED, &scan.no_offset, "multixact", "multixacts with offset 0");
        push(slr::BAD_MEMBER, &scan.bad_members, "member offset", "members with an impossible status");
        push(slr::NEVER_RECORDED, &scan.no_member, "member offset", "members with transaction 0");
    }
}

fn lost_name(slru: Slru) -> &'static str {
    match slru {
        Slru::Xact | Slru::Subtrans | Slru::CommitTs => "transactions",
        Slru::MultiXactOffset => "multixacts",
        Slru::MultiXactMember => "member offsets",
    }
}

fn with_oddities(finding: Finding, odd: &Oddities, what: &'static str) -> Finding {
    const NAMED: usize = 3;
    odd.first
        .iter()
        .take(NAMED)
        .fold(finding, |finding, (id, text)| finding.measured(what, format!("{id}: {text}")))
}
