//! What pg_resetwal itself would take, without any option.
//!
//! | pg_control | what it does |
//! |---|---|
//! | not there | nothing: asks for `touch global/pg_control` |
//! | too short, or of another version | guesses every value: those of a cluster that was just made |
//! | wrong CRC | takes the values as they stand, and calls them guessed |
//! | sound | takes the values of its last checkpoint, whatever was written since |
//!
//! The first new WAL segment is the one behind the newest name in pg_wal, whosever file that is. A guess takes 16 MB for
//! the segment size, also to read those names. Measured with the pg_resetwal of every major; see tests/live_resetwal.rs.

use super::value::Field;
use crate::format::control::{CONTROL_FILE_SIZE, ControlFile, DbState, Layout};
use crate::format::reader::{Abi, Reader};
use crate::pg::wal_file::parse_hex8;
use crate::pg::{Lsn, Major, SystemId, TimelineId, WalFileName, WalSegSize};
use crate::scan::page_rules::Cluster;

/// Where its values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuessOrigin {
    /// A sound pg_control.
    Control,
    /// One with a wrong CRC.
    BadCrc,
    /// Nothing.
    Defaults,
}

impl GuessOrigin {
    /// In a few words.
    pub fn text(self) -> &'static str {
        match self {
            GuessOrigin::Control => "the last checkpoint in pg_control",
            GuessOrigin::BadCrc => "pg_control with its wrong CRC",
            GuessOrigin::Defaults => "guessed: the values of a new cluster",
        }
    }
}

/// What it would take.
#[derive(Clone, Debug)]
pub struct Guess {
    /// From where.
    pub origin: GuessOrigin,
    /// It would stop and ask for `touch global/pg_control` first.
    pub needs_touch: bool,
    /// It would refuse without `-f`.
    pub needs_force: bool,
    /// The values; those of a guess are `pg_resetwal`'s.
    pub control: ControlFile,
    /// The newest segment in pg_wal, or that of REDO; `None`: pg_wal cannot be read, and it would stop.
    newest: Option<u64>,
}

impl Guess {
    /// Looks at what pg_resetwal of this major would look at.
    pub fn of(cluster: &Cluster, major: Major) -> Option<Guess> {
        let scan = cluster.control.as_ref().ok();
        let abi = scan.map_or(Abi::LITTLE_64, |scan| scan.detected.layout.abi);
        let layout = Layout { major: Major::from_control_version(major.version().control_version)?, abi };
        let mut bytes = scan.map(|scan| scan.bytes.clone()).unwrap_or_default();
        let have = bytes.len();
        bytes.resize(CONTROL_FILE_SIZE, 0);
        let stored = ControlFile::read(&mut Reader::new(&bytes, abi), layout.major).ok()?;
        let of_this_version =
            have >= layout.size() && stored.pg_control_version == major.version().control_version;
        let usable = of_this_version && WalSegSize::new(stored.xlog_seg_size.into()).is_some();
        let right = scan.is_some_and(|scan| scan.detected.crc_is_right());
        let (origin, control) = match (usable, right) {
            (true, true) => (GuessOrigin::Control, stored),
            (true, false) => (GuessOrigin::BadCrc, stored),
            (false, _) => (GuessOrigin::Defaults, defaults(layout, major)?),
        };
        let newest = WalSegSize::new(control.xlog_seg_size.into()).and_then(|size| {
            Some(newest_name(cluster, size)?.max(size.segno(control.check_point_copy.redo)))
        });
        let clean = control.db_state() == Some(DbState::ShutDown) && origin == GuessOrigin::Control;
        let needs_touch = cluster.control.as_ref().is_err_and(|error| error.is_not_found());
        Some(Guess { origin, needs_touch, needs_force: !clean, control, newest })
    }

    /// One of its values.
    pub fn value(&self, field: Field) -> Option<u64> {
        let copy = &self.control.check_point_copy;
        Some(match field {
            Field::NextXid => copy.next_xid_low().into(),
            Field::NextXidEpoch => copy.next_xid >> 32,
            Field::OldestXid => copy.oldest_xid.into(),
            Field::NextMulti => copy.next_multi.into(),
            Field::OldestMulti => copy.oldest_multi.into(),
            Field::NextMultiOffset => copy.next_multi_offset,
            Field::NextOid => copy.next_oid.into(),
            Field::OldestCommitTsXid => copy.oldest_commit_ts_xid.into(),
            Field::NewestCommitTsXid => copy.newest_commit_ts_xid.into(),
            Field::NextWalSegment => self.end_of_xlog(self.segment_size()?)?,
            Field::WalSegSize => self.control.xlog_seg_size.into(),
            Field::CharSignedness => self.control.default_char_signedness?.into(),
        })
    }

    /// `FindEndOfXLOG`: the segment of this size behind all that it finds. It takes positions from its own size, so that
    /// after a guess they lie far ahead where segments are smaller than 16 MB.
    pub fn end_of_xlog(&self, size: WalSegSize) -> Option<u64> {
        let own = self.segment_size()?.bytes();
        let end = self.newest?.saturating_mul(own).saturating_add(own - 1);
        Some((end / size.bytes()).saturating_add(1))
    }

    /// The first WAL file after a reset without options.
    pub fn first_segment(&self) -> Option<WalFileName> {
        let size = self.segment_size()?;
        Some(WalFileName::new(self.control.check_point_copy.this_timeline, self.end_of_xlog(size)?, size))
    }

    /// Size of its WAL segments.
    pub fn segment_size(&self) -> Option<WalSegSize> {
        WalSegSize::new(self.control.xlog_seg_size.into())
    }
}

/// `GuessControlValues`: the fields that a reset keeps.
fn defaults(layout: Layout, major: Major) -> Option<ControlFile> {
    let zeros = [0; CONTROL_FILE_SIZE];
    let mut control = ControlFile::read(&mut Reader::new(&zeros, layout.abi), layout.major).ok()?;
    let version = major.version();
    control.pg_control_version = version.control_version;
    control.catalog_version_no = version.catalog_version;
    // It makes a new one from the time.
    control.system_identifier = SystemId(0);
    control.state = DbState::ShutDown.number();
    let copy = &mut control.check_point_copy;
    copy.redo = Lsn(crate::pg::wal_file::SIZE_OF_XLOG_LONG_PHD);
    copy.this_timeline = TimelineId(1);
    copy.prev_timeline = TimelineId(1);
    copy.next_xid = crate::pg::ids::FIRST_NORMAL_TRANSACTION_ID.into();
    copy.oldest_xid = crate::pg::ids::FIRST_NORMAL_TRANSACTION_ID;
    // FirstBootstrapObjectId, which was 12000 for three majors.
    copy.next_oid = if (Major::V12..=Major::V14).contains(&major) { 12000 } else { 10000 };
    copy.next_multi = 1;
    copy.oldest_multi = 1;
    copy.next_multi_offset = u64::from(major >= Major::V19);
    control.xlog_seg_size = WalSegSize::DEFAULT.bytes() as u32;
    Some(control)
}

/// The newest segment number among the names in pg_wal, `.partial` ones too; 0 if there is none. Names are not asked
/// whether a server with such segments could give them.
pub(super) fn newest_name(cluster: &Cluster, size: WalSegSize) -> Option<u64> {
    let entries = std::fs::read_dir(cluster.directory.join("pg_wal")).ok()?;
    let names = entries.flatten().map(|entry| entry.file_name().into_encoded_bytes());
    let numbers = names.filter_map(|name| {
        let name = name.strip_suffix(b".partial").unwrap_or(&name);
        let part = |from: usize| parse_hex8(name.get(from..from + 8)?);
        if name.len() != 24 {
            return None;
        }
        let (_, log, seg) = (part(0)?, part(8)?, part(16)?);
        Some(u64::from(log) * size.segments_per_log() + u64::from(seg))
    });
    Some(numbers.max().unwrap_or(0))
}
