//! Codes about what backups can be restored to.

codes! {
    NO_PARENT = "RST-001", Damage, "a backup on which this one builds is not here",
        means "An incremental or differential backup holds what changed since another one. Without that, pg_combinebackup or the backup tool cannot put the data directory together.",
        next "Give the directories of all backups of the chain. If the missing one is gone, take the last backup before it; take a new full backup now.";
    OTHER_CLUSTER = "RST-002", Damage, "backup and archive do not belong together",
        means "The system identifiers or the major versions differ: recovery of this backup refuses every segment of the archive, or never asks for the right ones.",
        next "Give the archive of the cluster that the backup was taken from.";
    NOT_WHOLE = "RST-003", Warning, "backup was not finished",
        means "The tool that made the backup says that it failed or did not end, so that it cannot be restored. Its WAL is not needed for anything.",
        next "Look at the log of the backup tool for the reason. Remove the backup with its tool, not by hand.";
    END_UNKNOWN = "RST-004", Warning, "end of the backup is not known",
        means "Neither a manifest nor a history file says where the backup stopped. pg_backup_stop was never called, or its history file is not here. Recovery from such a backup ends with FATAL: WAL ends before end of online backup, unless the record of its end is in the WAL.",
        next "Look for the file SEGMENT.OFFSET.backup in the archive and in pg_wal of the server. A backup that never saw pg_backup_stop is of no use.";
    NO_LABEL = "RST-005", Warning, "copy without backup_label",
        means "A copy of a data directory without a label is of use only if the server was stopped while it was made, or if the storage froze all of it (with tablespaces and pg_wal) at one moment. Then a start is a recovery after a crash; WAL of the archive can only be applied behind that. If the label was lost, a start gives wrong data without a word.",
        next "Find out how the copy was made. Compare with the .backup history files of the archive: one that starts just before the copy means that a label was there.";
    WAITING = "RST-006", Warning, "backup waits for WAL",
        means "The last segments that the backup needs to become consistent are not in the archive yet. They come when the server archives the segment in which the backup stopped; on a quiet server that takes until archive_timeout or the next switch.",
        next "Look at the archiver (pg_stat_archiver, .ready files in archive_status). SELECT pg_switch_wal() on the server ends the segment. If the server is gone, bring the segment from its pg_wal.";
    NOT_READ = "RST-007", Warning, "backup cannot be opened here",
        means "It is encrypted or its description cannot be read, so that nobody can say here what it needs.",
        next "Use the tool that made it to look into it.";
    TARGET = "RST-008", Damage, "no backup here reaches the recovery target",
        means "A recovery must begin with a backup that is consistent before the target, and have all WAL up to the record at which it stops. From 13 on a server that does not get there ends with FATAL: recovery ended before configured recovery target was reached; an older one is promoted where the WAL ends.",
        next "Give further archives, the pg_wal of the old server and older backups. Otherwise choose an earlier target, or another timeline.";
    NONE_RESTORABLE = "RST-009", Damage, "no backup here can be restored",
        means "Each backup lacks something that it needs to become consistent, or there is none at all.",
        next "Bring what is missing, as told for each of them. If a server is still running, take a new backup now.";
}
