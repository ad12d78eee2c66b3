//! Codes about one block: what goes with it, and where it is to be had.

codes! {
    ROWS_LOST = "BLK-001", Damage, "rows are lost with this block",
        means "If the block is given up (zero_damaged_pages = on replaces it by an empty page, in memory at first and on disk when it is written), all its rows are gone: also those that are intact. The rows that can still be read are listed with their values. Indexes keep their entries for them, foreign keys may be left without the row that they point to.",
        next "Take the block from a sound source instead, if the report names one. Otherwise save the block (dd) and the listed rows first. Only on a copy: ignore_checksum_failure = on reads what is intact where the header is sane, zero_damaged_pages = on gives up whole blocks; then dump the table, load it into a new cluster, and insert the saved rows.";
    REBUILT = "BLK-002", Warning, "nothing is lost with this block: it can be built again",
        means "The block belongs to an index, a free space map or a visibility map: all that is in it comes from the table.",
        next "An index: REINDEX, when its table is sound (scan-pages for the table's file first). A visibility map: pg_truncate_visibility_map of pg_visibility, or remove the _vm file of a stopped cluster's copy. A free space map: remove the _fsm file of a stopped cluster's copy; VACUUM fills both again.";
    IMAGE = "BLK-003", Note, "full-page image in the WAL is the newest state of the block",
        means "The WAL holds the whole page, and no later record up to the end of the WAL changes it.",
        next "The safe way is to restore a backup and to replay the WAL. Without one: --save-image writes the page as replay leaves it, with pd_lsn and checksum; on a copy of the stopped data directory put it into the file with dd (conv=notrunc) at the offset that is named here, and compare the table with its indexes (amcheck) before it is used.";
    IMAGE_AND_RECORDS = "BLK-004", Note, "the WAL can make the block anew, but not by an image alone",
        means "The newest image (or the record that makes the page anew) is followed by records that change the page. Only replay can apply them: putting the image into the file would lose these changes, and the rows would contradict indexes and pg_xact.",
        next "Restore a base backup from before the image and replay the WAL to its end on another machine; dump the table there, or switch over to it.";
    COPY_SOUND = "BLK-005", Note, "a copy of the data directory has a sound version of the block",
        means "The same block of the same cluster is sound there. How new it is, the evidence says: pd_lsn of both, and how many records in the WAL change it afterwards.",
        next "Replay the WAL from that copy's backup_label on, on another machine, and take the table from there. A block may be copied alone only if no record changes it afterwards, the server is stopped, and it was stopped cleanly before.";
    COPY_USELESS = "BLK-006", Warning, "a copy of the data directory is no source for the block",
        means "The copy is of another cluster, does not hold the block, or is damaged there as well.",
        next "Look for an older or another copy: damage that a backup took over tells that it happened before that backup.";
    NO_SOURCE = "BLK-007", Damage, "no source for the damaged block was found",
        means "Neither the WAL nor a copy that was named has the block.",
        next "Name more sources: --wal for the archive, --backup for unpacked base backups and for standbys' data directories. A standby has its own copy of the page and is most likely sound. Without any: see BLK-001.";
    LOST_WRITE = "BLK-008", Damage, "the page on disk is older than the WAL says",
        means "The page is sound, but a record changed it before the last checkpoint, which must have written it: the write never reached the disk, or an older version of the file was put in its place. No checksum shows this.",
        next "Distrust the storage (write cache without battery, snapshots, a file copied back) and every other file on it: compare tables with their indexes (amcheck, heapallindexed). Restore a backup and replay the WAL.";
    NEWER_THAN_WAL = "BLK-009", Warning, "the page is newer than the WAL that was given",
        means "The page's pd_lsn lies behind the end of the WAL: what the WAL can give back is older than what was on disk. If pd_lsn itself is damaged it says nothing.",
        next "Name the rest of the WAL (--wal, several are possible): the archive, and pg_wal of the server.";
}
