//! Codes about the records of the WAL.

codes! {
    CHECKSUM = "WAL-001", Damage, "incorrect resource manager data checksum in record",
        means "A record is not the one that the server wrote. Recovery ends before it: without an error at the end of the archive, although valid records follow. What follows was written by the same server, but its pages may depend on what is lost.",
        next "Look for another copy of the segment: pg_wal, a standby, another archive. If there is none, recover to the position before the record, or restore a backup that was started behind it.";
    RECORD_HEADER = "WAL-002", Damage, "invalid record header in WAL",
        means "The fixed part of a record says something impossible (length, resource manager), so that neither it nor the rest of its page can be read. Zeros here are the usual end of WAL, but valid records follow, so that this is a hole: a lost write, or a bad sector replaced by zeros.",
        next "As for WAL-001.";
    PREV_LINK = "WAL-003", Damage, "record with incorrect prev-link",
        means "A record is sound, but does not name the one before it: here begins WAL of another history. A segment was replaced by one of another cluster, of an old copy, or of a timeline that branched off before.",
        next "Run pgforensic wal-gaps on the same directories: it compares system identifiers and timelines. Find out which of the two parts is the right one before anything is recovered.";
    CONTRECORD = "WAL-004", Damage, "record does not continue on the next page",
        means "A record reaches over its page, but the next page does not hold its rest: the page is of another time than the one before it. Only the last pages before a crash look so, and then nothing valid follows.",
        next "As for WAL-001.";
    PAGE_HEADER = "WAL-005", Damage, "invalid page header inside the WAL",
        means "A page is no page of this WAL, yet valid records follow behind it: a lost write, a bad sector, or something else wrote into the file.",
        next "As for WAL-001.";
    PAGE_ADDRESS = "WAL-006", Damage, "unexpected pageaddr inside the WAL",
        means "A page belongs to another position, yet valid records follow behind it: a lost write in a recycled segment, or a copy that put pages into the wrong place.",
        next "As for WAL-001. If whole segments have wrong addresses, look at how they were copied.";
    TIMELINE = "WAL-007", Damage, "out-of-sequence timeline ID in WAL",
        means "A page is of an older timeline than the one before it: WAL of two timelines is mixed in one history.",
        next "Run pgforensic wal-gaps: it shows where timelines branch off. Keep the files of servers that were promoted apart.";
    MISSING = "WAL-008", Damage, "WAL segment is missing",
        means "Segments are not there, and later ones are. Recovery ends before them without an error.",
        next "Look for the segments in pg_wal, on standbys and in other archives; pgforensic wal-gaps names them and says where they may still be.";
    SHORT = "WAL-009", Damage, "WAL segment is too short",
        means "The file ends before its segment does: a copy that was broken off, a full disk, or a compressed stream that is cut or damaged.",
        next "Copy the segment again. If the source is gone, what is in front of the cut can be used: pad it with zeros to its full size.";
    PARTS = "WAL-010", Damage, "record cannot be taken apart",
        means "The checksum of a record is right, but its parts contradict each other: it was damaged before it was written, or by somebody who set the checksum. The server stops there with the same message.",
        next "As for WAL-001. Test the memory of the machine that wrote it.";
    END = "WAL-011", Damage, "WAL does not end as a server leaves it",
        means "Nothing valid follows, but what stands there is neither zeros, nor an older segment's page, nor the beginning of a record: the last part may be damaged, and how much is lost behind it cannot be said.",
        next "As for WAL-001. On a server that crashed, compare with the WAL that its standbys received.";
    FOREIGN = "WAL-012", Damage, "WAL file is from different database system",
        means "A segment was written by another cluster. Its records are left out, even where they would fit: clusters that were made alike have the same positions and prev-links.",
        next "Find out how it got there, and take the right segment from pg_wal, a standby or another archive. Two servers must never archive into one directory.";
    MINIMAL = "WAL-013", Damage, "WAL was generated with wal_level=minimal, cannot continue recovering",
        means "While wal_level is minimal, bulk changes are not in the WAL. No recovery may pass this place: servers stop with FATAL; those up to 13 go on if hot_standby is off, with a WARNING, and lose data. Backups taken before it reach no further.",
        next "For a moment behind it use a backup that was started after wal_level was replica or logical again. If there is none, stop before the position given.";
    PREPARED = "WAL-014", Note, "prepared transaction without an end",
        means "A transaction was prepared, and this WAL has neither its COMMIT PREPARED nor its ROLLBACK PREPARED. After recovery it is still prepared, holds its locks, and keeps VACUUM from cleaning up until somebody ends it.",
        next "After the recovery look into pg_prepared_xacts and decide with the application's owner whether to commit or to roll back.";
}
