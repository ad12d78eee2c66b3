//! Every field of pg_control that something else proves, with its source; and what follows where nothing does.
//!
//! A checkpoint record in pg_wal is the cluster's own only if the cluster wrote it: the WAL of a standby or of a
//! restored backup runs ahead of the data files. Then the record's fields are no proof, see [`Judgement::ahead`].

use std::collections::BTreeMap;

use super::evidence::{Evidence, Judgement};
use crate::format::control::{CONTROL_FILE_SIZE, ControlFile};
use crate::format::reader::{Abi, Reader};
use crate::format::wal::page_header::XLOG_BLCKSZ;
use crate::format::wal::rmgr::ParameterChange;
use crate::pg::{Lsn, Major};
use crate::scan::control_wal::{Chain, FoundCheckpoint};

/// How sure a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Nothing says it.
    Nothing,
    /// What common builds have.
    Default,
    /// The value is this one or a later one.
    LowerBound,
    /// It follows, unless something happened that leaves no trace.
    Inferred,
    /// It is written down.
    Proved,
}

impl Confidence {
    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Nothing => "nothing",
            Confidence::Default => "default",
            Confidence::LowerBound => "lower bound",
            Confidence::Inferred => "inferred",
            Confidence::Proved => "proved",
        }
    }
}

/// What is known of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// How sure it is.
    pub confidence: Confidence,
    /// Where it comes from.
    pub source: String,
}

/// A control file put together from evidence.
#[derive(Debug)]
pub struct Proof {
    /// Whose layout and words.
    pub major: Major,
    /// The values; only those in `known` mean anything.
    pub control: ControlFile,
    /// By the field's name in the layout.
    known: BTreeMap<&'static str, Known>,
}

use Confidence::{Default, Inferred, LowerBound, Nothing, Proved};

/// The server's first value of the fake LSN counter: `FirstNormalUnloggedLSN`, before it had the name 1.
fn first_unlogged_lsn(major: Major) -> Lsn {
    Lsn(if major >= Major::V12 { 1000 } else { 1 })
}

impl Proof {
    /// Puts together what the evidence proves of a control file of `major`.
    pub fn of(evidence: &Evidence, judgement: &Judgement, major: Major, abi: Abi) -> Option<Proof> {
        let zeros = [0; CONTROL_FILE_SIZE];
        let layout = Major::from_control_version(major.version().control_version)?;
        let control = ControlFile::read(&mut Reader::new(&zeros, abi), layout).ok()?;
        let mut proof = Proof { major, control, known: BTreeMap::new() };
        proof.versions(evidence);
        proof.build(abi);
        proof.headers(evidence);
        proof.pages(evidence);
        let newest = evidence.newest();
        proof.state(judgement, newest);
        if let Some(chain) = evidence.wal.main() {
            if let Some(newest) = newest {
                proof.checkpoint(chain, newest, judgement);
            } else {
                proof.counters(chain);
            }
            proof.settings(chain, judgement);
        } else {
            proof.default_settings();
        }
        Some(proof)
    }

    /// What is known of a field of the layout; the empty name is that of the constant line.
    pub fn known(&self, field: &str) -> Known {
        if field.is_empty() {
            return Known { confidence: Proved, source: "the same since 10".to_owned() };
        }
        let nothing = Known { confidence: Nothing, source: String::new() };
        self.known.get(field).cloned().unwrap_or(nothing)
    }

    /// Names of the fields with a value.
    pub fn with_value(&self) -> Vec<&'static str> {
        self.known.keys().copied().collect()
    }

    fn set(&mut self, field: &'static str, confidence: Confidence, source: impl Into<String>) {
        self.known.insert(field, Known { confidence, source: source.into() });
    }

    fn versions(&mut self, evidence: &Evidence) {
        let version = self.major.version();
        let mut witnesses = Vec::new();
        if evidence.pg_version == Some(self.major) {
            witnesses.push("PG_VERSION".to_owned());
        }
        let number = version.number.to_string();
        if let Some(path) = evidence.files.database_versions.get(&number) {
            witnesses.push(evidence.short(path));
        }
        if let Some(chain) = evidence.wal.main() {
            witnesses.push(format!("WAL page magic {:04X}", chain.files.kind.major.version().wal_magic));
        }
        self.control.pg_control_version = version.control_version;
        let confidence = if witnesses.is_empty() { Nothing } else { Proved };
        self.set("pg_control_version", confidence, witnesses.join(", "));
        self.control.catalog_version_no = version.catalog_version;
        let mut directories = evidence.files.catalog_versions.iter();
        match (directories.next(), directories.next()) {
            (Some((catalog, path)), None) => {
                self.control.catalog_version_no = *catalog;
                self.set("catalog_version_no", Proved, format!("directory {}", evidence.short(path)));
            }
            _ if version.released => {
                let source = format!("every release of {} has it, test releases had others", self.major);
                self.set("catalog_version_no", Inferred, source);
            }
            _ => self.set("catalog_version_no", Default, format!("the newest {} known here", self.major)),
        }
    }

    /// What is chosen when a server is compiled.
    fn build(&mut self, abi: Abi) {
        const USUAL: &str = "value of a usual build";
        let control = &mut self.control;
        control.max_align = abi.align8 as u32;
        control.blcksz = 8192;
        control.relseg_size = crate::pg::relation::RELSEG_SIZE;
        control.slru_pages_per_segment = control.slru_pages_per_segment.map(|_| 32);
        control.xlog_blcksz = XLOG_BLCKSZ as u32;
        control.name_data_len = 64;
        control.index_max_keys = 32;
        control.toast_max_chunk_size = 1996;
        control.loblksize = 2048;
        control.float4_by_val = control.float4_by_val.map(|_| 1);
        control.float8_by_val = 1;
        control.default_char_signedness = control.default_char_signedness.map(|_| 1);
        for field in [
            "maxAlign",
            "blcksz",
            "relseg_size",
            "slru_pages_per_segment",
            "xlog_blcksz",
            "nameDataLen",
            "indexMaxKeys",
            "toast_max_chunk_size",
            "loblksize",
            "float4ByVal",
            "float8ByVal",
        ] {
            self.set(field, Default, USUAL);
        }
        self.set("default_char_signedness", Default, "what initdb finds on x86");
    }

    fn headers(&mut self, evidence: &Evidence) {
        let Some((owner, votes)) = evidence.wal.votes() else { return };
        let name = votes.example.file_name().map(|name| name.to_string_lossy().into_owned());
        let count = votes.in_pg_wal + votes.archived;
        let strangers: usize =
            evidence.wal.strangers().map(|(_, votes)| votes.in_pg_wal + votes.archived).sum();
        let all = if strangers > 0 {
            format!("{count} segments, {strangers} of others")
        } else {
            format!("{count} segments")
        };
        let source = format!("header of {} ({all})", name.unwrap_or_default());
        // With other clusters' segments in pg_wal the majority is no proof.
        let disputed = evidence.wal.strangers().any(|(other, votes)| {
            other.system_id != owner.system_id && (votes.in_pg_wal > 0 || evidence.wal.no_pg_wal)
        });
        let confidence = if disputed && !evidence.witness_names(owner.system_id) { Inferred } else { Proved };
        self.control.system_identifier = owner.system_id;
        self.set("system_identifier", confidence, source.clone());
        self.control.xlog_seg_size = owner.size.bytes() as u32;
        self.set("xlog_seg_size", confidence, source);
        if let Some(chain) = evidence.wal.main().filter(|chain| chain.found.records > 0) {
            let records = format!("{} records are where they must be", chain.found.records);
            self.set("xlog_blcksz", Proved, records.clone());
            self.set("maxAlign", Proved, records);
        }
    }

    fn pages(&mut self, evidence: &Evidence) {
        let sample = &evidence.files.sample;
        let mut sizes = sample.sizes.iter();
        if let (Some((&size, &pages)), None) = (sizes.next(), sizes.next())
            && size.is_power_of_two()
        {
            self.control.blcksz = size.into();
            self.set("blcksz", Proved, format!("headers of {pages} pages"));
        }
        if let Some((path, bytes)) = &evidence.files.split_relation
            && bytes % u64::from(self.control.blcksz) == 0
            && let Ok(blocks) = u32::try_from(bytes / u64::from(self.control.blcksz))
            && blocks > 0
        {
            self.control.relseg_size = blocks;
            self.set("relseg_size", Proved, format!("size of {}", evidence.short(path)));
        }
        if sample.pages == 0 {
            return;
        }
        // A torn or damaged page or two prove nothing against all others.
        let most = |count: u64| count * 10 >= sample.pages * 9;
        if most(sample.valid) {
            self.control.data_checksum_version = 1;
            let source = format!("right on {} of {} pages looked at", sample.valid, sample.pages);
            self.set("data_checksum_version", Inferred, source);
        } else if most(sample.without) {
            self.control.data_checksum_version = 0;
            let source = format!("none on {} of {} pages looked at", sample.without, sample.pages);
            self.set("data_checksum_version", Inferred, source);
        }
    }

    fn state(&mut self, judgement: &Judgement, newest: Option<&FoundCheckpoint>) {
        let Some((state, why)) = &judgement.state else { return };
        self.control.state = state.number();
        self.set("state", Inferred, *why);
        let Some(newest) = newest else { return };
        self.control.time = newest.body.time;
        self.set("time", LowerBound, "written at the newest checkpoint or later");
        self.control.unlogged_lsn = first_unlogged_lsn(self.major);
        let (confidence, source) = if newest.shutdown {
            (LowerBound, "where the counter starts; only pg_control holds it")
        } else {
            (Inferred, "an online checkpoint writes the first value")
        };
        self.set("unloggedLSN", confidence, source);
        // Every checkpoint clears them; only recovery sets them.
        for field in ["minRecoveryPoint", "minRecoveryPointTLI", "backupStartPoint", "backupEndPoint"] {
            self.set(field, Inferred, "cleared by a checkpoint, and no sign of recovery");
        }
        self.set("backupEndRequired", Inferred, "cleared by a checkpoint, and no sign of recovery");
    }

    fn checkpoint(&mut self, chain: &Chain, newest: &FoundCheckpoint, judgement: &Judgement) {
        let major = self.major;
        let confidence = if judgement.ahead.is_empty() { Proved } else { Inferred };
        let source = format!("{} at {}", newest.name(), newest.lsn.text(major));
        self.control.check_point = newest.lsn;
        self.control.check_point_copy = newest.body.clone();
        for field in CHECKPOINT_FIELDS {
            self.set(field, confidence, source.clone());
        }
        if self.control.prev_check_point.is_some() {
            let before = chain.found.checkpoints.iter().rev().nth(1);
            if newest.prev == Lsn::INVALID {
                self.set("prevCheckPoint", Inferred, format!("{source}, the first one after a reset"));
            } else if let Some(before) = before.filter(|before| chain.is_whole_from(before.lsn)) {
                self.control.prev_check_point = Some(before.lsn);
                let source = format!("{} at {}", before.name(), before.lsn.text(major));
                self.set("prevCheckPoint", confidence, source);
            }
        }
    }

    /// Without a checkpoint the records still say what was given out.
    fn counters(&mut self, chain: &Chain) {
        let major = self.major;
        let source = |lsn: Lsn| format!("record at {}", lsn.text(major));
        let copy = &mut self.control.check_point_copy;
        let mut known = Vec::new();
        if let Some((lsn, next)) = chain.found.next_xid {
            copy.next_xid = next.into();
            known.push(("nextXid", format!("{}, without its epoch", source(lsn))));
        }
        if let Some((lsn, oid)) = chain.found.next_oid {
            copy.next_oid = oid;
            known.push(("nextOid", format!("NEXTOID at {}", lsn.text(major))));
        }
        if let Some((lsn, next, offset)) = chain.found.next_multi {
            copy.next_multi = next;
            copy.next_multi_offset = offset;
            known.push(("nextMulti", source(lsn)));
            known.push(("nextMultiOffset", source(lsn)));
        }
        copy.this_timeline = chain.timeline;
        known.push(("ThisTimeLineID", "name of the newest segment".to_owned()));
        for (field, source) in known {
            self.set(field, LowerBound, source);
        }
    }

    fn settings(&mut self, chain: &Chain, judgement: &Judgement) {
        let confidence = if judgement.ahead.is_empty() { Proved } else { Inferred };
        let found = &chain.found;
        let reset = found.chain_start.as_ref().filter(|start| chain.is_whole_from(start.lsn));
        if let Some((lsn, settings)) = found.settings
            && reset.is_none_or(|reset| lsn > reset.lsn)
        {
            let at = format!("PARAMETER_CHANGE at {}", lsn.text(self.major));
            self.take_settings(&settings);
            // With minimal the server changes pg_control and writes no record of it.
            let (confidence, source) = if !chain.is_whole_from(lsn) {
                (Inferred, format!("{at}, before a gap in the WAL"))
            } else if settings.wal_level == 0 {
                (Inferred, format!("{at}; with minimal later changes leave no record"))
            } else {
                (confidence, at.clone())
            };
            for field in SETTINGS {
                self.set(field, confidence, source.clone());
            }
        } else if reset.is_some_and(is_of_resetwal) {
            // It writes the server's defaults, but for this.
            let settings = ParameterChange { wal_level: 0, ..default_settings(self.major) };
            self.take_settings(&settings);
            for field in SETTINGS {
                self.set(field, Inferred, "pg_resetwal wrote its own, no PARAMETER_CHANGE since");
            }
        } else {
            self.default_settings();
        }
        // pg_resetwal leaves the old level in its checkpoint and writes minimal into pg_control.
        if let Some(newest) = chain.newest().filter(|newest| newest.prev.is_valid())
            && let Some(level) = newest.body.wal_level
        {
            self.control.wal_level = level;
            let source = format!("{} at {}", newest.name(), newest.lsn.text(self.major));
            self.set("wal_level", confidence, source);
        }
    }

    fn default_settings(&mut self) {
        self.take_settings(&default_settings(self.major));
        for field in SETTINGS {
            self.set(field, Default, "the server's default, postgresql.conf is not read");
        }
    }

    fn take_settings(&mut self, settings: &ParameterChange) {
        let control = &mut self.control;
        control.max_connections = settings.max_connections;
        control.max_worker_processes = settings.max_worker_processes;
        control.max_wal_senders = control.max_wal_senders.and(settings.max_wal_senders);
        control.max_prepared_xacts = settings.max_prepared_xacts;
        control.max_locks_per_xact = settings.max_locks_per_xact;
        control.wal_level = settings.wal_level;
        control.wal_log_hints = settings.wal_log_hints;
        control.track_commit_timestamp = settings.track_commit_timestamp;
    }
}

/// What a server has without a configuration.
fn default_settings(major: Major) -> ParameterChange {
    ParameterChange {
        max_connections: 100,
        max_worker_processes: 8,
        max_wal_senders: Some(10),
        max_prepared_xacts: 0,
        max_locks_per_xact: if major >= Major::V19 { 128 } else { 64 },
        wal_level: 1,
        wal_log_hints: 0,
        track_commit_timestamp: 0,
    }
}

/// Is this first record of a chain pg_resetwal's, not initdb's? Only initdb has given out no transaction yet.
fn is_of_resetwal(start: &FoundCheckpoint) -> bool {
    start.shutdown && start.body.next_xid > 3
}

/// Fields that a checkpoint record holds.
pub const CHECKPOINT_FIELDS: &[&str] = &[
    "checkPoint",
    "redo",
    "ThisTimeLineID",
    "PrevTimeLineID",
    "fullPageWrites",
    "checkPointCopy.wal_level",
    "logicalDecodingEnabled",
    "nextXid",
    "nextXidEpoch",
    "nextOid",
    "nextMulti",
    "nextMultiOffset",
    "oldestXid",
    "oldestXidDB",
    "oldestMulti",
    "oldestMultiDB",
    "checkPointCopy.time",
    "oldestCommitTsXid",
    "newestCommitTsXid",
    "oldestActiveXid",
];

/// Fields that PARAMETER_CHANGE holds.
const SETTINGS: &[&str] = &[
    "wal_level",
    "wal_log_hints",
    "MaxConnections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_xacts",
    "max_locks_per_xact",
    "track_commit_timestamp",
];

/// Why nothing proves a field here, and what a wrong value does.
pub fn without_proof(field: &str) -> (&'static str, &'static str) {
    const BUILD: (&str, &str) =
        ("chosen when the server was compiled", "a server with another value refuses to start: harmless");
    const CHECKPOINT: (&str, &str) = (
        "no valid checkpoint record was found",
        "recovery starts at the wrong place, or ids are given out twice: silent loss",
    );
    const RECOVERY: (&str, &str) = (
        "only recovery sets it, and only pg_control holds it",
        "a copy may open before it is consistent: silent corruption",
    );
    const SETTING: (&str, &str) = (
        "no PARAMETER_CHANGE record in this WAL",
        "the next start as a primary writes its own; a hot standby may refuse to start",
    );
    match field {
        "mock_authentication_nonce" => (
            "random bytes from initdb, held nowhere else",
            "nothing: it hides which users exist at a password login",
        ),
        "float8ByVal"
        | "float4ByVal"
        | "relseg_size"
        | "slru_pages_per_segment"
        | "nameDataLen"
        | "indexMaxKeys"
        | "toast_max_chunk_size"
        | "loblksize"
        | "blcksz"
        | "xlog_blcksz"
        | "maxAlign" => BUILD,
        "default_char_signedness" => (
            "initdb takes it from the machine, pg_upgrade from the old cluster",
            "indexes that compare char, such as pg_trgm's, miss rows",
        ),
        "data_checksum_version" => (
            "too few pages with or without checksums were found",
            "off: damage goes unnoticed; on without checksums: every read fails",
        ),
        "catalog_version_no" => {
            ("no tablespace directory names it", "a server of another build refuses to start: harmless")
        }
        "pg_control_version" => ("no major is known", "the server refuses to start: harmless"),
        "system_identifier" | "xlog_seg_size" => (
            "no segment has a sound header",
            "the server refuses all of the WAL; backups and standbys do not fit",
        ),
        "state" => (
            "held nowhere else; a server that was started and wrote nothing leaves no trace",
            "\"shut down\" where it was not: nothing is replayed, changes are silently lost; \"in production\" is safe",
        ),
        "time" => ("held nowhere else", "nothing: it is shown in the server's log"),
        "unloggedLSN" => {
            ("held nowhere else", "after a crash nothing; else unlogged GiST indexes may have to be rebuilt")
        }
        "minRecoveryPoint"
        | "minRecoveryPointTLI"
        | "backupStartPoint"
        | "backupEndPoint"
        | "backupEndRequired" => RECOVERY,
        "prevCheckPoint" => {
            ("the checkpoint before is not in this WAL", "only that the newest one has no spare")
        }
        field if SETTINGS.contains(&field) => SETTING,
        _ => CHECKPOINT,
    }
}
