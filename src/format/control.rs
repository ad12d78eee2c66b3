//! `global/pg_control`: what the cluster is, in which state it was left, and where recovery starts.
//!
//! ```text
//! 0        8          12               16     24    32
//! | sysid  | version  | catalog version| state| time| checkPoint, [prevCheckPoint,] CheckPoint copy,
//! | recovery: minRecoveryPoint .. backupEndRequired | settings: wal_level .. track_commit_timestamp
//! | build: maxAlign .. loblksize, float?ByVal | data_checksum_version | nonce[32] | crc | zeros
//! 0                                                                                288..308    8192
//! ```
//!
//! One structure of 288 to 312 bytes at offset 0 of an 8 kB file, in the writer's byte order and alignment.
//! The CRC-32C at its end covers all bytes before it. What came and went is conditional where it stands in
//! [`ControlFile::read`]. Whether the values make sense is not judged here.
//! Source: `ControlFileData`, catalog/pg_control.h.

use super::checkpoint::CheckPoint;
use super::reader::{Abi, Field, Reader, Truncated};
use crate::format::crc32c::crc32c;
use crate::pg::version::VERSIONS;
use crate::pg::{Lsn, Major, SystemId, TimelineId};

/// `PG_CONTROL_FILE_SIZE`: size of the file, mostly zeros.
pub const CONTROL_FILE_SIZE: usize = 8192;

/// `FLOATFORMAT_VALUE`: proves that the file's doubles are read as they were written.
pub const FLOATFORMAT_VALUE: f64 = 1_234_567.0;

/// The contents of pg_control. Names are those of the server's structure.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlFile {
    /// Made by initdb, shared by all copies of the cluster.
    pub system_identifier: SystemId,
    /// `PG_CONTROL_VERSION` of the writer: says which layout this is.
    pub pg_control_version: u32,
    /// `CATALOG_VERSION_NO` of the writer: says which major this is.
    pub catalog_version_no: u32,
    /// `DBState`, see [`DbState`].
    pub state: i32,
    /// Last change of this file, seconds since 1970.
    pub time: i64,
    /// The newest checkpoint record.
    pub check_point: Lsn,
    /// 10: the checkpoint before.
    pub prev_check_point: Option<Lsn>,
    /// A copy of that record's body.
    pub check_point_copy: CheckPoint,
    /// Fake LSN counter for unlogged relations.
    pub unlogged_lsn: Lsn,
    /// Archive recovery is consistent only from here on.
    pub min_recovery_point: Lsn,
    /// And on this timeline.
    pub min_recovery_point_timeline: TimelineId,
    /// Set while recovery of a base backup has not reached the backup's end.
    pub backup_start_point: Lsn,
    /// The end that recovery must reach, for a backup taken from a standby.
    pub backup_end_point: Lsn,
    /// The end is marked by a record in the WAL instead.
    pub backup_end_required: u8,
    /// `wal_level`: 0 minimal, 1 replica, 2 logical.
    pub wal_level: i32,
    /// `wal_log_hints`.
    pub wal_log_hints: u8,
    /// `max_connections`.
    pub max_connections: i32,
    /// `max_worker_processes`.
    pub max_worker_processes: i32,
    /// 12+: `max_wal_senders`.
    pub max_wal_senders: Option<i32>,
    /// `max_prepared_transactions`.
    pub max_prepared_xacts: i32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_xact: i32,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: u8,
    /// Alignment of 8-byte values in tuples.
    pub max_align: u32,
    /// Must read as [`FLOATFORMAT_VALUE`].
    pub float_format: f64,
    /// Size of a data page in bytes.
    pub blcksz: u32,
    /// Blocks in a segment file of a relation.
    pub relseg_size: u32,
    /// 19+: pages in a file of pg_xact and its like.
    pub slru_pages_per_segment: Option<u32>,
    /// Size of a WAL page in bytes.
    pub xlog_blcksz: u32,
    /// Size of a WAL segment in bytes.
    pub xlog_seg_size: u32,
    /// Longest identifier in bytes, with its terminator.
    pub name_data_len: u32,
    /// Most columns of an index.
    pub index_max_keys: u32,
    /// Bytes of a TOAST chunk.
    pub toast_max_chunk_size: u32,
    /// Bytes of a large object's chunk.
    pub loblksize: u32,
    /// 10 to 12: float4 passed by value.
    pub float4_by_val: Option<u8>,
    /// float8 and other 8-byte types passed by value.
    pub float8_by_val: u8,
    /// 19+: the checksum version that initdb chose.
    pub data_checksum_version_init: Option<u32>,
    /// 0 off, 1 on.
    pub data_checksum_version: u32,
    /// 18+: plain `char` is signed.
    pub default_char_signedness: Option<u8>,
    /// Random bytes for logins of users who do not exist.
    pub mock_authentication_nonce: [u8; 32],
    /// CRC-32C of everything before.
    pub crc: u32,
}

impl ControlFile {
    /// Reads the structure as `layout`'s server writes it.
    pub fn read(reader: &mut Reader, layout: Major) -> Result<ControlFile, Truncated> {
        let control = ControlFile {
            system_identifier: SystemId(reader.u64("system_identifier")?),
            pg_control_version: reader.u32("pg_control_version")?,
            catalog_version_no: reader.u32("catalog_version_no")?,
            state: reader.i32("state")?,
            time: reader.i64("time")?,
            check_point: Lsn(reader.u64("checkPoint")?),
            prev_check_point: (layout <= Major::V10)
                .then(|| reader.u64("prevCheckPoint").map(Lsn))
                .transpose()?,
            check_point_copy: CheckPoint::read(reader, layout)?,
            unlogged_lsn: Lsn(reader.u64("unloggedLSN")?),
            min_recovery_point: Lsn(reader.u64("minRecoveryPoint")?),
            min_recovery_point_timeline: TimelineId(reader.u32("minRecoveryPointTLI")?),
            backup_start_point: Lsn(reader.u64("backupStartPoint")?),
            backup_end_point: Lsn(reader.u64("backupEndPoint")?),
            backup_end_required: reader.u8("backupEndRequired")?,
            wal_level: reader.i32("wal_level")?,
            wal_log_hints: reader.u8("wal_log_hints")?,
            max_connections: reader.i32("MaxConnections")?,
            max_worker_processes: reader.i32("max_worker_processes")?,
            max_wal_senders: (layout >= Major::V12).then(|| reader.i32("max_wal_senders")).transpose()?,
            max_prepared_xacts: reader.i32("max_prepared_xacts")?,
            max_locks_per_xact: reader.i32("max_locks_per_xact")?,
            track_commit_timestamp: reader.u8("track_commit_timestamp")?,
            max_align: reader.u32("maxAlign")?,
            float_format: reader.f64("floatFormat")?,
            blcksz: reader.u32("blcksz")?,
            relseg_size: reader.u32("relseg_size")?,
            slru_pages_per_segment: (layout >= Major::V19)
                .then(|| reader.u32("slru_pages_per_segment"))
                .transpose()?,
            xlog_blcksz: reader.u32("xlog_blcksz")?,
            xlog_seg_size: reader.u32("xlog_seg_size")?,
            name_data_len: reader.u32("nameDataLen")?,
            index_max_keys: reader.u32("indexMaxKeys")?,
            toast_max_chunk_size: reader.u32("toast_max_chunk_size")?,
            loblksize: reader.u32("loblksize")?,
            float4_by_val: (layout <= Major::V12).then(|| reader.u8("float4ByVal")).transpose()?,
            float8_by_val: reader.u8("float8ByVal")?,
            data_checksum_version_init: (layout >= Major::V19)
                .then(|| reader.u32("data_checksum_version_init"))
                .transpose()?,
            data_checksum_version: reader.u32("data_checksum_version")?,
            default_char_signedness: (layout >= Major::V18)
                .then(|| reader.u8("default_char_signedness"))
                .transpose()?,
            mock_authentication_nonce: reader.array("mock_authentication_nonce")?,
            crc: reader.u32("crc")?,
        };
        reader.align8();
        Ok(control)
    }

    /// The state, if it is one that a server writes.
    pub fn db_state(&self) -> Option<DbState> {
        DbState::from_number(self.state)
    }

    /// The newest position that the cluster is known to have reached.
    ///
    /// A standby goes on after its last restartpoint; `minRecoveryPoint` follows it.
    pub fn reached(&self) -> Lsn {
        self.check_point.max(self.min_recovery_point)
    }

    /// The timeline on which [`reached`](Self::reached) lies.
    pub fn reached_timeline(&self) -> TimelineId {
        if self.min_recovery_point > self.check_point {
            self.min_recovery_point_timeline
        } else {
            self.check_point_copy.this_timeline
        }
    }
}

/// `DBState`: how the server left the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DbState {
    StartingUp,
    ShutDown,
    ShutDownInRecovery,
    ShuttingDown,
    InCrashRecovery,
    InArchiveRecovery,
    InProduction,
}

impl DbState {
    /// The state with this number on disk.
    pub fn from_number(number: i32) -> Option<DbState> {
        Some(match number {
            0 => DbState::StartingUp,
            1 => DbState::ShutDown,
            2 => DbState::ShutDownInRecovery,
            3 => DbState::ShuttingDown,
            4 => DbState::InCrashRecovery,
            5 => DbState::InArchiveRecovery,
            6 => DbState::InProduction,
            _ => return None,
        })
    }

    /// The number on disk.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// pg_controldata's words.
    pub fn name(self) -> &'static str {
        match self {
            DbState::StartingUp => "starting up",
            DbState::ShutDown => "shut down",
            DbState::ShutDownInRecovery => "shut down in recovery",
            DbState::ShuttingDown => "shutting down",
            DbState::InCrashRecovery => "in crash recovery",
            DbState::InArchiveRecovery => "in archive recovery",
            DbState::InProduction => "in production",
        }
    }

    /// Did the server stop on its own terms?
    pub fn is_clean(self) -> bool {
        matches!(self, DbState::ShutDown | DbState::ShutDownInRecovery)
    }
}

/// A way of laying the structure out: whose version and what machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The oldest major with this layout.
    pub major: Major,
    /// Byte order and alignment.
    pub abi: Abi,
}

impl Layout {
    /// Every layout of every major, the common machine first.
    pub fn all() -> impl Iterator<Item = Layout> {
        let layouts =
            VERSIONS.iter().filter(|v| Major::from_control_version(v.control_version) == Some(v.major));
        [Abi::LITTLE_64, Abi::I386, Abi::BIG_64]
            .into_iter()
            .flat_map(move |abi| layouts.clone().map(move |v| Layout { major: v.major, abi }))
    }

    /// Name, position and size of every field, in disk order.
    pub fn fields(self) -> Vec<Field> {
        self.measure().0
    }

    /// Size of the whole structure: what the server reads of the file.
    pub fn size(self) -> usize {
        self.measure().1
    }

    fn measure(self) -> (Vec<Field>, usize) {
        let zeros = [0; CONTROL_FILE_SIZE];
        let mut reader = Reader::new(&zeros, self.abi);
        // Cannot run out of the zeros; if it could, the layout tests would see it.
        let _ = ControlFile::read(&mut reader, self.major);
        let size = reader.offset();
        (reader.into_fields(), size)
    }

    /// Offset of the CRC, which is also the number of bytes that it covers.
    pub fn crc_offset(self) -> usize {
        self.fields().iter().find(|field| field.name == "crc").map_or(0, |field| field.bytes.start)
    }
}

/// How [`detect`] found out which layout the bytes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectedBy {
    /// The control file version is a known one, in this byte order.
    Version,
    /// The version is unknown or spoilt, but the CRC is right where this layout has it.
    CrcPosition,
    /// Neither; the catalog version is a known one.
    CatalogVersion,
    /// Nothing in the file; what the caller knew from elsewhere, or the newest layout as a last resort.
    Hint,
}

/// A control file's bytes with the layout found for them.
#[derive(Clone, Debug)]
pub struct Detected {
    /// The layout.
    pub layout: Layout,
    /// How it was found.
    pub by: DetectedBy,
    /// CRC in the file, at this layout's position; 0 where the file is too short to have one.
    pub stored_crc: u32,
    /// CRC of the bytes that this layout covers.
    pub calculated_crc: u32,
    /// The contents, read through this layout from a copy padded with zeros to full size.
    pub control: ControlFile,
    /// How many bytes of the structure the file really holds.
    pub have: usize,
}

impl Detected {
    /// Is the stored CRC the right one?
    pub fn crc_is_right(&self) -> bool {
        self.stored_crc == self.calculated_crc && self.have >= self.layout.size()
    }

    /// The major that wrote the file, if the catalog version says so.
    pub fn major(&self) -> Option<Major> {
        Major::from_catalog_version(self.control.catalog_version_no)
            .filter(|major| major.version().control_version == self.control.pg_control_version)
    }

    /// The major whose notation to print in: the writer's, else the layout's oldest.
    pub fn notation(&self) -> Major {
        self.major().unwrap_or(self.layout.major)
    }
}

/// Finds the layout of a control file from its bytes, and reads it.
///
/// `hint` is what the surroundings say (PG_VERSION); it is used only where the bytes say nothing.
pub fn detect(bytes: &[u8], hint: Option<Major>) -> Detected {
    let have = bytes.len().min(CONTROL_FILE_SIZE);
    let mut padded = [0; CONTROL_FILE_SIZE];
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = *from;
    }
    let candidates: Vec<Detected> =
        Layout::all().filter_map(|layout| read_as(&padded, have, layout)).collect();
    let version_fits = |detected: &&Detected| {
        Major::from_control_version(detected.control.pg_control_version) == Some(detected.layout.major)
    };
    let found = |by, detected: &Detected| Detected { by, ..detected.clone() };
    // i386 and x86-64 differ only behind the version, so there the CRC decides.
    candidates
        .iter()
        .find(|d| version_fits(d) && d.crc_is_right())
        .or_else(|| candidates.iter().find(version_fits))
        .map(|d| found(DetectedBy::Version, d))
        .or_else(|| {
            let fitting = candidates.iter().find(|d| d.crc_is_right() && d.stored_crc != 0);
            fitting.map(|d| found(DetectedBy::CrcPosition, d))
        })
        .or_else(|| {
            let known = candidates.iter().find(|d| {
                let major = Major::from_catalog_version(d.control.catalog_version_no);
                major.is_some_and(|major| layout_major(major) == d.layout.major)
            });
            known.map(|d| found(DetectedBy::CatalogVersion, d))
        })
        .or_else(|| {
            let wanted = layout_major(hint.unwrap_or(Major::V18));
            candidates.iter().find(|d| d.layout.major == wanted).map(|d| found(DetectedBy::Hint, d))
        })
        .unwrap_or_else(|| unreachable!("every layout reads from a full-size buffer"))
}

/// The oldest major with the same layout.
fn layout_major(major: Major) -> Major {
    Major::from_control_version(major.version().control_version).unwrap_or(major)
}

fn read_as(padded: &[u8; CONTROL_FILE_SIZE], have: usize, layout: Layout) -> Option<Detected> {
    let mut reader = Reader::new(padded, layout.abi);
    let control = ControlFile::read(&mut reader, layout.major).ok()?;
    let covered = padded.get(..layout.crc_offset())?;
    Some(Detected {
        layout,
        by: DetectedBy::Version,
        stored_crc: control.crc,
        calculated_crc: crc32c(covered),
        control,
        have,
    })
}

/// Offsets at which a CRC of everything before stands, in either byte order: where another build's
/// structure may end. Tried for files whose version no layout here knows.
pub fn crc_positions(bytes: &[u8]) -> Vec<usize> {
    const SMALLEST: usize = 128;
    const LARGEST: usize = 1024;
    (SMALLEST..LARGEST)
        .step_by(4)
        .filter(|&at| {
            let Some((covered, rest)) = bytes.split_at_checked(at) else { return false };
            let Some(stored) = rest.first_chunk::<4>() else { return false };
            let crc = crc32c(covered);
            *stored != [0; 4] && (*stored == crc.to_le_bytes() || *stored == crc.to_be_bytes())
        })
        .collect()
}

/// A single bit whose change would make the CRC right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlippedBit {
    /// The byte.
    pub offset: usize,
    /// The bit in it, 0 the lowest.
    pub bit: u8,
    /// The field that the byte belongs to; `None` between fields.
    pub field: Option<&'static str>,
}

/// All single bits that would explain a wrong CRC. CRC-32C tells all of them apart at this length, so there
/// is at most one per layout.
pub fn flipped_bits(bytes: &[u8], layout: Layout) -> Vec<FlippedBit> {
    let crc_offset = layout.crc_offset();
    let Some(structure) = bytes.get(..crc_offset + 4) else { return Vec::new() };
    let fields = layout.fields();
    let mut trial = structure.to_vec();
    let mut found = Vec::new();
    for offset in 0..trial.len() {
        for bit in 0..8 {
            let flip = |trial: &mut Vec<u8>| {
                if let Some(byte) = trial.get_mut(offset) {
                    *byte ^= 1 << bit;
                }
            };
            flip(&mut trial);
            if let Some((covered, stored)) = trial.split_at_checked(crc_offset) {
                let crc = crc32c(covered);
                let crc = if layout.abi.big_endian { crc.to_be_bytes() } else { crc.to_le_bytes() };
                if stored == crc {
                    let field = fields.iter().find(|f| f.bytes.contains(&offset)).map(|f| f.name);
                    found.push(FlippedBit { offset, bit, field });
                }
            }
            flip(&mut trial);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_crc_positions_of_every_layout() {
        let expected = [
            (Major::V10, 288, 296),
            (Major::V11, 280, 288),
            (Major::V12, 288, 296),
            (Major::V13, 288, 296),
            (Major::V17, 288, 296),
            (Major::V18, 292, 296),
            (Major::V19, 308, 312),
        ];
        let i386 = [272, 264, 268, 268, 272, 276, 292];
        for ((major, crc, size), crc32) in expected.into_iter().zip(i386) {
            for abi in [Abi::LITTLE_64, Abi::BIG_64] {
                let layout = Layout { major, abi };
                assert_eq!((layout.crc_offset(), layout.size()), (crc, size), "{major}");
            }
            assert_eq!(Layout { major, abi: Abi::I386 }.crc_offset(), crc32, "{major} i386");
        }
        assert_eq!(Layout::all().count(), 3 * 7);
    }
}
