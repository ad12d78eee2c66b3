//! Codes about base backups.

codes! {
    NO_MANIFEST = "BAK-001", Warning, "the backup has no manifest",
        means "Without backup_manifest nothing tells which files belong to the backup and what was in them: pg_verifybackup refuses it. Pages with checksums and the WAL can be tested all the same. Up to 12 there are no manifests; pg_basebackup --no-manifest and other tools write none.",
        next "Look for the manifest where the backup was made or in another copy and give it with --manifest-path. Otherwise restore on a copy, start, and run pgforensic scan-pages and check.";
    BAD_MANIFEST = "BAK-002", Damage, "the manifest is not the one that the server wrote",
        means "It was changed, cut or damaged: pg_verifybackup stops here and says nothing about the files. They were compared with what can be read of the manifest; what that says is worth as much as the manifest is.",
        next "Compare the manifest with another copy of the backup. If somebody edited it on purpose, do not trust it: take a new backup.";
    MISSING_FILE = "BAK-003", Damage, "file is present in the manifest but not on disk",
        means "The backup lost a file after it was made, or the copy is not complete. A restored server fails as soon as it needs the file.",
        next "Copy the backup again from where it was made. Do not restore without the file.";
    EXTRA_FILE = "BAK-004", Damage, "file is present but not in the manifest",
        means "Somebody put a file into the backup, or it was started in place: a server that runs on a backup adds and changes files. What the server does with it depends on its name.",
        next "Find out where it comes from. If a server was started in the backup (postmaster.opts, log files, many changed sizes), it is no backup any more.";
    SIZE = "BAK-005", Damage, "file has another size than in the manifest",
        means "The file was cut, went on growing, or is another file: an unfinished copy, a full disk, a server started in the backup.",
        next "Copy the file again from where the backup was made.";
    CHECKSUM = "BAK-006", Damage, "checksum mismatch for file",
        means "The content is not what the server sent, although the size is: a disk or memory fault, an editor, a server started in the backup. If the pages of the file are sound, whole blocks are exchanged or the change was made by a server.",
        next "Copy the file again from where the backup was made, or use another backup. If it is configuration that somebody edited on purpose, compare it and go on.";
    NOT_A_FILE = "BAK-007", Damage, "entry of the backup is no regular file",
        means "Links, devices and files with holes are in no base backup but for pg_wal and the tablespaces. Links are not followed: what they lead to is not in the backup.",
        next "Replace the link by the file itself, as far as it can be found. Configuration outside of the data directory has to be saved on its own.";
    CONTROL = "BAK-008", Fatal, "pg_control does not belong to the manifest",
        means "The control file is damaged, of another major, or of another cluster: the backup is put together from two.",
        next "Find the other half. A backup is only good as a whole.";
    WAL = "BAK-009", Damage, "WAL parsing failed",
        means "WAL between the start and the stop of the backup is missing or damaged. A server that is started on the backup as it is ends with FATAL: WAL ends before end of online backup, unless the archive has these segments.",
        next "Look for the segments in the archive, with --wal-path, or with pgforensic wal-gaps. Without them the backup cannot be used.";
    NO_WAL = "BAK-010", Damage, "the backup carries no WAL",
        means "Its pg_wal is empty: it was made with pg_basebackup -X none or by another tool, or somebody emptied it. Without the archive a start fails with FATAL: could not locate required checkpoint record.",
        next "Verify again with --wal-path and the archive, which must have every segment from the start to the stop. With -n the WAL is left out of the verdict.";
    LABEL_LOST = "BAK-011", Fatal, "backup_label is missing",
        means "The manifest or the rest of the backup says that there was a backup_label. Without it a server takes the copy for a crashed cluster and begins recovery at the checkpoint in pg_control instead of the one where the backup began: it starts without any complaint on inconsistent data.",
        next "Do not start this copy. Get the file back from another copy of the backup; its start location also stands in the .backup history file in the archive.";
    UNWANTED = "BAK-012", Warning, "files that no base backup has",
        means "A base backup leaves out postmaster.pid, temporary files and the replication slots. Here is a copy of a running directory, or something was added: a stale postmaster.pid can keep the server from starting, slots keep WAL for consumers that are elsewhere.",
        next "After the restore remove postmaster.pid, pgsql_tmp and the contents of pg_replslot, before the first start and only in the restored copy.";
    ARCHIVE_NAME = "BAK-013", Damage, "archive with a name that no backup has",
        means "A member would be written outside of the directory, or one name stands there twice, so that the later one replaces the earlier: the archive was made or changed by something else than pg_basebackup. Nothing was written here.",
        next "Do not unpack it as root or over existing files. Look at the list of its names first.";
    ARCHIVE_DAMAGED = "BAK-014", Damage, "archive cannot be read to its end",
        means "The archive or its compression is cut or damaged: what lies behind that place cannot be read, and files there count as missing.",
        next "Copy the archive again from where the backup was made. What comes before the damage can still be unpacked.";
    CHAIN = "BAK-015", Damage, "the chain of incremental backups is broken",
        means "pg_combinebackup refuses this chain: one is missing, they are in the wrong order, or are not of one cluster. Every incremental backup holds only what changed since the one before it.",
        next "Name all backups of the chain, oldest first. Where one is lost, the chain ends before it: restore the last one that is whole, and replay WAL.";
    INCREMENTAL = "BAK-016", Damage, "incremental file is damaged",
        means "The head of the file or its size is not what a server writes: pg_combinebackup stops here, or puts a wrong file together.",
        next "Copy the file again from where the backup was made. Otherwise the chain ends before this backup.";
    SUMMARY = "BAK-017", Warning, "WAL summary is damaged",
        means "The server refuses the next incremental backup with this message. The summary can be made again from the WAL as long as that is there.",
        next "Remove the file from pg_wal/summaries on the server; it is written again if its WAL is still in pg_wal. Otherwise take a full backup.";
    SUMMARY_GAP = "BAK-018", Note, "WAL summaries have a gap",
        means "An incremental backup needs summaries of all WAL from the start of the backup before. Where some are missing the server refuses: WAL summaries are required but are incomplete.",
        next "Take a full backup, and keep summaries for longer than the time between two backups (wal_summary_keep_time).";
    LIVE_TABLESPACE = "BAK-019", Damage, "tablespace of the backup is that of a server",
        means "A copied data directory keeps the links of pg_tblspc: a server that is started on the copy writes into the tablespaces of the original, and destroys both.",
        next "Do not start this copy. Copy the tablespaces, and change the links (or tablespace_map) to the copies before the first start.";
    CONFIGURATION = "BAK-020", Note, "configuration lies outside of the backup",
        means "These settings name files that are not in the data directory: they are not in the backup, and a restored server does not find them, or uses those of the server on the same machine.",
        next "Save these files, too. Before the restored server is started, look at what it will read.";
    CONTROL_NOT_LAST = "BAK-021", Warning, "pg_control was not copied last",
        means "A base backup sends pg_control as its last file, so that its checkpoint is not older than anything else in the backup. In this archive files come behind it: another tool made it, or it was packed again. With the right backup_label recovery does not depend on that.",
        next "Nothing if a backup_label is there and the archive was packed again on purpose. Without a label do not use it.";
    TABLESPACE_MISSING = "BAK-022", Damage, "archive of a tablespace is missing",
        means "tablespace_map names a tablespace whose archive is not there: an incomplete set unpacks without an error, and every table in that tablespace is lost.",
        next "Look for the archive named after the OID where the backup was made.";
    NEEDS_PARENT = "BAK-023", Warning, "incremental backup without the ones before it",
        means "It holds only what changed since another backup: alone it cannot be restored. A server refuses it: this is an incremental backup, not a data directory.",
        next "Name the whole chain, oldest first; pg_combinebackup makes a full backup of it.";
    EMPTY_DIRECTORY = "BAK-024", Damage, "directory is not in the backup",
        means "Object stores, git and some copy tools lose empty directories. A server that is started on the restored copy fails, at once or at its next checkpoint; the message is in the evidence.",
        next "Create the directory in the restored copy, with mode 0700 and the server's owner, before the first start.";
}
