//! Codes about what a start comes to.

codes! {
    NO_CHECKPOINT = "REC-001", Fatal, "could not locate a valid checkpoint record",
        means "Recovery begins at the checkpoint that pg_control names, and its record cannot be read from pg_wal: the segment is missing, was recycled, or is damaged there. The server stops with PANIC. An archive is not asked here, unless backup_label or a clean stop with recovery.signal says so.",
        next "Do not run pg_resetwal: it throws away every transaction behind the last checkpoint and leaves data files of different moments. Copy the data directory, then look for the segment in the archive, on a standby, in a .partial file, on the old pg_wal volume, and copy it into pg_wal. If this is a copy whose backup_label was lost, get the label back. Otherwise restore a backup (pgforensic backups).";
    NO_REQUIRED_CHECKPOINT = "REC-002", Fatal, "could not locate required checkpoint record",
        means "backup_label says where recovery of this backup begins, and neither the archive nor pg_wal gives a valid record there.",
        next "Never remove backup_label: the server would start on inconsistent data. Set a restore_command that reaches the archive with the segment that is named, make recovery.signal (up to 11 recovery.conf), and check again with --archive.";
    NO_REDO = "REC-003", Fatal, "could not find redo location referenced by checkpoint record",
        means "The checkpoint record is there, but replay begins before it, and the record at that place cannot be read: an older segment is missing or damaged.",
        next "Bring the segment that is named from the archive, a standby or the old pg_wal volume. Do not remove backup_label, and do not run pg_resetwal.";
    NOT_IN_HISTORY = "REC-004", Fatal, "requested timeline is not a child of this server's history",
        means "The data are ahead of the point at which the wanted timeline branched off, or on another branch: a test restore or a second promotion has put its history file into the archive and latest follows it, or the backup is younger than the fork.",
        next "Look at the tree first: pgforensic timelines. Then set recovery_target_timeline to the timeline that has the wanted data, or to current; or begin with a backup from before the fork. Do not delete history files: move a rogue one aside.";
    BAD_TIMELINE = "REC-005", Fatal, "recovery target timeline does not exist",
        means "The history file of the wanted timeline is in neither the archive nor pg_wal, or the server refuses its lines.",
        next "Copy the file from pg_wal of any server that was on that timeline, or of a younger timeline, which repeats its lines. pgforensic timelines says what a lost one must hold.";
    WRONG_SIZE = "REC-006", Fatal, "archive file has wrong size",
        means "What restore_command gives is not as large as a segment: a copy that was cut by a full disk, a file that is still compressed, or a cluster with another segment size. The server stops here and does not look for another copy.",
        next "Look for a whole copy of the segment: in pg_wal of the old server, on a standby, in another archive. Put it before the damaged one, or move that aside: when the archive has no such file the server looks into pg_wal.";
    BACKUP_END = "REC-007", Fatal, "WAL ends before end of online backup",
        means "A backup is consistent only behind the record of its end, and the WAL that can be had ends before that: segments are missing or damaged, or pg_backup_stop was never called.",
        next "Bring the missing WAL up to the backup's stop location (in the .backup file of the archive, or backup_manifest); pgforensic wal-gaps shows what is missing. Without it use another backup. Do not remove backup_label to get around this.";
    CONSISTENCY = "REC-008", Fatal, "WAL ends before consistent recovery point",
        means "The data files hold changes up to the minimum recovery point, and the WAL that can be had ends before it.",
        next "Bring the WAL up to that point: from the archive, from the primary's pg_wal, from another standby. Without it restore a backup.";
    TARGET_NOT_REACHED = "REC-009", Fatal, "recovery ended before configured recovery target was reached",
        means "All WAL that can be had is replayed and the target was not met. From 13 on the server stops then, and nothing is lost: it can be started again with more WAL or another target.",
        next "If WAL is missing, bring it (pgforensic wal-gaps names what is). If the target lies behind the last commit, recover to the end of the WAL without a target, or to an earlier one; pgforensic wal-find shows what there is. Make sure that it is the right timeline.";
    OPENS_WITHOUT_TARGET = "REC-010", Damage, "the target is not reached, and the server opens for writing",
        means "Up to 12 a recovery that does not meet its target ends with a promotion where the WAL ends, without a word: what was to be recovered is missing, or what was to be left out is there.",
        next "Do not start it. Find out first why the target is not met: WAL that is missing (pgforensic wal-gaps), a target behind the last commit, another timeline (pgforensic wal-find).";
    HOLE = "REC-011", Damage, "recovery ends, although later WAL is there",
        means "The server takes a segment that it cannot get, or a record that it cannot read, for the end of the WAL: it goes on from there as if nothing had been behind it. A promotion writes a new timeline, and what lies behind is lost to it.",
        next "Do not start it yet. Look for the missing segments, or a sound copy of the damaged one: in pg_wal of the old server, on standbys, in other archives and their .partial files; pgforensic wal-gaps --deep tells what is whole. Only when it cannot be had decide to lose what lies behind.";
    PARTIAL = "REC-012", Warning, "the next segment is there as .partial only",
        means "A server that is promoted archives the segment in which its old timeline ended as .partial, and pg_receivewal writes the segment that it is receiving so. No server asks for such a file: what it holds is not replayed.",
        next "Compare with the timeline that followed: its first segment repeats this one up to the switch. If the old primary wrote more, and that is wanted, copy the file to its name without .partial, in a copy of the archive.";
    WAITS = "REC-013", Note, "the server waits as a standby",
        means "With standby.signal (up to 11 standby_mode) a server follows WAL until somebody promotes it, and never opens for writing by itself. A backup of a standby carries the file, and it beats recovery.signal.",
        next "If it is to follow a primary: nothing. If it is to be recovered and opened for writing, remove standby.signal, make recovery.signal and set restore_command, before the start.";
    FAILS = "REC-014", Fatal, "the start fails",
        means "The server's line is in the finding. What it refuses stands before the data: as they are nothing changes them.",
        next "Copy the data directory before anything else. Then mend what the line names; pgforensic plan shows the same start in every detail.";
    WAL_LEVEL = "REC-015", Fatal, "WAL was generated with wal_level=minimal",
        means "Somebody set wal_level to minimal between the backup and the target: WAL of that level lacks the content of tables that were loaded or rewritten, so it cannot be replayed onto a backup.",
        next "Use a backup that was taken after wal_level was set back. Otherwise recover to a target before the change, and accept the loss behind it.";
    BACKUP_CANCELED = "REC-016", Fatal, "online backup was canceled, recovery cannot continue",
        means "Between the start and the end of the backup the server was stopped, or another one was promoted: this backup never came to its end on the wanted timeline.",
        next "Use another backup, or the timeline on which this one was taken (recovery_target_timeline = current).";
    SETTINGS = "REC-017", Fatal, "recovery aborted because of insufficient parameter settings",
        means "A server that takes queries while it recovers has to make room for what the primary tells in its WAL: max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions and max_locks_per_transaction must be at least what they were there.",
        next "Set them to the primary's values, which controldata shows, or hot_standby = off for this recovery. Nothing of the data is wrong.";
    PARTED = "REC-018", Damage, "two nodes have gone on by themselves",
        means "Both data directories have WAL that the other one lacks: two servers of one cluster were open for writing at the same time, or a standby was promoted before it had everything. Only one of them can be kept; no tool merges two.",
        next "Fence both, copy both while they are cold. pgforensic plan --pgdata A --pgdata B says what each has alone and has the steps: keep one, dump from a copy of the other what only that has, make it a standby with pg_rewind or pg_basebackup. Never start both again.";
    NO_ROOM = "REC-019", Damage, "pg_wal has no room for another segment",
        means "The file system of pg_wal is full. A server that needs a new segment and cannot have it stops with PANIC, and its next start may fail in the same way. WAL is kept as long as it is not archived, a replication slot needs it, or wal_keep_size says so.",
        next "Delete nothing in pg_wal: recovery needs it, and what waits there is in no archive. Enlarge the file system, or move pg_wal to another one; then start, mend archiving, drop slots that nobody uses any more. pgforensic plan has the steps.";
}
