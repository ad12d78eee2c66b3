//! The words of a prediction: what comes out, and why it stops there. They are a contract (docs/json.md).

use crate::scan::wal_walk::WalFault;

/// What a start comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Archive recovery ended: open for writing, on a new timeline.
    Promoted,
    /// It stands at its target: paused, or stopped.
    StoppedAtTarget,
    /// Open for writing on the same timeline, after crash recovery or without any.
    Started,
    /// A standby: it waits for more WAL.
    WaitsAsStandby,
    /// It gave up after it had begun to replay.
    Failed,
    /// It gave up before.
    RefusedToStart,
}

impl Outcome {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Promoted => "promoted",
            Outcome::StoppedAtTarget => "stopped_at_target",
            Outcome::Started => "started",
            Outcome::WaitsAsStandby => "waits_as_standby",
            Outcome::Failed => "failed",
            Outcome::RefusedToStart => "refused_to_start",
        }
    }

    /// Does a server run afterwards, or wait at its target?
    pub fn is_up(self) -> bool {
        !matches!(self, Outcome::Failed | Outcome::RefusedToStart)
    }
}

/// Why it ended where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StopReason {
    TargetReached,
    TargetNotReached,
    StopBeforeConsistency,
    BackupEndNotReached,
    ConsistencyNotReached,
    NoCheckpointRecord,
    NoRedoRecord,
    NotAChild,
    MinRecoveryPointNotOnTimeline,
    NoSuchTimeline,
    BadHistoryFile,
    WrongSize,
    LabelVsControl,
    BadBackupLabel,
    BadControlFile,
    NoControlFile,
    ZeroLengthRecord,
    BadPrevLink,
    BadRecordCrc,
    BadResourceManager,
    BadMagic,
    BadInfoBits,
    ForeignSystem,
    UnexpectedPageaddr,
    OutOfSequenceTli,
    UnexpectedPageTli,
    ContrecordRequested,
    NoContrecordFlag,
    BadContrecordLength,
    BadRecordOffset,
    BadBlockHeader,
    ShortRead,
    WalMissing,
    MissingFile,
    /// A record or a page asks for a length that no server reads.
    BadRecordLength,
    /// A checkpoint record leads to a timeline that is not expected there.
    UnexpectedTimeline,
    /// WAL of wal_level = minimal.
    WalLevelMinimal,
    InsufficientSettings,
    /// A prepared transaction's record is asked for in a segment that is not in pg_wal.
    PreparedWalMissing,
    /// A setting that a start refuses.
    BadSetting,
    /// An incremental backup that pg_combinebackup has not put together.
    IncrementalBackup,
}

impl StopReason {
    /// Every one, with its word.
    pub const ALL: &[(StopReason, &str)] = &[
        (StopReason::TargetReached, "target_reached"),
        (StopReason::TargetNotReached, "target_not_reached"),
        (StopReason::StopBeforeConsistency, "stop_before_consistency"),
        (StopReason::BackupEndNotReached, "backup_end_not_reached"),
        (StopReason::ConsistencyNotReached, "consistency_not_reached"),
        (StopReason::NoCheckpointRecord, "no_checkpoint_record"),
        (StopReason::NoRedoRecord, "no_redo_record"),
        (StopReason::NotAChild, "not_a_child"),
        (StopReason::MinRecoveryPointNotOnTimeline, "min_recovery_point_not_on_timeline"),
        (StopReason::NoSuchTimeline, "no_such_timeline"),
        (StopReason::BadHistoryFile, "bad_history_file"),
        (StopReason::WrongSize, "wrong_size"),
        (StopReason::LabelVsControl, "label_vs_control"),
        (StopReason::BadBackupLabel, "bad_backup_label"),
        (StopReason::BadControlFile, "bad_control_file"),
        (StopReason::NoControlFile, "no_control_file"),
        (StopReason::ZeroLengthRecord, "zero_length_record"),
        (StopReason::BadPrevLink, "bad_prev_link"),
        (StopReason::BadRecordCrc, "bad_record_crc"),
        (StopReason::BadResourceManager, "bad_resource_manager"),
        (StopReason::BadMagic, "bad_magic"),
        (StopReason::BadInfoBits, "bad_info_bits"),
        (StopReason::ForeignSystem, "foreign_system"),
        (StopReason::UnexpectedPageaddr, "unexpected_pageaddr"),
        (StopReason::OutOfSequenceTli, "out_of_sequence_tli"),
        (StopReason::UnexpectedPageTli, "unexpected_page_tli"),
        (StopReason::ContrecordRequested, "contrecord_requested"),
        (StopReason::NoContrecordFlag, "no_contrecord_flag"),
        (StopReason::BadContrecordLength, "bad_contrecord_length"),
        (StopReason::BadRecordOffset, "bad_record_offset"),
        (StopReason::BadBlockHeader, "bad_block_header"),
        (StopReason::ShortRead, "short_read"),
        (StopReason::WalMissing, "wal_missing"),
        (StopReason::MissingFile, "missing_file"),
        (StopReason::BadRecordLength, "bad_record_length"),
        (StopReason::UnexpectedTimeline, "unexpected_timeline"),
        (StopReason::WalLevelMinimal, "wal_level_minimal"),
        (StopReason::InsufficientSettings, "insufficient_settings"),
        (StopReason::PreparedWalMissing, "prepared_wal_missing"),
        (StopReason::BadSetting, "bad_setting"),
        (StopReason::IncrementalBackup, "incremental_backup"),
    ];

    /// The word.
    pub fn name(self) -> &'static str {
        StopReason::ALL.iter().find(|(reason, _)| *reason == self).map_or("", |(_, name)| name)
    }

    /// The reason behind a failed test of the WAL.
    pub fn of(fault: &WalFault) -> StopReason {
        match fault {
            WalFault::EndOfRange { .. } | WalFault::NoPage { .. } => StopReason::WalMissing,
            WalFault::ShortPage { .. } => StopReason::ShortRead,
            WalFault::MagicNumber { .. } => StopReason::BadMagic,
            WalFault::InfoBits { .. } => StopReason::BadInfoBits,
            WalFault::SystemId { .. } | WalFault::SegmentSize { .. } | WalFault::BlockSize { .. } => {
                StopReason::ForeignSystem
            }
            WalFault::PageAddress { .. } => StopReason::UnexpectedPageaddr,
            WalFault::OutOfSequenceTimeline { .. } => StopReason::OutOfSequenceTli,
            WalFault::RecordOffset { .. } => StopReason::BadRecordOffset,
            WalFault::ContrecordRequested { .. } => StopReason::ContrecordRequested,
            WalFault::RecordLength { length: 0, .. } => StopReason::ZeroLengthRecord,
            WalFault::RecordLength { .. } => StopReason::BadRecordLength,
            WalFault::ResourceManager { .. } => StopReason::BadResourceManager,
            WalFault::PrevLink { .. } => StopReason::BadPrevLink,
            WalFault::NoContrecordFlag { .. } => StopReason::NoContrecordFlag,
            WalFault::ContrecordLength { .. } => StopReason::BadContrecordLength,
            WalFault::Crc { .. } => StopReason::BadRecordCrc,
            WalFault::Decode { .. } => StopReason::BadBlockHeader,
        }
    }
}
