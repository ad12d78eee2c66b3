//! What fills the file system of pg_wal: files that wait to be archived, WAL that slots hold, and the room that is left.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::cluster::Target;
use super::metadata::settings::Settings;
use super::metadata::slots::Slots;
use super::page_rules::{Cluster, Rules};
use crate::pg::{Lsn, Major, SegNo, WalFileName, WalSegSize};
use crate::source::archive::archive_status;
use crate::source::file::{DataFile, ReadAt};

/// `max_wal_size`, where nobody says.
const DEFAULT_MAX_WAL_SIZE: u64 = 1 << 30;

/// Room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes for a user who is not root.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl Room {
    /// Of the file system that a path is on.
    pub fn of(path: &Path) -> Option<Room> {
        let found = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }
}

/// A slot that keeps WAL which nothing else needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingSlot {
    /// Its name.
    pub name: String,
    /// Logical, or of a standby?
    pub logical: bool,
    /// The oldest WAL that it needs.
    pub restart_lsn: Lsn,
    /// Segments in pg_wal from there up to the one in which recovery begins.
    pub segments: u64,
}

/// Why a file of an archive keeps `test ! -f` from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Another size than the file that is to be archived: a copy that was cut.
    Size(u64),
    /// The same content: it was archived, and nobody noted it.
    Same,
    /// Another content: of another server, or damaged.
    Content,
}

/// A file that is in the archive before it was archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockingFile {
    /// The file in the archive.
    pub path: PathBuf,
    /// The file in pg_wal.
    pub name: String,
    /// How they differ.
    pub blocks: Blocks,
}

/// The state of pg_wal as a place.
#[derive(Debug)]
pub struct WalRoom {
    /// Where it is, with links resolved.
    pub pg_wal: PathBuf,
    /// It is on another file system than the rest.
    pub own_file_system: bool,
    /// Room there.
    pub room: Room,
    /// Room of the file system of the data directory.
    pub data: Option<Room>,
    /// Size of a segment.
    pub segment: WalSegSize,
    /// Bytes in it.
    pub bytes: u64,
    /// `max_wal_size`.
    pub max_wal_size: u64,
    /// Names that wait to be archived, the oldest first.
    pub ready: Vec<String>,
    /// Slots that hold WAL, the one that holds most first.
    pub slots: Vec<HoldingSlot>,
    /// The archive that archive_command writes into, as far as it is a plain copy, and the room there.
    pub archive: Option<(PathBuf, Option<Room>)>,
    /// What keeps the first of them from being archived.
    pub blocking: Option<BlockingFile>,
}

impl WalRoom {
    /// Looks at it; none if there is no pg_control, or no pg_wal.
    pub fn scan(cluster: &Cluster, settings: &Settings, archives: &[PathBuf]) -> Option<WalRoom> {
        let root = cluster.directory.root();
        let pg_wal = std::fs::canonicalize(root.join("pg_wal")).ok()?;
        let control = &cluster.trusted()?.detected.control;
        let segment = WalSegSize::new(control.xlog_seg_size.into())?;
        let (mut bytes, mut names) = (0, Vec::new());
        for entry in std::fs::read_dir(&pg_wal).ok()?.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += if metadata.is_file() { metadata.len() } else { 0 };
            names.extend(WalFileName::parse(entry.file_name().as_encoded_bytes()));
        }
        let status = archive_status(&pg_wal).unwrap_or_default();
        let ready: Vec<String> = status.into_iter().filter(|file| !file.done).map(|file| file.name).collect();
        let segments: Vec<SegNo> = names.iter().filter_map(|name| name.segno(segment)).collect();
        let redo = segment.segno(control.check_point_copy.redo);
        let archive = archived_into(settings.value("archive_command"));
        let wherever = archive.iter().chain(archives);
        let first = ready.first();
        Some(WalRoom {
            own_file_system: device(&pg_wal) != device(root),
            room: Room::of(&pg_wal)?,
            data: Room::of(root),
            segment,
            bytes,
            max_wal_size: memory(settings.value("max_wal_size")).unwrap_or(DEFAULT_MAX_WAL_SIZE),
            slots: slots(cluster, &segments, redo, segment),
            blocking: first.and_then(|name| wherever.into_iter().find_map(|to| blocking(to, &pg_wal, name))),
            archive: archive.map(|path| (path.clone(), Room::of(&path))),
            ready,
            pg_wal,
        })
    }

    /// There is no room for another segment: the next one that is needed stops the server.
    pub fn is_full(&self) -> bool {
        self.room.free < self.segment.bytes()
    }
}

fn device(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.dev())
}

fn slots(cluster: &Cluster, segments: &[SegNo], redo: SegNo, size: WalSegSize) -> Vec<HoldingSlot> {
    let rules = Rules::new(Some(cluster), &Target::Cluster(cluster.directory.root().to_owned()));
    let found = Slots::scan(&cluster.directory, rules.abi, cluster.major().unwrap_or(Major::V18));
    let mut slots: Vec<HoldingSlot> = found
        .slots
        .iter()
        .filter_map(|slot| slot.data())
        .filter(|slot| slot.restart_lsn.is_valid())
        .map(|slot| {
            let from = size.segno(slot.restart_lsn);
            let held = segments.iter().filter(|segno| (from..redo).contains(*segno)).count();
            HoldingSlot {
                name: slot.name.clone(),
                logical: slot.is_logical(),
                restart_lsn: slot.restart_lsn,
                segments: held as u64,
            }
        })
        .filter(|slot| slot.segments > 0)
        .collect();
    slots.sort_by(|a, b| b.segments.cmp(&a.segments).then_with(|| a.name.cmp(&b.name)));
    slots
}

/// Is a file of this name in the archive, although it has not been archived?
fn blocking(archive: &Path, pg_wal: &Path, name: &str) -> Option<BlockingFile> {
    let path = archive.join(name);
    let (there, here) = (DataFile::open(&path).ok()?, DataFile::open(&pg_wal.join(name)).ok()?);
    let blocks = match there.length() == here.length() {
        false => Blocks::Size(there.length()),
        true if same(&there, &here) => Blocks::Same,
        true => Blocks::Content,
    };
    Some(BlockingFile { path, name: name.to_owned(), blocks })
}

fn same(one: &DataFile, two: &DataFile) -> bool {
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    loop {
        match (one.read_full_at(&mut ours, at), two.read_full_at(&mut theirs, at)) {
            (Ok(0), Ok(0)) => return true,
            (Ok(count), Ok(other)) if count == other && ours.get(..count) == theirs.get(..count) => {
                at += count as u64;
            }
            _ => return false,
        }
    }
}

/// The directory of an archive_command that copies to `/directory/%f`.
fn archived_into(command: &str) -> Option<PathBuf> {
    let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    let directory = words.filter_map(|word| word.strip_suffix("/%f")).find(|path| path.starts_with('/'))?;
    (!directory.contains(['%', '$', '*'])).then(|| PathBuf::from(directory))
}

/// An amount of memory as a setting has it; without a unit in megabytes, as max_wal_size counts.
fn memory(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match value.get(digits.len()..)?.trim() {
        "kB" => 10,
        "" | "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory() {
        let found = ["1GB", "4 MB", "64", "512kB", "x", "", "1.5GB", "3m"].map(memory);
        assert_eq!(
            found,
            [Some(1 << 30), Some(4 << 20), Some(64 << 20), Some(512 << 10), None, None, None, None]
        );
        assert_eq!(memory("99999999999999TB"), None);
    }

    #[test]
    fn where_a_plain_copy_goes() {
        for command in ["test ! -f /a/b/%f && cp %p /a/b/%f", "cp \"%p\" \"/a/b/%f\"", "cp %p /a/b/%f"] {
            assert_eq!(archived_into(command), Some(PathBuf::from("/a/b")), "{command}");
        }
        for command in ["pgbackrest --stanza=x archive-push %p", "cp %p \"$A/%f\"", "/bin/true", "cp %p b/%f"]
        {
            assert_eq!(archived_into(command), None, "{command}");
        }
    }
}
