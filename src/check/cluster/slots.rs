//! Replication slots: can a start read them, and is what they need still there?

use std::path::PathBuf;

use super::{Examination, counted, unreadable};
use crate::finding::{Code, Coverage, Finding, Findings, Place, rsl};
use crate::format::control::DbState;
use crate::format::replslot::{HEADER_SIZE, ReplicationSlot, SLOT_MAGIC, SlotData};
use crate::pg::{Lsn, Major, WalFileName, WalSegSize};
use crate::scan::metadata::slots::SlotDirectory;

/// What a slot keeps in pg_wal.
#[derive(Clone, Copy, Debug)]
pub struct SlotWal {
    /// The first segment that it needs.
    pub segment: WalFileName,
    /// Is a segment of that number in pg_wal, of whatever timeline?
    pub there: bool,
    /// From restart_lsn to the position that the cluster is known to have reached.
    pub bytes: u64,
}

/// What a slot keeps; `None` if it needs no WAL, or nobody knows where the WAL is.
pub fn slot_wal(examination: &Examination, slot: &SlotData) -> Option<SlotWal> {
    let control = examination.control()?;
    let size = WalSegSize::new(control.xlog_seg_size.into())?;
    if !slot.restart_lsn.is_valid() {
        return None;
    }
    let segno = size.segno(slot.restart_lsn);
    let segments = &examination.metadata.wal.segments;
    Some(SlotWal {
        segment: WalFileName::new(control.reached_timeline(), segno, size),
        there: segments.iter().any(|name| name.segno(size) == Some(segno)),
        bytes: control.reached().0.saturating_sub(slot.restart_lsn.0),
    })
}

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let slots = &examination.metadata.slots;
    unreadable(&slots.unreadable, coverage);
    for slot in &slots.slots {
        let judge = Judge { examination, slot, path: slot.state_path() };
        judge.slot(findings, coverage);
    }
    for path in &slots.unfinished {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let headline = format!("\"pg_replslot/{name}\" is of a slot that was being made or dropped");
        findings.push(Finding::new(rsl::LEFTOVER, Place::path(path), headline));
    }
    for path in &slots.foreign {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let headline = format!("\"pg_replslot/{name}\" is no directory");
        findings.push(Finding::new(rsl::FOREIGN, Place::path(path), headline));
    }
    counted(slots.slots.len() as u64, "slot", "slots")
}

struct Judge<'a> {
    examination: &'a Examination,
    slot: &'a SlotDirectory,
    path: PathBuf,
}

impl Judge<'_> {
    fn major(&self) -> Major {
        self.examination.metadata.major
    }

    fn finding(&self, code: &'static Code, headline: impl Into<String>) -> Finding {
        Finding::new(code, Place::path(&self.path), headline)
    }

    /// As the server's messages name it.
    fn name(&self) -> String {
        format!("pg_replslot/{}/state", self.slot.name)
    }

    fn slot(&self, findings: &mut Findings, coverage: &mut Coverage) {
        if self.slot.unfinished_write {
            let headline = format!("\"pg_replslot/{}/state.tmp\" was being written", self.slot.name);
            findings.push(self.finding(rsl::LEFTOVER, headline));
        }
        let (length, slot) = match &self.slot.state {
            Ok(read) => read,
            Err(error) => {
                let why = crate::source::system_message(&error.source);
                let headline = format!("could not open file \"{}\": {why}", self.name());
                findings.push(self.finding(rsl::UNREADABLE, headline));
                if !error.is_not_found() {
                    coverage.fail(&error.path, error.to_string());
                }
                return;
            }
        };
        coverage.files += 1;
        coverage.bytes += length;
        let Some(slot) = slot else {
            findings.push(self.short(*length, HEADER_SIZE as u64));
            return;
        };
        if let Some(corrupt) = self.corrupt(*length, slot) {
            findings.push(corrupt);
        } else if let Ok(data) = &slot.data {
            self.data(data, findings);
        }
    }

    fn short(&self, have: u64, need: u64) -> Finding {
        // 12 changed the words.
        let mark = if self.major() < Major::V12 { ',' } else { ':' };
        let headline = format!("could not read file \"{}\"{mark} read {have} of {need}", self.name());
        self.finding(rsl::UNREADABLE, headline)
    }

    /// The first of the server's tests that fails.
    fn corrupt(&self, length: u64, slot: &ReplicationSlot) -> Option<Finding> {
        let name = self.name();
        let corrupt = |words: String| Some(self.finding(rsl::CORRUPT, words));
        if slot.magic != SLOT_MAGIC {
            let (found, expected) = (slot.magic, SLOT_MAGIC);
            return corrupt(format!(
                "replication slot file \"{name}\" has wrong magic number: {found} instead of {expected}"
            ));
        }
        let version = ReplicationSlot::version_of(self.major());
        if slot.version != version {
            let headline =
                format!("replication slot file \"{name}\" has unsupported version {}", slot.version);
            return corrupt(headline).map(|finding| finding.differs("version", slot.version, version));
        }
        let expected = ReplicationSlot::length_of(self.major());
        if slot.length != expected {
            let headline = format!("replication slot file \"{name}\" has corrupted length {}", slot.length);
            return corrupt(headline).map(|finding| finding.differs("length", slot.length, expected));
        }
        let have = length.saturating_sub(HEADER_SIZE as u64);
        if have < u64::from(expected) {
            return Some(self.short(have, expected.into()));
        }
        let calculated = slot.calculated.filter(|calculated| *calculated != slot.checksum)?;
        let headline = format!(
            "checksum mismatch for replication slot file \"{name}\": is {calculated}, should be {}",
            slot.checksum
        );
        corrupt(headline).map(|finding| {
            finding.differs(
                "CRC",
                format!("{:08X} stored", slot.checksum),
                format!("{calculated:08X} as calculated"),
            )
        })
    }

    fn data(&self, data: &SlotData, findings: &mut Findings) {
        let name = &self.slot.name;
        if data.persistency != 0 {
            let headline = format!("slot \"{name}\" is {}", data.persistency_name());
            findings.push(self.finding(rsl::NOT_PERSISTENT, headline));
            return;
        }
        if data.name != *name {
            let headline = format!("the slot in \"pg_replslot/{name}\" is named \"{}\"", data.name);
            findings.push(self.finding(rsl::OTHER_NAME, headline));
        }
        self.wal_level(data, findings);
        if let Some(cause) = data.cause(self.major()) {
            let headline = format!("slot \"{name}\" was invalidated: {cause}");
            let finding = self.finding(rsl::INVALIDATED, headline);
            findings.push(match data.invalidated_at {
                Some(lsn) => finding.measured("invalidated at", lsn.text(self.major())),
                None => finding,
            });
            return;
        }
        self.future(data, findings);
        let known = !self.examination.metadata.wal.segments.is_empty();
        if let Some(wal) = slot_wal(self.examination, data).filter(|wal| known && !wal.there) {
            let headline = format!("requested WAL segment {} has already been removed", wal.segment);
            let finding = self
                .finding(rsl::LOST, headline)
                .measured(
                    "slot",
                    format!("\"{name}\", {}", if data.is_logical() { "logical" } else { "physical" }),
                )
                .measured("restart_lsn", data.restart_lsn.text(self.major()));
            findings.push(finding);
        }
    }

    /// The setting of the last run: a standby's control file has its primary's.
    fn wal_level(&self, data: &SlotData, findings: &mut Findings) {
        const REPLICA: i32 = 1;
        const LOGICAL: i32 = 2;
        let Some(control) = self.examination.control() else { return };
        let (kind, needed, word) = if data.is_logical() && self.major() < Major::V19 {
            ("logical", LOGICAL, "logical")
        } else {
            ("physical", REPLICA, "replica")
        };
        if control.wal_level < needed {
            let name = &self.slot.name;
            let comparison = match self.major() >= Major::V17 {
                true => format!("\"wal_level\" < \"{word}\""),
                false => format!("wal_level < {word}"),
            };
            let headline = format!("{kind} replication slot \"{name}\" exists, but {comparison}");
            let found = if control.wal_level == REPLICA { "replica" } else { "minimal" };
            findings.push(self.finding(rsl::WAL_LEVEL, headline).differs(
                "wal_level in pg_control",
                found,
                word,
            ));
        }
    }

    /// Nothing of a slot can be ahead of a cluster that was stopped.
    fn future(&self, data: &SlotData, findings: &mut Findings) {
        let Some(control) = self.examination.control() else { return };
        let recorded = control.db_state() == Some(DbState::ShutDown) && !self.examination.recovers();
        if !recorded {
            return;
        }
        let reached = control.reached();
        // The next record begins behind the checkpoint's: a page may lie between.
        let behind = Lsn(reached.0.saturating_add(u64::from(control.xlog_blcksz)));
        let mut finding =
            self.finding(rsl::FUTURE, format!("slot \"{}\" is ahead of pg_control", self.slot.name));
        for (field, lsn) in [("restart_lsn", data.restart_lsn), ("confirmed_flush", data.confirmed_flush)] {
            if lsn > behind {
                let text = |lsn: Lsn| lsn.text(self.major());
                finding = finding.differs(field, text(lsn), format!("at most {}", text(reached)));
            }
        }
        let next = control.check_point_copy.next_xid_low();
        for (field, xid) in [("xmin", data.xmin), ("catalog_xmin", data.catalog_xmin)] {
            if xid != 0 && (xid.wrapping_sub(next) as i32) > 0 {
                finding = finding.differs(field, xid, format!("at most {next}"));
            }
        }
        if !finding.evidence.is_empty() {
            findings.push(finding);
        }
    }
}
