//! Codes about what the server's log reports. A log is a report and not a measurement: the codes that a look at the
//! files confirms stand at the end.

codes! {
    INVALID_PAGE = "LOG-001", Warning, "invalid page in block",
        means "The server read this page and refused it: its checksum does not fit, or its header is impossible. Statements that touch the block fail; the rows in it are unreadable, all others are not affected. page verification failed before it says that the checksum is the reason (its numbers are decimal, those of pg_checksums hexadecimal).",
        next "Copy the block as shown, and then the whole cluster with its WAL, before anything is changed. Find out what the relation is: an index is built again with REINDEX, a table is restored from a backup or a standby. Do not set zero_damaged_pages on the original: it does not repair, it replaces the page by an empty one for good. Do not run VACUUM FULL, REINDEX or a dump that writes back before the copy is made. scan-pages says what happened to the page.";
    ZEROED = "LOG-002", Warning, "invalid page; zeroing out page",
        means "zero_damaged_pages is on: the server put an empty page into the place of this one in its memory. As soon as it is written, or by VACUUM, the old content is gone from the file.",
        next "Switch zero_damaged_pages off and stop the server in the immediate mode, if the rows matter: until the page is written the file still has its content. Copy the block as shown before the next start, and restore it from a backup or a standby. Do not run VACUUM.";
    CHECKSUM = "LOG-003", Warning, "checksum verification failed",
        means "A tool, a base backup, or a server with ignore_checksum_failure found a page whose checksum does not fit. The checksums of tools are hexadecimal. A base backup that reports it holds the damaged page.",
        next "As for LOG-001. Do not run pg_checksums --disable and --enable: it gives the damaged page a right checksum and so hides the damage for ever. Keep older backups until the whole cluster has been scanned; they may have the sound page.";
    READ = "LOG-004", Warning, "could not read block",
        means "The system could not read these bytes: Input/output error is a failing disk, controller or network volume, or a file system that detected damage itself; a part of a block was read where the file ends within it.",
        next "Look into the kernel's log. Do not repeat the read again and again, and run no file system repair on the only copy: copy the whole device with a tool that survives errors (ddrescue), work on the copy, and restore onto other storage.";
    BEHIND_END = "LOG-005", Warning, "block is behind the end of the relation's file",
        means "Something pointed to a block that is not in the file: the file, or a segment before, was cut (a copy onto a full disk, a lost or partial restore), or the index that points there is older or newer than its table.",
        next "Compare the sizes of all segment files of the relation with a backup or a standby: all but the last must have the full size. Do not fill the file up with zeros and do not let the server extend it: what belongs there is then invisible for good. If the table is whole, REINDEX the index that the statement used.";
    RELATION_FILE = "LOG-006", Warning, "could not open file of a relation",
        means "The catalog knows the relation and its file cannot be opened. No such file or directory: it was deleted, not restored, or its tablespace is not mounted or linked. For a statement that began before a DROP or TRUNCATE it is harmless.",
        next "Look at the tablespace's link and mount first. Look for the file in lost+found, snapshots, backups. Do not create an empty file in its place before a copy was made: the server then takes the table to be empty, and writes into it.";
    WRITE = "LOG-007", Warning, "could not write to or extend the file",
        means "The page is still in the server's memory and in the WAL; the file has its old content, or ends within a block. No space left on device and quotas are the usual reasons. After a failed fsync the system may have thrown the data away: the server stops, and recovery writes them again from the WAL.",
        next "Make space outside of pg_wal (never delete a file there), or enlarge the volume; then let the server recover by itself. After an Input/output error as for LOG-004.";
    BEYOND_EOF = "LOG-008", Warning, "unexpected data beyond EOF",
        means "The server extended the relation and found content where the file should have ended. Known causes are a file system or kernel that reports a wrong size for a moment, and a second server on the same files.",
        next "Make sure that only one server uses the directory (containers, other hosts). Look at the blocks from this one on before anything is inserted again; with a right checksum they hold rows that the server did not see.";
    TRANSACTION = "LOG-009", Warning, "could not access status of transaction",
        means "A tuple names this transaction, and the file of pg_xact that says whether it committed is missing or too short. Either the file was lost, or the tuple's xmin or xmax is rubbish: a number that no transaction has had yet points to a damaged page, not to a lost file.",
        next "Compare the number with NextXID and oldestXID of pg_control (controldata) first. If it lies between them, take the missing file from a backup of the same cluster, or a standby, and recover. Do not create a file of zeros before you have read what is there: zeros say that every transaction in it was never finished, and its rows vanish. Do not run pg_resetwal. If the number is out of range, look for the damaged page instead.";
    MULTIXACT = "LOG-010", Warning, "MultiXactId cannot be resolved",
        means "A tuple's xmax names a group of lockers that pg_multixact does not know: the files were lost or truncated too early, or the tuple is damaged. Rows with such an xmax can be neither read by some statements nor vacuumed.",
        next "Compare the number with NextMultiXactId and oldestMultiXid of pg_control. In range: restore pg_multixact from a backup of the same state. Out of range: the tuple's page is damaged, see LOG-001. Do not run pg_resetwal -m with guessed values.";
    TOAST = "LOG-011", Warning, "missing or unexpected chunk of a TOAST value",
        means "A long value is kept in pieces in the table's TOAST table. One is missing, or not the one expected: a page of the TOAST table was lost or zeroed, its index is damaged, or the row is an old one whose value was removed already. Only statements that read this column of this row fail; count(*) does not.",
        next "REINDEX the TOAST table first: if only its index is damaged, nothing is lost. Otherwise find the row (the query shown), restore its value from a backup, and only then overwrite the column. Do not delete the row before the rest of it is saved, and do not let autovacuum work on the table meanwhile.";
    FREEZE = "LOG-012", Warning, "tuple is older than the table's relfrozenxid",
        means "VACUUM found a transaction id in a tuple that the table's catalog row says cannot be there any more. VACUUM cannot finish the table, its age grows, and at wraparound the server stops accepting commands. Causes: known bugs of old minor versions, a damaged tuple header, a cluster that was copied while running.",
        next "VACUUM VERBOSE says in its CONTEXT which block and offset it was at. Check the table with pg_amcheck (14 and later), dump its rows, and look for known bugs of exactly this minor version. On a copy, pg_surgery's heap_force_freeze or heap_force_kill on that row. Do not update pg_class.relfrozenxid by hand.";
    HEAP = "LOG-013", Warning, "damaged tuple or page of a table",
        means "The page could be read and its structure contradicts itself: a line pointer, tuple header or value points where nothing can be. With checksums on and right, the damage happened in memory or by a bug. A tuple that was concurrently updated or deleted is harmless now and then, and points to a damaged catalog only where nothing else runs.",
        next "Copy the block as shown. Read the other rows by ctid and save them. Restore from a backup; if a standby has the row, take it from there. On a copy only: pg_surgery to remove the broken tuple.";
    INDEX = "LOG-014", Warning, "damaged index",
        means "The index contradicts itself or its table. Statements that use it fail, or silently give too few or wrong rows; a unique index may have let duplicates in. Torn pages, a changed collation (glibc, ICU) and bugs are the usual reasons.",
        next "Do not trust results that used the index; set enable_indexscan and enable_bitmapscan to off to read past it. Copy the files before REINDEX, if you want to know why. Scan the table too (scan-pages): an index is built again from it. After REINDEX of a unique index look for duplicates. If the collation changed, REINDEX all indexes on text.";
    WAL_END = "LOG-015", Note, "invalid record length: end of the WAL",
        means "At the end of valid WAL there are zeros, or old WAL. After a crash, and on a standby that has caught up, this line is normal: recovery is complete here.",
        next "Nothing, if this is where the WAL should end. If transactions are missing, wal-gaps and wal-dump show whether WAL lies behind it.";
    WAL_DAMAGED = "LOG-016", Warning, "invalid record in WAL",
        means "The server stopped to read WAL here, because the record or page is not what should stand there. During crash recovery the server takes that for the end of the WAL and starts without an error: what lies behind is lost. A recycled segment with old WAL (unexpected pageaddr) is the normal end; a wrong checksum in the middle is damage.",
        next "Before the next start keep a copy of pg_wal: the server overwrites what lies behind this place. wal-dump goes on behind the damage and says what would be lost. Look for another copy of the segment (archive, standby, pg_receivewal). Do not run pg_resetwal, and do not delete the segment.";
    WAL_REMOVED = "LOG-017", Warning, "requested WAL segment is not there",
        means "A standby, a replication slot or recovery asks for a WAL segment that is no longer in pg_wal.",
        next "Look for the segment in the archive (wal-gaps) and let restore_command give it. If no copy exists, that standby must be made anew. Do not copy a segment of another timeline or cluster under this name.";
    CHECKPOINT = "LOG-018", Warning, "could not locate a valid checkpoint record",
        means "pg_control (or backup_label) names a place in the WAL where recovery must begin, and that WAL is missing or damaged. The server does not start.",
        next "controldata names the segment; look for it in the archive and on standbys, and put it into pg_wal of a copy. If the directory is a restored backup, check that backup_label is there and restore_command is set. Do not remove backup_label and do not run pg_resetwal: both start the server with an inconsistent database.";
    FLUSH = "LOG-019", Warning, "xlog flush request is not satisfied",
        means "A page carries an LSN that the WAL has not reached yet: the page is newer than the WAL (files of different times were mixed, WAL was lost, pg_resetwal was run), or its header is damaged.",
        next "Find the page: its CONTEXT names block and relation. scan-pages counts pages that are newer than the WAL. Do not advance the WAL with pg_resetwal to silence the message: it hides which pages are wrong. Restore a consistent state.";
    MISSING_PAGES = "LOG-020", Warning, "WAL contains references to invalid pages",
        means "Recovery has records for pages that are not in the files and were not dropped later in the WAL: files are missing or too short (an incomplete base backup, a lost tablespace), or backup_label was removed.",
        next "The lines before name relation and block. Check that the backup is complete (pg_verifybackup), with all tablespaces and its backup_label, and restore again. ignore_invalid_pages is for a copy whose loss you accept, never for the original.";
    MANIFEST = "LOG-021", Warning, "file differs from the backup's manifest",
        means "pg_verifybackup found that a file of the backup is missing, or not the file that the server sent.",
        next "Do not restore this backup over anything. Verify the other backups; copy this one again if its source still exists.";
    CONTROL = "LOG-022", Warning, "pg_control cannot be used",
        means "The control file is missing, damaged, or of another major than the server's programs. No server starts without it.",
        next "Check the path, the mount and the version of the programs first. Copy the data directory, then take the file from a copy of the same state; controldata says what is wrong, and with --from-wal what the WAL proves of it. Do not run pg_resetwal before the values are proved (pgforensic plan).";
    CONSISTENCY = "LOG-023", Warning, "WAL ends before the data are consistent",
        means "Recovery replayed all WAL that it got, and the data files hold changes from behind that: the end of the backup or the minimum recovery point was not reached, or the WAL on the way cannot be replayed.",
        next "Look for what is missing: pgforensic wal-gaps, and check with --archive. Use another backup if it cannot be had. Do not remove backup_label, and do not run pg_resetwal: both open a database whose tables are of different moments.";
    TARGET = "LOG-024", Warning, "recovery target cannot be reached",
        means "The WAL ends before the target, or the target lies before the point at which the data are consistent. Nothing is lost by this line: the start can be repeated.",
        next "Compare the target with what the archive holds (wal-find, wal-gaps). Choose another one, or another backup or timeline; check --archive --target-… says beforehand what comes of it.";
    WRONG_SIZE = "LOG-025", Warning, "archive file has wrong size",
        means "restore_command gave a file that is not as large as a segment. The server stops; it looks for no other copy.",
        next "Look for a whole copy of the segment, and move the cut one aside. An archive_command must copy to another name, fsync, and rename.";
    TIMELINE = "LOG-026", Warning, "timeline that is not of this server's history",
        means "Recovery, or the WAL, follows a timeline that did not branch off where these data are: a history file of a test restore, a backup that is younger than the fork, or a missing or damaged history file.",
        next "pgforensic timelines shows the tree. Set recovery_target_timeline to the one that is wanted, or to current. Do not delete history files.";
    CATALOG = "LOG-027", Warning, "relation map or system catalog is damaged",
        means "The server finds its own catalogs through relation maps and pg_attribute; without them nobody can connect to the database, or to any.",
        next "Copy the data directory. check says which map is wrong and whether a copy of it fits. Restore the file from a backup of the same state; a damaged index of a catalog is built again with ignore_system_indexes (postgres --single -P).";
    DIRECTORY = "LOG-028", Warning, "directory is missing or closed to the server",
        means "A directory that the server needs is not there or not its own: an unmounted volume, a copy through git or an object store, a copy made by root.",
        next "Check mounts and links first. check names every directory that is missing and what a server does without it.";
    SETTING = "LOG-029", Warning, "settings or recovery files that the server refuses",
        means "Nothing is wrong with the data: the server does not accept its configuration, a signal file, or backup_label.",
        next "Correct what the line names; check shows all of them at once. Do not remove backup_label or a signal file to get further.";
    UNKNOWN_PLACE = "LOG-030", Damage, "the file that the log names is not there",
        means "The data directory has no such file: the log is right, unless the relation was dropped or rewritten since, or the log belongs to another cluster.",
        next "Compare the time of the log line with that of the copy. Ask the catalog on a running server which file the relation has now. Then as for LOG-006, or for LOG-009 where it is a file of pg_xact or pg_multixact.";
    CUT = "LOG-031", Damage, "the place that the log names is behind the end of the file",
        means "The file exists and is shorter than the place that was named: it was cut, or never grew so far.",
        next "Then as for LOG-005, or for LOG-009 where it is a file of pg_xact or pg_multixact.";
    STATE_FILE = "LOG-032", Warning, "state file of a slot or prepared transaction is damaged",
        means "Every start reads these files, and stops at one that it cannot read.",
        next "Copy the data directory. A slot's directory can be moved out of pg_replslot: only the slot is lost. A file of pg_twophase holds a prepared transaction: take it from a backup of the same state, and move it away only if its loss is accepted.";
    OTHER_SERVER = "LOG-033", Warning, "another server uses the data directory",
        means "A postmaster, or a process that it left behind, still has the directory.",
        next "Find the process (also in other containers, and on other hosts of a shared volume) and stop it in the normal way. Never remove postmaster.pid while one may run.";
}
