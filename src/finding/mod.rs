//! What is wrong, where, by which measurement: the currency between checks and reports.
//!
//! A [`Code`] is a row of a table and stable for ever; a [`Finding`] is one occurrence of it with its
//! place and evidence. Evidence is measured; what it means stands in the code.

mod codes;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use codes::*;

use crate::pg::{BlockNumber, Lsn};

/// How bad, judged by the consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is lost or at risk by it.
    Note,
    /// Nothing is lost yet, or only what can be rebuilt.
    Warning,
    /// Data, or a way to recover them, are lost or will be.
    Damage,
    /// The server will not start, or the whole input cannot be trusted.
    Fatal,
}

impl Severity {
    /// The word used in every output format.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Damage => "damage",
            Severity::Fatal => "fatal",
        }
    }
}

/// A kind of finding: one row of the table, printed by `pgforensic explain`.
#[derive(Debug)]
pub struct Code {
    /// Stable identifier such as `CTL-003`.
    pub id: &'static str,
    /// The usual severity; a finding may differ where its place makes it better or worse.
    pub severity: Severity,
    /// In the server's own words where it has any.
    pub title: &'static str,
    /// What it is and what follows from it.
    pub meaning: &'static str,
    /// What to do, the safest step first.
    pub advice: &'static str,
}

impl PartialEq for Code {
    fn eq(&self, other: &Code) -> bool {
        self.id == other.id
    }
}

impl Eq for Code {}

/// Where a finding is. Every part that is known is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file or directory, as the user can open it.
    pub path: Option<PathBuf>,
    /// First byte in the file.
    pub offset: Option<u64>,
    /// Number of bytes from there.
    pub length: Option<u64>,
    /// Block number in the fork (not in the segment file).
    pub block: Option<BlockNumber>,
    /// First position in the WAL.
    pub lsn: Option<Lsn>,
    /// End of a WAL range, exclusive.
    pub end_lsn: Option<Lsn>,
}

impl Place {
    /// A whole file or directory.
    pub fn path(path: impl Into<PathBuf>) -> Place {
        Place { path: Some(path.into()), ..Place::default() }
    }

    /// A range of a file's bytes.
    pub fn bytes(path: impl Into<PathBuf>, offset: u64, length: u64) -> Place {
        Place { path: Some(path.into()), offset: Some(offset), length: Some(length), ..Place::default() }
    }

    /// A range of the WAL.
    pub fn wal(lsn: Lsn, end_lsn: Lsn) -> Place {
        Place { lsn: Some(lsn), end_lsn: Some(end_lsn), ..Place::default() }
    }

    /// The same place with the file named.
    pub fn in_file(mut self, path: impl Into<PathBuf>) -> Place {
        self.path = Some(path.into());
        self
    }
}

/// One measurement: what was found and, where there is one, what should have been there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was measured, with its unit if it has one.
    pub name: &'static str,
    /// The value that is there.
    pub found: String,
    /// The value that a sound file would have.
    pub expected: Option<String>,
}

/// One occurrence of a [`Code`].
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its kind.
    pub code: &'static Code,
    /// How bad here.
    pub severity: Severity,
    /// One line that says what and where with the numbers, in PostgreSQL's words where it has them.
    pub headline: String,
    /// Where exactly.
    pub at: Place,
    /// The measurements.
    pub evidence: Vec<Evidence>,
}

impl Finding {
    /// A finding with its code's usual severity and no evidence yet.
    pub fn new(code: &'static Code, at: Place, headline: impl Into<String>) -> Finding {
        Finding { code, severity: code.severity, headline: headline.into(), at, evidence: Vec::new() }
    }

    /// Adds a measurement without a counterpart.
    #[must_use]
    pub fn measured(mut self, name: &'static str, found: impl fmt::Display) -> Finding {
        self.evidence.push(Evidence { name, found: found.to_string(), expected: None });
        self
    }

    /// Adds a measurement that differs from what should be there.
    #[must_use]
    pub fn differs(
        mut self,
        name: &'static str,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Finding {
        let (found, expected) = (found.to_string(), Some(expected.to_string()));
        self.evidence.push(Evidence { name, found, expected });
        self
    }

    /// Replaces the code's usual severity, because the place makes it better or worse.
    #[must_use]
    pub fn with_severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }
}

/// How many findings of one code and severity are kept in full unless all are asked for.
pub const KEPT_PER_CODE: usize = 20;

/// All findings of one run: exact counts, and of each kind the first few in full.
///
/// A cluster with a million bad blocks must neither flood the reader nor fill the memory.
#[derive(Clone, Debug)]
pub struct Findings {
    keep: usize,
    kinds: BTreeMap<(std::cmp::Reverse<Severity>, &'static str), Kind>,
}

/// The findings of one code and severity.
#[derive(Clone, Debug)]
pub struct Kind {
    /// The code that they share.
    pub code: &'static Code,
    /// The severity that they share.
    pub severity: Severity,
    /// How many there were.
    pub count: u64,
    /// The first of them, in the order in which they were found.
    pub kept: Vec<Finding>,
}

impl Default for Findings {
    fn default() -> Findings {
        Findings { keep: KEPT_PER_CODE, kinds: BTreeMap::new() }
    }
}

impl Findings {
    /// Keeps every finding in full (`--all`).
    pub fn keeping_all(all: bool) -> Findings {
        Findings::keeping(if all { usize::MAX } else { KEPT_PER_CODE })
    }

    /// Keeps so many findings of each kind.
    pub fn keeping(keep: usize) -> Findings {
        Findings { keep, ..Findings::default() }
    }

    /// How many of each kind it keeps.
    pub fn keeps(&self) -> usize {
        self.keep
    }

    /// Counts a finding, and keeps it if it is among the first of its kind.
    pub fn push(&mut self, finding: Finding) {
        let key = (std::cmp::Reverse(finding.severity), finding.code.id);
        let kind = self.kinds.entry(key).or_insert_with(|| Kind {
            code: finding.code,
            severity: finding.severity,
            count: 0,
            kept: Vec::new(),
        });
        kind.count += 1;
        if kind.kept.len() < self.keep {
            kind.kept.push(finding);
        }
    }

    /// Adds all of another collection, for example what another thread found.
    pub fn append(&mut self, other: Findings) {
        for (key, mut theirs) in other.kinds {
            match self.kinds.entry(key) {
                std::collections::btree_map::Entry::Vacant(slot) => {
                    theirs.kept.truncate(self.keep);
                    slot.insert(theirs);
                }
                std::collections::btree_map::Entry::Occupied(mut slot) => {
                    let ours = slot.get_mut();
                    ours.count += theirs.count;
                    let room = self.keep.saturating_sub(ours.kept.len());
                    ours.kept.extend(theirs.kept.into_iter().take(room));
                }
            }
        }
    }

    /// The kinds, worst first, then by code.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    /// The worst severity, if anything was found at all.
    pub fn worst(&self) -> Option<Severity> {
        self.kinds().map(|kind| kind.severity).next()
    }

    /// How many findings have exactly this severity.
    pub fn count(&self, severity: Severity) -> u64 {
        self.kinds().filter(|kind| kind.severity == severity).map(|kind| kind.count).sum()
    }

    /// How many findings have this code, whatever their severity.
    pub fn count_of(&self, code: &Code) -> u64 {
        self.kinds().filter(|kind| kind.code == code).map(|kind| kind.count).sum()
    }
}

/// What was asked for and looked at, and what was not, with the reason.
///
/// "Clean" may be said only when [`complete`](Self::complete).
#[derive(Debug, Default)]
pub struct Coverage {
    /// Files whose content was examined.
    pub files: u64,
    /// Bytes read of them.
    pub bytes: u64,
    /// What was left out on purpose, as the stock tool does or as the user asked, and why.
    pub skipped: Vec<Omission>,
    /// What should have been examined and could not be.
    pub unreadable: Vec<Omission>,
}

/// Something that was not examined.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Omission {
    /// What.
    pub path: PathBuf,
    /// Why not, with the system's message where there is one.
    pub why: String,
}

impl Coverage {
    /// Was everything examined that was asked for?
    pub fn complete(&self) -> bool {
        self.unreadable.is_empty()
    }

    /// Adds all of another one, for example of another thread.
    pub fn append(&mut self, other: Coverage) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.skipped.extend(other.skipped);
        self.unreadable.extend(other.unreadable);
    }

    /// Notes something left out on purpose.
    pub fn skip(&mut self, path: &Path, why: impl Into<String>) {
        self.skipped.push(Omission { path: path.to_owned(), why: why.into() });
    }

    /// Notes something that could not be examined: the answer is now incomplete.
    pub fn fail(&mut self, path: &Path, why: impl Into<String>) {
        self.unreadable.push(Omission { path: path.to_owned(), why: why.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_unique() {
        let ids: Vec<_> = AREAS.iter().flat_map(|area| area.codes.iter().map(|c| c.id)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for area in AREAS {
            for code in area.codes {
                assert_eq!(code.id.split_once('-').unwrap().0, area.name, "{}", code.id);
                assert!(code.meaning.ends_with('.') && code.advice.ends_with('.'), "{}", code.id);
            }
        }
    }

    #[test]
    fn a_flood_is_counted_but_not_kept() {
        let code = ctl::MISSING;
        let mut findings = Findings::default();
        for _ in 0..1000 {
            findings.push(Finding::new(code, Place::default(), "x"));
        }
        findings.push(Finding::new(code, Place::default(), "x").with_severity(Severity::Note));
        assert_eq!(findings.count_of(code), 1001);
        assert_eq!(findings.kinds().next().unwrap().kept.len(), KEPT_PER_CODE);
        assert_eq!(findings.worst(), Some(code.severity));
        let mut more = Findings::default();
        more.append(findings);
        assert_eq!(more.count_of(code), 1001);
    }
}
