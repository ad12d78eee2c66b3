//! What fills pg_wal, as facts.

use crate::plan::room::needed;
use crate::report::{Cell, Fact, Section};
use crate::scan::wal_room::{Blocks, WalRoom};

/// The state of pg_wal as a place.
pub(super) fn section(room: &WalRoom) -> Section {
    let fact = |key, heading: &str, value: Cell| Fact { key, heading: heading.to_owned(), value };
    let slots: Vec<_> = (room.slots.iter())
        .map(|slot| {
            vec![
                ("slot", slot.name.clone().into()),
                ("kind", if slot.logical { "logical" } else { "physical" }.into()),
                ("restart_lsn", slot.restart_lsn.into()),
                ("segments", slot.segments.into()),
                ("bytes", Cell::Bytes(slot.segments.saturating_mul(room.segment.bytes()))),
            ]
        })
        .collect();
    let names: Vec<String> =
        room.slots.iter().map(|slot| format!("{} ({} segments)", slot.name, slot.segments)).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let blocking = room.blocking.as_ref();
    let facts = vec![
        fact("pg_wal", "pg_wal is in:", Cell::Path(room.pg_wal.clone())),
        fact("own_file_system", "On a file system of its own:", Cell::Flag(room.own_file_system)),
        fact("free_bytes", "Free there:", Cell::Bytes(room.room.free)),
        fact("total_bytes", "Size of it:", Cell::Bytes(room.room.total)),
        fact("wal_bytes", "pg_wal holds:", Cell::Bytes(room.bytes)),
        fact("max_wal_size", "max_wal_size:", Cell::Bytes(room.max_wal_size)),
        fact("needed_bytes", "Room to give it:", Cell::Bytes(needed(room))),
        fact("ready", "Files that wait to be archived:", (room.ready.len() as u64).into()),
        fact("first_ready", "First of them:", room.ready.first().cloned().into()),
        fact(
            "archive",
            "archive_command copies to:",
            room.archive.clone().map_or(Cell::None, |(path, _)| Cell::Path(path)),
        ),
        fact(
            "archive_free_bytes",
            "Free there:",
            room.archive
                .as_ref()
                .and_then(|(_, room)| *room)
                .map_or(Cell::None, |room| Cell::Bytes(room.free)),
        ),
        fact(
            "blocking_file",
            "Is in the archive already:",
            blocking.map_or(Cell::None, |file| Cell::Path(file.path.clone())),
        ),
        fact(
            "blocking_why",
            "With:",
            blocking
                .map(|file| match file.blocks {
                    Blocks::Size(_) => "another size",
                    Blocks::Same => "the same content",
                    Blocks::Content => "another content",
                })
                .into(),
        ),
        fact("slots", "Slots that hold WAL:", Cell::Spelled(Box::new(Cell::Things(slots)), names)),
    ];
    Section::Facts { key: "wal_room", heading: "Room for WAL", facts }
}
