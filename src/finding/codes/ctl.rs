//! Codes about pg_control.

codes! {
    MISSING = "CTL-001", Fatal, "could not open file \"global/pg_control\"",
        means "The control file is not there. No server starts without it: it says where the WAL that recovery needs begins.",
        next "Copy the whole data directory first. Look for the file in lost+found and in a snapshot of the same moment. Else restore a backup: its own pg_control with its backup_label is sound, and the WAL replays from there. pg_resetwal is the last door, on a copy only: without the file it guesses (a new system identifier, transaction id 3, segments of 16 MB, settings of its own), and it removes the WAL that proves the real values. What the WAL and the files around prove is printed with its sources.";
    EMPTY = "CTL-002", Fatal, "could not read file \"global/pg_control\": read 0 bytes",
        means "The control file has no content, as after a full disk or a crash of the file system. The server refuses to start.",
        next "Keep a copy of the whole data directory as it is. Take the file from a backup or snapshot of the same state, or restore a backup; do not run pg_resetwal on the original.";
    SHORT = "CTL-003", Fatal, "could not read file \"global/pg_control\": read too few bytes",
        means "The file ends inside the structure. The server refuses to start; the fields before the cut are shown, their CRC cannot be checked.",
        next "Keep a copy of the whole data directory as it is, look for the file in a backup or snapshot of the same state, or restore a backup.";
    UNUSUAL_SIZE = "CTL-004", Warning, "control file is not 8192 bytes long",
        means "Servers write the file with 8192 bytes and read only the structure at its start, so this one still works. A size other than that shows that something copied or cut the file.",
        next "Find out what wrote the file: a copy that cut this file may have cut others, which scan-pages shows.";
    ZEROS = "CTL-005", Fatal, "control file contains only zeros",
        means "The blocks of the file were allocated but never written, as after a crash of the machine or of its storage. A server says that PG_CONTROL_VERSION 0 is not its own and that initdb is needed: do not do that.",
        next "Keep a copy of the whole data directory as it is. Expect other recently written files to be zeroed too (scan-pages shows them). Take the file from a snapshot of the same state or restore a backup.";
    BAD_CRC = "CTL-006", Fatal, "incorrect checksum in control file",
        means "The bytes are not those that the server wrote. The server refuses to start; every field below may be wrong.",
        next "Keep a copy of the file and of the data directory. If a single flipped bit explains it, the evidence names the byte and the right value, and the machine's memory or storage is suspect; otherwise take the file from a copy of the same state, or restore a backup. Never continue with pg_resetwal on the original.";
    FOREIGN_BYTE_ORDER = "CTL-007", Warning, "database files are incompatible with server: mismatched byte ordering",
        means "The cluster was written by a machine of the other byte order. The file is shown rightly here, but no server on this kind of machine can use the data directory.",
        next "Start it on the architecture that wrote it, or move the data with pg_dump from there.";
    FOREIGN_ALIGNMENT = "CTL-008", Warning, "database files are incompatible with server: 32-bit alignment",
        means "The CRC is right only in the layout of 32-bit x86, where 8-byte values are aligned to 4. The file is shown rightly here, but no 64-bit server can use the data directory.",
        next "Start it with a 32-bit build of the same major, and move the data with pg_dump from there.";
    UNKNOWN_VERSION = "CTL-009", Fatal, "unknown PG_CONTROL_VERSION",
        means "No PostgreSQL from 10 to 19 writes this number: another product or release built on PostgreSQL, a development snapshot, or damage. The fields are shown through the layout that fits best, which may be the wrong one.",
        next "Find out which program made the cluster and use its own tools. If it was a PostgreSQL of 10 to 19, the file is damaged: take it from a copy of the same state or restore a backup.";
    IMPOSSIBLE_VALUE = "CTL-010", Damage, "control file contains a value that no server writes",
        means "The field has a value outside of what the server can set. With a right CRC something other than a sound server wrote it; with a wrong one it shows where the damage is.",
        next "Do not start a server on it before the origin of the value is known: it would act on the value. Compare with another copy (controldata --diff), or restore a backup.";
    UNKNOWN_CATALOG = "CTL-011", Warning, "catalog version of no release",
        means "The layout is known but the catalog version belongs to no release of 10 to 19: a beta, a development snapshot or a product built on PostgreSQL. The exact major is unknown.",
        next "Use the server and the tools of exactly the build that made the cluster.";
    TRAILING_DATA = "CTL-012", Note, "bytes behind the control file's structure are not zero",
        means "Servers fill the rest of the 8 kB with zeros and never read it. Something else wrote here, or the file is a mixture.",
        next "Compare with another copy of the file; nothing needs to be done if the CRC is right.";
    CRASHED = "CTL-013", Warning, "database system was interrupted; last known up",
        means "The state says that a server is running, but none is: it crashed, was killed, or this is a copy of a running cluster. The next start replays WAL from the REDO location. If the directory is a copy without its backup_label, that replay starts at the wrong place and the result is silently wrong.",
        next "Before starting: copy the data directory, make sure that the segment named as first needed and all after it are there, and that this is not the copy of a base backup. Then start the server and watch it reach the end of WAL.";
    INTERRUPTED_STOP = "CTL-014", Warning, "database system shutdown was interrupted",
        means "The server was stopping or starting when it ended. The next start replays WAL from the REDO location, as after a crash.",
        next "As after a crash: copy the data directory, make sure that the first needed segment and all after it are there, then start.";
    INTERRUPTED_RECOVERY = "CTL-015", Warning, "database system was interrupted while in recovery",
        means "Recovery was running and did not end. It goes on from the last restartpoint; if it was interrupted at the same place more than once, some data are probably corrupted there.",
        next "Look into the server's log for why it ended. Copy the data directory before the next start. If it fails at the same position again, recover to a point before it.";
    FIRST_SEGMENT_MISSING = "CTL-016", Fatal, "could not locate a valid checkpoint record",
        means "The WAL segment in which recovery must start is not in pg_wal. Without an archive the server stops with a PANIC; after a clean shutdown too, because the checkpoint record itself is in that segment.",
        next "Do not run pg_resetwal. Look for the segment in the archive, on a standby, in a .partial file, on another pg_wal volume; copy it into pg_wal or let recovery fetch it. wal-gaps shows what an archive has.";
    RESETWAL = "CTL-017", Warning, "pg_resetwal has rewritten this control file",
        means "The values are those that pg_resetwal writes and no running server can: the WAL before it is gone, and with it every change that was not yet in the data files. pg_upgrade runs pg_resetwal as well and is harmless.",
        next "If this is no fresh pg_upgrade: treat the data as inconsistent, dump them and rebuild the cluster from the dump, or better restore a backup from before.";
    RESET_COUNTERS = "CTL-018", Note, "counters were set by pg_resetwal or pg_upgrade",
        means "A running server always knows which database holds the oldest transaction; 0 stays there after pg_resetwal -x, -u or -m, which pg_upgrade uses, until the next VACUUM of the oldest database.",
        next "Nothing, if the cluster was upgraded with pg_upgrade. Else find out who ran pg_resetwal and why, and treat the data as inconsistent.";
    PLANTED_CHECKPOINT = "CTL-019", Fatal, "checkpoint location 0/DEAD planted by pgBackRest",
        means "pgBackRest restores an online backup with this location so that the cluster cannot start without its backup_label. Without backup_label the server stops with \"could not locate a valid checkpoint record\"; that is the protection at work.",
        next "Put backup_label back (it is in the backup) or repeat the restore. Never run pg_resetwal to get over it.";
    IN_BACKUP_RECOVERY = "CTL-020", Warning, "recovery has not reached the end of the backup",
        means "The cluster is a restored base backup whose recovery was interrupted: the data are not consistent yet and the server will insist on reaching the end of the backup.",
        next "Make the WAL from the backup's start to its end available (wal-gaps shows the archive) and start again with the same recovery settings.";
    PG_VERSION_DIFFERS = "CTL-021", Fatal, "PG_VERSION contradicts pg_control",
        means "The two files were written by different major versions: the data directory is a mixture of clusters, or one of the files was put there by hand.",
        next "Find out which files belong together; compare the catalog version directories of tablespaces and PG_VERSION in base/*. Restore a backup rather than start the mixture.";
    CATALOG_DIRECTORY_DIFFERS = "CTL-022", Damage, "tablespace has no directory for this catalog version",
        means "The tablespace holds directories of other major versions only, so that its relations are out of reach for this cluster. After pg_upgrade the old directories may stay, but the new one must be there.",
        next "Check that the link leads to the right place and the volume is mounted; take the tablespace from the same backup as the data directory.";
    OTHER_BUILD = "CTL-023", Note, "built with other constants than the default",
        means "The cluster works only with servers that were compiled with the same values.",
        next "Use the same build for a restore; page arithmetic printed by other tools may be wrong for this cluster.";
    UNKNOWN_CHECKSUM_STATE = "CTL-024", Warning, "unknown data checksum version",
        means "Releases know 0 (off) and 1 (on). Development versions of 19 had more while checksums were being switched on or off in a running server; pages without a valid checksum are then legal.",
        next "Use the server that made the cluster. scan-pages checks the pages all the same and shows this number.";
    OTHER_CLUSTER = "CTL-030", Damage, "system identifiers differ",
        means "The two control files belong to different clusters: files, WAL or backups of one are useless and dangerous for the other. A pg_upgrade, or pg_createsubscriber, makes a new identifier as well.",
        next "Do not mix them. Find the right partner by its system identifier.";
    DIVERGED = "CTL-031", Damage, "timelines have diverged",
        means "Both come from the same cluster, but one went on after the point where the other's timeline branched off: each holds changes that the other lacks.",
        next "Decide which side is to survive, save the other's WAL, and rebuild it from the survivor (pg_rewind or a new base backup).";
    OTHER_TIMELINE = "CTL-032", Warning, "timelines differ",
        means "The two are on different timelines of the same cluster. Positions in the WAL can be compared only up to the point where the timelines part, which the .history file of the higher one tells.",
        next "Read the history file of the higher timeline, in pg_wal or the archive (wal-gaps draws the tree), before you call one of them newer.";
    OTHER_FORMAT = "CTL-033", Warning, "formats differ",
        means "The two were made by different major versions or builds, so that files of one cannot be used with the other even where the system identifier is the same.",
        next "Use each with its own server only.";
    NO_CHECKPOINT = "CTL-040", Fatal, "could not locate a valid checkpoint record in the WAL",
        means "Neither pg_wal nor a given archive holds a checkpoint record that passes the server's tests. Nothing says where recovery has to start, nor which transaction ids, OIDs and multixacts were given out.",
        next "Copy the data directory as it is. Look for the WAL: another volume behind the link pg_wal, the archive (--archive), a standby. With none of it restore a backup; pg_resetwal can make the server start, but what it starts on is not consistent.";
    WAL_OF_OTHER_CLUSTER = "CTL-041", Damage, "WAL file is from different database system",
        means "Segments of more than one cluster, major version or segment size lie together. Those of the others are left out: no value here comes from them. If they are most of pg_wal, the values shown may be those of the wrong cluster.",
        next "Compare the system identifiers with that of a backup, a standby or backup_manifest, and find out who copied the segments here. Do not start a server before they are gone from the copy that you work on.";
    NOT_RECOVERABLE = "CTL-042", Damage, "recovery from the newest checkpoint cannot reach the end of the WAL",
        means "The record at which recovery starts is missing, or the WAL between it and its end is missing or broken. A pg_control with these values would let the server start recovery and stop at that place.",
        next "Find the missing WAL first: an archive (--archive, wal-gaps), a standby, a .partial file. wal-dump shows the place. Else restore a backup from before it.";
    CHECKPOINT_AHEAD = "CTL-043", Warning, "the newest checkpoint may be ahead of the data files",
        means "A standby, a restored backup and a cluster that was just promoted hold WAL of a server whose data files were further than theirs. Recovery that starts at that checkpoint would leave out changes, without an error. The checkpoint that pg_control had is an older one.",
        next "Do not write these values into a pg_control. With backup_label in place take pg_control from the same backup: it is usable, recovery starts where the label says. Rebuild a standby from its primary.";
    CONTRADICTS_WAL = "CTL-044", Damage, "pg_control contradicts the WAL",
        means "The CRC is right, but the WAL proves other values than the file has: the file is of another state of the cluster, or was edited.",
        next "Find out where the file comes from (a copy put back, pg_resetwal, a restore). Do not start a server on it before that is known; compare with controldata --diff.";
    OLDER_THAN_WAL = "CTL-045", Warning, "pg_control is older than the WAL",
        means "The WAL holds a newer checkpoint than the one that pg_control names. On a standby that is normal: it is at its last restartpoint. A primary can crash between the two writes, but the time is short: more often an old copy of the file was put back. With the state \"in production\" recovery only starts earlier; with \"shut down\" the server takes its checkpoint for the end of the WAL, replays nothing and writes over all that follows.",
        next "Do not start a server on a file that says \"shut down\". Look for the right file; the values that the WAL proves are beside those of the file.";
    NAMED_CHECKPOINT_INVALID = "CTL-046", Fatal, "invalid checkpoint record",
        means "The segment of the checkpoint that pg_control names is there, but no valid record is at that place. The server stops with a PANIC.",
        next "Compare the segment with the archive's copy (wal-gaps, wal-dump). Do not run pg_resetwal.";
    CONTROL_OF_OTHER_CLUSTER = "CTL-047", Fatal, "pg_control is from different database system",
        means "The file is sound, but its system identifier is not that of the WAL beside it: one of the two was copied here from another cluster. The server finds no checkpoint record, or refuses the WAL.",
        next "Find out which of the two belongs to the data files: the identifier is in each backup's manifest and in the WAL of the archive. Put the right file back from a backup or snapshot of the same state.";
}
