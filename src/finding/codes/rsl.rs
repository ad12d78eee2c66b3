//! Codes about replication slots.

codes! {
    UNREADABLE = "RSL-001", Fatal, "could not read replication slot file",
        means "Every start reads the state of all slots and stops with PANIC at one that it cannot read.",
        next "Copy the data directory, then move the slot's directory out of pg_replslot: the slot is lost, nothing else. Make a new one and set the standby or subscriber up again if it lacks WAL.";
    CORRUPT = "RSL-002", Fatal, "replication slot file is corrupted",
        means "Magic number, version, length or checksum are not those that a server of this major writes: it stops with PANIC at every start.",
        next "Copy the data directory, then move the slot's directory out of pg_replslot: the slot is lost, nothing else. If the version is that of another major the directory was copied from there.";
    WAL_LEVEL = "RSL-003", Fatal, "logical replication slot exists, but wal_level < logical",
        means "pg_control records a wal_level with which a server does not start while the slot exists.",
        next "Set wal_level = logical, or drop the slot, or in a copy that does not need it move its directory out of pg_replslot.";
    LOST = "RSL-004", Warning, "requested WAL segment has already been removed",
        means "The segment that the slot needs first is not in pg_wal. The client cannot go on, unless it can take the WAL from the archive.",
        next "Look for the segment in the archive (wal-gaps): a standby with restore_command goes on from there. A logical slot has to be made anew, with a new copy of the data.";
    INVALIDATED = "RSL-005", Warning, "replication slot was invalidated",
        means "The server gave the slot up, for the cause in the evidence. It keeps nothing any more and its client cannot go on.",
        next "Drop it and set its client up again.";
    LEFTOVER = "RSL-006", Note, "leftovers of a replication slot",
        means "A directory ending in .tmp is a slot that was being made or dropped, state.tmp a write that did not end. A start removes them.",
        next "Nothing.";
    FOREIGN = "RSL-007", Note, "file is none of PostgreSQL's",
        means "A start looks at directories only and passes over it.",
        next "Find out where it comes from.";
    NOT_PERSISTENT = "RSL-008", Note, "slot is not persistent",
        means "Ephemeral and temporary slots end with their session: a start removes it.",
        next "Nothing.";
    FUTURE = "RSL-009", Damage, "replication slot is ahead of the cluster",
        means "The slot asks for WAL or rows of the future: its directory is of another state than pg_control, or of another cluster.",
        next "Find out which of them is wrong: a slot copied from elsewhere can be moved away.";
    OTHER_NAME = "RSL-010", Damage, "slot has another name than its directory",
        means "The directory was renamed or copied. A start takes the name in the file, and the next write of the state fails or goes to the other directory.",
        next "Remove the copy, or rename the directory back, while the server is stopped.";
}
