//! A replication slot: `pg_replslot/{name}/state`.
//!
//! | offset | size | field | |
//! |--:|--:|---|---|
//! | 0 | 4 | magic | 0x1051CA1 |
//! | 4 | 4 | checksum | CRC-32C of everything from offset 8 on |
//! | 8 | 4 | version | 2; 16: 3; from 17 on 5 |
//! | 12 | 4 | length | of what follows |
//! | 16 | | slotdata | [`SlotData`], below |
//!
//! History of slotdata: 13 added invalidated_at, which 16 replaced by a cause; 14 added two-phase decoding; 17 added
//! synced and failover. 13 and 14 changed the length without a new version, and 18 gave the causes other numbers
//! without one. Source: `ReplicationSlotOnDisk`, `ReplicationSlotPersistentData` in replication/slot.c and slot.h.

use super::crc32c::crc32c;
use super::reader::{Abi, Reader, Truncated};
use crate::pg::{Lsn, Major, Oid};

/// `SLOT_MAGIC`.
pub const SLOT_MAGIC: u32 = 0x0105_1CA1;
/// `ReplicationSlotOnDiskConstantSize`: what stands before slotdata.
pub const HEADER_SIZE: usize = 16;
/// `ReplicationSlotOnDiskNotChecksummedSize`.
const NOT_CHECKSUMMED: usize = 8;
/// `NAMEDATALEN` of a default build.
const NAME_LENGTH: usize = 64;

/// A state file.
#[derive(Clone, Debug)]
pub struct ReplicationSlot {
    /// `magic`.
    pub magic: u32,
    /// `checksum`.
    pub checksum: u32,
    /// `version`.
    pub version: u32,
    /// `length`: of slotdata.
    pub length: u32,
    /// The checksum that the bytes have; `None` if there are fewer than `length` says.
    pub calculated: Option<u32>,
    /// `slotdata`, if all of its fields are there.
    pub data: Result<SlotData, Truncated>,
}

/// `ReplicationSlotPersistentData`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotData {
    /// `name`, up to its NUL.
    pub name: String,
    /// `database`; 0: a physical slot.
    pub database: Oid,
    /// `persistency`: 0 persistent, 1 ephemeral, 2 temporary.
    pub persistency: i32,
    /// `xmin`: rows that this transaction still sees are kept; 0: none.
    pub xmin: u32,
    /// `catalog_xmin`: the same for rows of catalogs.
    pub catalog_xmin: u32,
    /// `restart_lsn`: WAL from here on is kept; 0: none is.
    pub restart_lsn: Lsn,
    /// `invalidated_at` of 13 to 15: WAL up to here was removed although the slot needed it.
    pub invalidated_at: Option<Lsn>,
    /// `invalidated` of 16 and later.
    pub invalidated: Option<i32>,
    /// `confirmed_flush`: what a logical client has.
    pub confirmed_flush: Lsn,
    /// `two_phase_at` (14: `initial_consistent_point`); 14+.
    pub two_phase_at: Option<Lsn>,
    /// `two_phase`: prepared transactions are decoded; 14+.
    pub two_phase: Option<bool>,
    /// `plugin`: the logical slot's output plugin.
    pub plugin: String,
    /// `synced`: copied from a primary; 17+.
    pub synced: Option<bool>,
    /// `failover`: to be copied to standbys; 17+.
    pub failover: Option<bool>,
}

impl ReplicationSlot {
    /// `SLOT_VERSION` of a major.
    pub fn version_of(major: Major) -> u32 {
        match major {
            Major::V17 | Major::V18 | Major::V19 => 5,
            Major::V16 => 3,
            _ => 2,
        }
    }

    /// `ReplicationSlotOnDiskV2Size`: the length that a server of this major writes and accepts.
    pub fn length_of(major: Major) -> u32 {
        match major {
            Major::V10 | Major::V11 | Major::V12 => 160,
            Major::V13 => 168,
            _ => 184,
        }
    }

    /// Reads a file, whatever its magic and version; fails if the header is not whole.
    pub fn read(bytes: &[u8], abi: Abi, major: Major) -> Result<ReplicationSlot, Truncated> {
        let mut reader = Reader::new(bytes, abi);
        let magic = reader.u32("magic")?;
        let checksum = reader.u32("checksum")?;
        let version = reader.u32("version")?;
        let length = reader.u32("length")?;
        let end = usize::try_from(length).ok().and_then(|length| length.checked_add(HEADER_SIZE));
        let calculated = end.and_then(|end| bytes.get(NOT_CHECKSUMMED..end)).map(crc32c);
        let data = SlotData::read(&mut reader, major);
        Ok(ReplicationSlot { magic, checksum, version, length, calculated, data })
    }
}

impl SlotData {
    fn read(reader: &mut Reader, major: Major) -> Result<SlotData, Truncated> {
        let name = text(reader.array::<NAME_LENGTH>("name")?);
        let database = reader.u32("database")?;
        let persistency = reader.i32("persistency")?;
        let xmin = reader.u32("xmin")?;
        let catalog_xmin = reader.u32("catalog_xmin")?;
        let restart_lsn = Lsn(reader.u64("restart_lsn")?);
        let (mut invalidated_at, mut invalidated) = (None, None);
        if major >= Major::V16 {
            invalidated = Some(reader.i32("invalidated")?);
        } else if major >= Major::V13 {
            invalidated_at = Some(Lsn(reader.u64("invalidated_at")?));
        }
        let confirmed_flush = Lsn(reader.u64("confirmed_flush")?);
        let (mut two_phase_at, mut two_phase) = (None, None);
        if major >= Major::V14 {
            two_phase_at = Some(Lsn(reader.u64("two_phase_at")?));
            two_phase = Some(reader.u8("two_phase")? != 0);
        }
        let plugin = text(reader.array::<NAME_LENGTH>("plugin")?);
        let (mut synced, mut failover) = (None, None);
        if major >= Major::V17 {
            synced = Some(reader.u8("synced")? != 0);
            failover = Some(reader.u8("failover")? != 0);
        }
        Ok(SlotData {
            name,
            database,
            persistency,
            xmin,
            catalog_xmin,
            restart_lsn,
            invalidated_at,
            invalidated,
            confirmed_flush,
            two_phase_at,
            two_phase,
            plugin,
            synced,
            failover,
        })
    }

    /// Does it belong to logical decoding?
    pub fn is_logical(&self) -> bool {
        self.database != 0
    }

    /// `persistency` in words.
    pub fn persistency_name(&self) -> &'static str {
        match self.persistency {
            0 => "persistent",
            1 => "ephemeral",
            2 => "temporary",
            _ => "unknown",
        }
    }

    /// Why the server gave it up, as `pg_replication_slots.invalidation_reason` has it.
    pub fn cause(&self, major: Major) -> Option<&'static str> {
        if self.invalidated_at.is_some_and(Lsn::is_valid) {
            return Some("wal_removed");
        }
        let flags = major >= Major::V18;
        Some(match self.invalidated? {
            0 => return None,
            1 => "wal_removed",
            2 => "rows_removed",
            3 if !flags => "wal_level_insufficient",
            4 if flags => "wal_level_insufficient",
            8 if flags => "idle_timeout",
            _ => "unknown",
        })
    }
}

/// Up to the first NUL.
fn text(bytes: [u8; NAME_LENGTH]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header, name, and the fields of 18 in order.
    fn slot_of_18() -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [SLOT_MAGIC, 0, 5, 184] {
            bytes.extend(word.to_le_bytes());
        }
        let mut name = [0; 64];
        name[..2].copy_from_slice(b"l1");
        bytes.extend(name);
        for word in [5_u32, 0, 0, 745] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0x160_9D48_u64.to_le_bytes());
        bytes.extend([4_u32, 0].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(0x160_9D80_u64.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.push(0);
        let mut plugin = [0; 64];
        plugin[..8].copy_from_slice(b"pgoutput");
        bytes.extend(plugin);
        bytes.extend([0, 1, 0, 0, 0, 0, 0]);
        let crc = crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn every_field_of_18() {
        let bytes = slot_of_18();
        assert_eq!(bytes.len(), 200);
        let slot = ReplicationSlot::read(&bytes, Abi::LITTLE_64, Major::V18).unwrap();
        assert_eq!((slot.magic, slot.version, slot.length), (SLOT_MAGIC, 5, 184));
        assert_eq!(slot.calculated, Some(slot.checksum));
        let data = slot.data.unwrap();
        assert_eq!((data.name.as_str(), data.plugin.as_str()), ("l1", "pgoutput"));
        assert_eq!((data.database, data.catalog_xmin), (5, 745));
        assert_eq!(data.restart_lsn, Lsn(0x160_9D48));
        assert_eq!(data.confirmed_flush, Lsn(0x160_9D80));
        assert_eq!((data.synced, data.failover), (Some(false), Some(true)));
        assert_eq!(data.cause(Major::V18), Some("wal_level_insufficient"));
        assert_eq!(data.cause(Major::V17), Some("unknown"));
    }

    #[test]
    fn a_short_file_has_no_checksum() {
        let bytes = slot_of_18();
        let slot = ReplicationSlot::read(&bytes[..198], Abi::LITTLE_64, Major::V18).unwrap();
        assert_eq!(slot.calculated, None);
        let slot = ReplicationSlot::read(&bytes[..100], Abi::LITTLE_64, Major::V18).unwrap();
        assert_eq!(slot.data.unwrap_err().field, "restart_lsn");
        assert!(ReplicationSlot::read(&bytes[..15], Abi::LITTLE_64, Major::V18).is_err());
    }
}
