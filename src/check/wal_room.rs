//! Is there room for another WAL segment, and what fills pg_wal?

use crate::finding::{Finding, Place, rec};
use crate::scan::wal_room::{Blocks, WalRoom};

/// There is none.
pub fn no_room(room: &WalRoom) -> Finding {
    let than = if room.is_full() { "a segment" } else { "max_wal_size" };
    let headline =
        format!("{} bytes are free for pg_wal, less than {than}: No space left on device", room.room.free);
    let mut finding = Finding::new(rec::NO_ROOM, Place::path(&room.pg_wal), headline)
        .measured("pg_wal holds (bytes)", room.bytes)
        .measured("max_wal_size (bytes)", room.max_wal_size);
    if let Some(first) = room.ready.first() {
        finding = finding
            .measured("files that wait to be archived", format!("{}, from {first} on", room.ready.len()));
    }
    if let Some(file) = &room.blocking {
        let why = match file.blocks {
            Blocks::Size(bytes) => format!("{bytes} bytes"),
            Blocks::Same => "the same content".to_owned(),
            Blocks::Content => "another content".to_owned(),
        };
        finding =
            finding.measured("it is in the archive already", format!("{} ({why})", file.path.display()));
    }
    for slot in &room.slots {
        finding = finding.measured(
            "held by a replication slot",
            format!("{}: {} segments from {} on", slot.name, slot.segments, slot.restart_lsn),
        );
    }
    finding
}
