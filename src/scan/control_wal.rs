//! What the WAL proves of a cluster's pg_control: its checkpoints, settings and counters, and how the WAL ends.
//!
//! ```text
//! first pages ──► whose WAL is it? ──► for each timeline: every record ──► checkpoints, settings, counters, losses
//!                 (votes, witnesses)   (the newest one of pg_wal with its ancestors)
//! ```
//!
//! A segment of another cluster, of another major or of another position is named and left out: what it says is
//! nobody's business here. Only the newest few checkpoints are kept, so that a hostile segment full of them costs
//! nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use super::wal_archive::{
    Depth, Identity, PgWalState, SegmentFault, SegmentFile, SizeSource, WalArchive, scan,
};
use super::wal_end::{NormalEnd, normal_end};
use super::wal_picture::read_history;
use super::wal_units::{Loss, WalFiles};
use super::wal_walk::{Item, Visitor, WalKind, WalkEnd};
use crate::format::checkpoint::CheckPoint;
use crate::format::timeline_history::{Span, TimelineHistory};
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::id::{
    RM_CLOG_ID, RM_COMMIT_TS_ID, RM_MULTIXACT_ID, RM_STANDBY_ID, RM_XACT_ID, RM_XLOG_ID,
};
use crate::format::wal::rmgr::{ControlRecord, ParameterChange, TransactionEnd, Truncation};
use crate::pg::{Lsn, Major, Oid, SystemId, TimelineId, WalFileName, WalSegSize};
use crate::source::Error;
use crate::source::archive::Archive;
use crate::source::pgdata::DataDirectory;

/// Checkpoints that are kept of each timeline.
pub const KEPT_CHECKPOINTS: usize = 5;

/// Timelines that are read, newest first.
const MAX_TIMELINES: usize = 8;

const XLOG_MULTIXACT_CREATE_ID: u8 = 0x20;
const XLOG_RUNNING_XACTS: u8 = 0x10;
const FIRST_NORMAL_TRANSACTION_ID: u32 = 3;

/// What else says whose WAL it must be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Witness {
    /// PG_VERSION.
    pub major: Option<Major>,
    /// The system identifier in what is left of pg_control.
    pub system_id: Option<SystemId>,
}

/// A checkpoint record that passed every test.
#[derive(Clone, Debug)]
pub struct FoundCheckpoint {
    /// Where it starts.
    pub lsn: Lsn,
    /// Where the next record starts.
    pub end: Lsn,
    /// The record before, 0/0 in the first one that initdb or pg_resetwal writes.
    pub prev: Lsn,
    /// CHECKPOINT_SHUTDOWN.
    pub shutdown: bool,
    /// Its body.
    pub body: CheckPoint,
    /// Why its redo record cannot be read, in the server's words.
    pub redo_fault: Option<String>,
}

impl FoundCheckpoint {
    /// Name of the record.
    pub fn name(&self) -> &'static str {
        if self.shutdown { "CHECKPOINT_SHUTDOWN" } else { "CHECKPOINT_ONLINE" }
    }
}

/// What was collected of a stretch of WAL; of most things only the newest, with the record's place.
#[derive(Debug, Default)]
pub struct Collected {
    /// The newest checkpoints, oldest first.
    pub checkpoints: VecDeque<FoundCheckpoint>,
    /// PARAMETER_CHANGE.
    pub settings: Option<(Lsn, ParameterChange)>,
    /// END_OF_RECOVERY, with its end.
    pub end_of_recovery: Option<(Lsn, Lsn)>,
    /// The first record that initdb or pg_resetwal wrote.
    pub chain_start: Option<FoundCheckpoint>,
    /// NEXTOID.
    pub next_oid: Option<(Lsn, Oid)>,
    /// No transaction up to here is left to give out, by the records' own ids and RUNNING_XACTS.
    pub next_xid: Option<(Lsn, u32)>,
    /// Next MultiXactId and next position of members, by CREATE_ID.
    pub next_multi: Option<(Lsn, u32, u64)>,
    /// The oldest transaction that pg_xact still has, by the newest record that cut it.
    pub oldest_xid: Option<(Lsn, u32)>,
    /// The oldest multixact, in the same way.
    pub oldest_multi: Option<(Lsn, u32)>,
    /// The oldest transaction with a commit timestamp, in the same way.
    pub oldest_commit_ts: Option<(Lsn, u32)>,
    /// The newest transaction that committed.
    pub newest_commit: Option<(Lsn, u32)>,
    /// Records.
    pub records: u64,
    /// The newest record.
    pub newest: Option<Lsn>,
    /// Stretches without valid records.
    pub losses: u64,
    /// The newest of them.
    pub last_loss: Option<Loss>,
}

/// The WAL of one timeline.
#[derive(Debug)]
pub struct Chain {
    /// The timeline.
    pub timeline: TimelineId,
    /// Read with its ancestors, from the oldest segment on; otherwise only its own segments.
    pub whole: bool,
    /// It and its ancestors.
    pub lineage: Vec<Span>,
    /// Its files.
    pub files: WalFiles,
    /// What they hold.
    pub found: Collected,
    /// Where the walk ended.
    pub end: WalkEnd,
    /// Behind the last valid record.
    pub behind: Lsn,
    /// How, if it is an end that a sound server leaves.
    pub normal: Option<NormalEnd>,
}

impl Chain {
    /// From here to the end every record follows from the one before.
    pub fn whole_from(&self) -> Option<Lsn> {
        self.found.last_loss.map(|loss| loss.to)
    }

    /// Is a record part of the last whole stretch?
    pub fn is_whole_from(&self, lsn: Lsn) -> bool {
        self.whole_from().is_none_or(|whole| lsn >= whole)
    }

    /// The newest checkpoint.
    pub fn newest(&self) -> Option<&FoundCheckpoint> {
        self.found.checkpoints.back()
    }

    /// Why recovery from a checkpoint would not reach the end of the WAL.
    pub fn recoverable(&self, checkpoint: &FoundCheckpoint) -> Result<(), String> {
        let major = self.files.kind.major;
        let redo = checkpoint.body.redo;
        if let Some(fault) = &checkpoint.redo_fault {
            return Err(format!("there is no valid redo record at {}: {fault}", redo.text(major)));
        }
        if let Some(loss) = self.found.last_loss.filter(|loss| loss.to > redo) {
            let message = self.files.message(&loss.fault);
            let (from, to) = (loss.from.text(major), loss.to.text(major));
            return Err(format!("no valid WAL from {from} to {to}: {message}"));
        }
        match (self.normal, &self.end.fault) {
            (None, Some(fault)) => {
                let message = self.files.message(fault);
                let end = self.behind.text(major);
                Err(format!("the WAL ends at {end}, not as a server leaves it: {message}"))
            }
            _ => Ok(()),
        }
    }
}

/// Whose WAL a segment is, by its long header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The cluster.
    pub system_id: SystemId,
    /// The server that wrote it.
    pub major: Major,
    /// Size of its segments.
    pub size: WalSegSize,
}

/// One owner's segments.
#[derive(Clone, Debug, Default)]
pub struct Votes {
    /// In pg_wal.
    pub in_pg_wal: usize,
    /// In archives.
    pub archived: usize,
    /// One of them.
    pub example: PathBuf,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct WalEvidence {
    /// Directories that were searched, in this order.
    pub searched: Vec<PathBuf>,
    /// Those that could not be, and files that could not be read.
    pub unreadable: Vec<(PathBuf, String)>,
    /// pg_wal is not there.
    pub no_pg_wal: bool,
    /// Segment files.
    pub segments: usize,
    /// Bytes read of them before the records.
    pub bytes_read: u64,
    /// Owners of the segments; empty if none has a sound first page.
    pub owners: BTreeMap<Owner, Votes>,
    /// The one whose WAL counts.
    pub owner: Option<Owner>,
    /// Segments that were left out, and why; the first few.
    pub left_out: Vec<(PathBuf, String)>,
    /// How many there were.
    pub left_out_count: u64,
    /// The timelines, newest first, the cluster's own before all others.
    pub chains: Vec<Chain>,
    /// Timelines that were not read because there are too many.
    pub more_timelines: usize,
}

/// Segments left out that are named.
const NAMED: usize = 20;

impl WalEvidence {
    /// The WAL on the cluster's own timeline.
    pub fn main(&self) -> Option<&Chain> {
        self.chains.first()
    }

    /// Segments of others.
    pub fn strangers(&self) -> impl Iterator<Item = (&Owner, &Votes)> {
        self.owners.iter().filter(|(owner, _)| Some(**owner) != self.owner)
    }

    /// The owner's segments.
    pub fn votes(&self) -> Option<(&Owner, &Votes)> {
        self.owners.get_key_value(self.owner.as_ref()?)
    }
}

/// Reads the WAL in the pg_wal of a data directory and in archives.
pub fn gather(
    directory: Option<&DataDirectory>,
    archives: &[PathBuf],
    witness: Witness,
    threads: usize,
) -> WalEvidence {
    let mut evidence = WalEvidence::default();
    let mut archive = Archive::default();
    if let Some(directory) = directory
        && let Err(error) = archive.add_pg_wal(directory.root())
    {
        evidence.no_pg_wal = error.is_not_found();
        if !evidence.no_pg_wal {
            evidence.unreadable.push((error.path.clone(), error.to_string()));
        }
    }
    for path in archives {
        if let Err(error) = archive.add(path) {
            evidence.unreadable.push((error.path.clone(), error.to_string()));
        }
    }
    evidence.searched = archive.directories.iter().map(|directory| directory.path.clone()).collect();
    let mut wal = scan(archive, Depth::Headers, threads, None);
    evidence.unreadable.append(&mut wal.unreadable);
    evidence.segments = wal.files.len();
    evidence.bytes_read = wal.bytes_read;
    let own = directory.map(|directory| directory.join("pg_wal"));
    let is_own = |wal: &WalArchive, file: &SegmentFile| {
        // Another server's pg_wal, given as an archive, is as good as one.
        own.is_some() && wal.archive.directory(&file.entry).map(|directory| &directory.path) == own.as_ref()
    };
    evidence.owners = owners(&wal, &is_own);
    let Some(owner) = choose(&evidence.owners, witness) else { return evidence };
    evidence.owner = Some(owner);
    wal.identity = Identity {
        segment_size: owner.size,
        size_source: SizeSource::Headers { votes: 1 },
        system_id: Some(owner.system_id),
        major: Some(owner.major),
    };
    let Some(kind) = kind(&wal, owner) else { return evidence };
    let usable = leave_out(&mut wal, &mut evidence, &is_own);
    for (index, timeline) in usable.iter().take(MAX_TIMELINES).enumerate() {
        let chain = read_chain(&wal.archive, kind, *timeline, index == 0, threads, &mut evidence.unreadable);
        evidence.chains.extend(chain);
    }
    evidence.more_timelines = usable.len().saturating_sub(MAX_TIMELINES);
    evidence
}

/// Does a segment lie in the data directory's own pg_wal?
type IsOwn<'a> = dyn Fn(&WalArchive, &SegmentFile) -> bool + 'a;

/// Whose the segments are.
fn owners(wal: &WalArchive, is_own: &IsOwn) -> BTreeMap<Owner, Votes> {
    let mut owners: BTreeMap<Owner, Votes> = BTreeMap::new();
    for file in &wal.files {
        let Some(owner) = owner_of(file) else { continue };
        let votes = owners
            .entry(owner)
            .or_insert_with(|| Votes { example: wal.archive.segment_path(&file.entry), ..Votes::default() });
        *(if is_own(wal, file) { &mut votes.in_pg_wal } else { &mut votes.archived }) += 1;
    }
    owners
}

fn owner_of(file: &SegmentFile) -> Option<Owner> {
    let header = file.content.as_ref()?.header.as_ref().filter(|header| header.fault(true).is_none())?;
    Some(Owner { system_id: header.long?.system_id, major: header.major()?, size: header.segment_size()? })
}

/// Of several owners the one of pg_wal; there, whom another witness names, then whose segments are the most.
fn choose(owners: &BTreeMap<Owner, Votes>, witness: Witness) -> Option<Owner> {
    // The WAL of another major cannot be this cluster's.
    let possible = owners.iter().filter(|(owner, _)| witness.major.is_none_or(|major| owner.major == major));
    let best = possible.max_by_key(|(owner, votes)| {
        let named = witness.system_id == Some(owner.system_id);
        (votes.in_pg_wal > 0, named, votes.in_pg_wal, votes.archived)
    });
    best.map(|(owner, _)| *owner)
}

fn kind(wal: &WalArchive, owner: Owner) -> Option<WalKind> {
    let file = wal.files.iter().find(|file| owner_of(file) == Some(owner))?;
    let abi = file.content.as_ref()?.header.as_ref()?.abi;
    Some(WalKind { major: owner.major, abi, size: owner.size, system_id: Some(owner.system_id) })
}

/// Takes out what is not this cluster's WAL at its place. Returns the timelines to read: the newest one that pg_wal
/// holds WAL of, then all others, newest first.
fn leave_out(wal: &mut WalArchive, evidence: &mut WalEvidence, is_own: &IsOwn) -> Vec<TimelineId> {
    let mut keep = BTreeSet::new();
    let (mut own, mut archived) = (BTreeSet::new(), BTreeSet::new());
    for (index, file) in wal.files.iter().enumerate() {
        if let Some(fault) = wal.faults(file).iter().find_map(useless) {
            evidence.left_out_count += 1;
            if evidence.left_out.len() < NAMED {
                evidence.left_out.push((wal.archive.segment_path(&file.entry), fault));
            }
            continue;
        }
        let unwritten = wal.pg_wal_state(file).is_some_and(|state| state != PgWalState::Written);
        let has_twin = |other: &SegmentFile| other.entry.name == file.entry.name && other.entry != file.entry;
        let neighbours = wal.files.get(index.saturating_sub(4)..).unwrap_or_default().iter().take(9);
        if unwritten && neighbours.clone().any(has_twin) {
            continue;
        }
        keep.insert(index);
        if file.content.is_some() && !unwritten {
            let timelines = if is_own(wal, file) { &mut own } else { &mut archived };
            timelines.insert(file.entry.name.timeline);
        }
    }
    let mut index = 0;
    wal.archive.segments.retain(|_| {
        index += 1;
        keep.contains(&(index - 1))
    });
    let main = own.last().or(archived.last()).copied();
    let all: BTreeSet<_> = own.union(&archived).copied().collect();
    main.into_iter().chain(all.into_iter().rev().filter(|timeline| Some(*timeline) != main)).collect()
}

/// Why a file with this fault has no byte of the WAL that its name claims. What is only cut or broken has some.
fn useless(fault: &SegmentFault) -> Option<String> {
    match fault {
        SegmentFault::Empty => Some("the file is empty".to_owned()),
        SegmentFault::NoHeader(fault) => Some(fault.to_string()),
        SegmentFault::ForeignSystem { found, .. } => Some(format!("WAL of the cluster {found}")),
        SegmentFault::OtherMajor { found, .. } => Some(format!("WAL of PostgreSQL {found}")),
        SegmentFault::OtherSegmentSize { found, .. } => Some(format!("WAL in segments of {found} bytes")),
        SegmentFault::ImpossibleName => Some("no segment of this size has such a name".to_owned()),
        SegmentFault::Address { found, .. } => Some(format!("unexpected pageaddr {found}")),
        SegmentFault::Size { .. }
        | SegmentFault::Timeline { .. }
        | SegmentFault::HiddenCompression(_)
        | SegmentFault::NotCompressed(_)
        | SegmentFault::CompressedTwice(_)
        | SegmentFault::Stream(_) => None,
    }
}

/// Reads the WAL of one timeline, with `whole` that of its ancestors too.
fn read_chain(
    archive: &Archive,
    kind: WalKind,
    timeline: TimelineId,
    whole: bool,
    threads: usize,
    unreadable: &mut Vec<(PathBuf, String)>,
) -> Option<Chain> {
    let history = read_history(archive, timeline).unwrap_or_else(|error: Error| {
        unreadable.push((error.path.clone(), error.to_string()));
        None
    });
    let lineage: Vec<Span> = history.unwrap_or_else(|| TimelineHistory::without_file(timeline)).lineage();
    let files = WalFiles::of(archive, kind, &lineage, |_| true);
    let first = files.segments.iter().find(|(_, source)| whole || source.name.timeline == timeline)?;
    let (start, newest) = (kind.size.start(*first.0), *files.segments.keys().next_back()?);
    let limit = kind.size.start(newest.saturating_add(1));
    let mut found = Collected::default();
    let walked = files.walk(start, limit, threads, true, Collected::default, |unit| {
        if let Some(gap) = unit.gap {
            found.lose(gap);
        }
        found.append(unit.result);
        true
    });
    unreadable.extend(walked.unreadable.iter().map(|error| (error.path.clone(), error.to_string())));
    for checkpoint in &mut found.checkpoints {
        let redo = checkpoint.body.redo;
        if redo != checkpoint.lsn {
            checkpoint.redo_fault = files.fault_of_first(redo, limit).map(|fault| files.message(&fault));
        }
    }
    let normal = normal_end(&files, &walked.end, false);
    let behind = files.behind_last(&walked.end);
    Some(Chain { timeline, whole, lineage, found, end: walked.end, behind, normal, files })
}

impl Visitor for Collected {
    fn visit(&mut self, item: Item) -> bool {
        match item {
            Item::Record { record, end } => {
                self.records += 1;
                self.newest = Some(record.lsn);
                self.record(record, end);
            }
            Item::Aborted { .. } => {}
            Item::Lost { fault, from, to } => self.lose(Loss { fault, from, to }),
        }
        true
    }
}

impl Collected {
    fn record(&mut self, record: &Record, end: Lsn) {
        let (lsn, header) = (record.lsn, &record.header);
        if header.xid >= FIRST_NORMAL_TRANSACTION_ID {
            self.next_xid_is(lsn, header.xid.wrapping_add(1));
        }
        match (header.rmid, header.op()) {
            (RM_XLOG_ID, _) => match ControlRecord::read(record) {
                Some(ControlRecord::Checkpoint { shutdown, body }) if body.redo <= lsn => {
                    let prev = header.prev;
                    let found = FoundCheckpoint { lsn, end, prev, shutdown, body: *body, redo_fault: None };
                    self.checkpoint(found);
                }
                Some(ControlRecord::NextOid(oid)) => self.next_oid = Some((lsn, oid)),
                Some(ControlRecord::Settings(settings)) => self.settings = Some((lsn, settings)),
                Some(ControlRecord::EndOfRecovery) => self.end_of_recovery = Some((lsn, end)),
                Some(ControlRecord::Checkpoint { .. }) | None => {}
            },
            (RM_STANDBY_ID, XLOG_RUNNING_XACTS) => {
                if let Some(next) = record.main().u32(12) {
                    self.next_xid_is(lsn, next);
                }
            }
            (RM_MULTIXACT_ID, XLOG_MULTIXACT_CREATE_ID) => self.multixact(record),
            (RM_XACT_ID, _) => self.transaction_end(record),
            (RM_CLOG_ID | RM_COMMIT_TS_ID | RM_MULTIXACT_ID, _) => match Truncation::read(record) {
                Some(Truncation::Xact(oldest)) => self.oldest_xid = Some((lsn, oldest)),
                Some(Truncation::MultiXact(oldest)) => self.oldest_multi = Some((lsn, oldest)),
                Some(Truncation::CommitTs(oldest)) => self.oldest_commit_ts = Some((lsn, oldest)),
                None => {}
            },
            _ => {}
        }
    }

    /// A subtransaction that wrote nothing itself is named only here.
    fn transaction_end(&mut self, record: &Record) {
        let Some(end) = TransactionEnd::read(record) else { return };
        let xids = end.subxacts().chain([end.xid()]).filter(|xid| *xid >= FIRST_NORMAL_TRANSACTION_ID);
        for xid in xids {
            self.next_xid_is(record.lsn, xid.wrapping_add(1));
            if end.committed && self.newest_commit.is_none_or(|(_, known)| is_after(xid, known)) {
                self.newest_commit = Some((record.lsn, xid));
            }
        }
    }

    fn checkpoint(&mut self, found: FoundCheckpoint) {
        if found.prev == Lsn::INVALID {
            self.chain_start = Some(found.clone());
        }
        self.checkpoints.push_back(found);
        if self.checkpoints.len() > KEPT_CHECKPOINTS {
            self.checkpoints.pop_front();
        }
    }

    /// Ids are compared in a circle.
    fn next_xid_is(&mut self, lsn: Lsn, next: u32) {
        let next = next.max(FIRST_NORMAL_TRANSACTION_ID);
        if self.next_xid.is_none_or(|(_, known)| is_after(next, known)) {
            self.next_xid = Some((lsn, next));
        }
    }

    fn multixact(&mut self, record: &Record) {
        let data = record.main();
        let (offset, count) = if record.major >= Major::V19 {
            (data.u64(8), data.i32(16))
        } else {
            (data.u32(4).map(u64::from), data.i32(8))
        };
        if let (Some(id), Some(offset), Some(count)) = (data.u32(0), offset, count) {
            let next = offset.wrapping_add(u64::try_from(count).unwrap_or(0));
            let next = if record.major >= Major::V19 { next } else { next & u64::from(u32::MAX) };
            self.next_multi_is(record.lsn, id.wrapping_add(1).max(1), next);
        }
    }

    /// They are given out under a lock and logged after it: not always in their order.
    fn next_multi_is(&mut self, lsn: Lsn, next: u32, offset: u64) {
        if self.next_multi.is_none_or(|(_, known, _)| is_after(next, known)) {
            self.next_multi = Some((lsn, next, offset));
        }
    }

    fn lose(&mut self, loss: Loss) {
        self.losses += 1;
        self.last_loss = Some(loss);
    }

    /// Adds what was collected behind this.
    fn append(&mut self, later: Collected) {
        for found in later.checkpoints {
            self.checkpoint(found);
        }
        if let Some((lsn, next)) = later.next_xid {
            self.next_xid_is(lsn, next);
        }
        self.chain_start = later.chain_start.or(self.chain_start.take());
        self.settings = later.settings.or(self.settings);
        self.end_of_recovery = later.end_of_recovery.or(self.end_of_recovery);
        self.next_oid = later.next_oid.or(self.next_oid);
        if let Some((lsn, next, offset)) = later.next_multi {
            self.next_multi_is(lsn, next, offset);
        }
        if let Some((lsn, xid)) = later.newest_commit
            && self.newest_commit.is_none_or(|(_, known)| is_after(xid, known))
        {
            self.newest_commit = Some((lsn, xid));
        }
        self.oldest_xid = later.oldest_xid.or(self.oldest_xid);
        self.oldest_multi = later.oldest_multi.or(self.oldest_multi);
        self.oldest_commit_ts = later.oldest_commit_ts.or(self.oldest_commit_ts);
        self.records += later.records;
        self.newest = later.newest.or(self.newest);
        self.losses += later.losses;
        self.last_loss = later.last_loss.or(self.last_loss);
    }
}

/// Ids are compared in a circle: is this one the newer?
pub fn is_after(id: u32, other: u32) -> bool {
    (id.wrapping_sub(other) as i32) > 0
}

/// The system identifier that a few segments of a data directory's pg_wal have in common, if it is another one than
/// `expected`: one look that shows whether pg_control is this cluster's at all.
pub fn other_owner(
    directory: &DataDirectory,
    expected: SystemId,
    first: Option<WalFileName>,
) -> Option<SystemId> {
    const LOOKS: usize = 4;
    let mut archive = Archive::default();
    archive.add_pg_wal(directory.root()).ok()?;
    let named = archive.segments.iter().find(|entry| Some(entry.name) == first).copied();
    archive.segments = match named {
        Some(entry) => vec![entry],
        None => archive.segments.iter().copied().take(LOOKS).collect(),
    };
    let wal = scan(archive, Depth::Headers, 1, None);
    let ids: BTreeSet<_> = wal.files.iter().filter_map(|file| Some(owner_of(file)?.system_id)).collect();
    (!ids.contains(&expected)).then(|| ids.first().copied()).flatten()
}
