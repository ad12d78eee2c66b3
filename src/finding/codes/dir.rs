//! Codes about the data directory.

codes! {
    LIVE_SERVER = "DIR-001", Note, "a server is running on this data directory",
        means "The files change while they are read: values are a snapshot, and what looks damaged may only be half-written.",
        next "For a final answer stop the server, or look at a snapshot.";
    STALE_PID_FILE = "DIR-002", Note, "stale postmaster.pid",
        means "The process that the lock file names does not run any more: the server crashed or was killed, or the file came with a copy. The next server removes it by itself.",
        next "Make sure that no server runs on these files on another host or in another container, which this check cannot see.";
    FOREIGN_PID = "DIR-003", Warning, "lock file \"postmaster.pid\" names another process",
        means "A process with that id runs but is not this cluster's server, or cannot be looked at. A starting server may refuse with: lock file \"postmaster.pid\" already exists.",
        next "Look at the process (ps -fp). Only when it is certain that no server uses the directory, also not from another host or container, may the lock file be moved aside.";
    SHARED_MEMORY_IN_USE = "DIR-004", Damage, "pre-existing shared memory block is still in use",
        means "The postmaster is gone but some of its backends still run and write: a second server, or pg_resetwal, would destroy the cluster.",
        next "End the remaining server processes of this data directory first, the gentle way (SIGTERM), and wait until all are gone.";
    NO_PG_VERSION = "DIR-005", Fatal, "file \"PG_VERSION\" is missing or contains no valid version",
        means "The server refuses to start: this is no data directory, or its top level was damaged or copied in part.",
        next "Check the path, and whether the volume is mounted. If the rest of the cluster is there, take the file from a backup: it holds the major version and a newline.";
    INVALID_PERMISSIONS = "DIR-006", Fatal, "data directory has invalid permissions",
        means "The server refuses to start on a directory that others may write or, before 11 and but for the group since, read.",
        next "chmod 0700 of the data directory itself (0750 is allowed from 11 on). Find out what changed it: a copy may have changed more.";
    NO_ACCESS = "DIR-007", Damage, "files that the server cannot read and write",
        means "The owner of the data directory, as whom the server runs, is not the owner of these files, or their mode does not let it. The server says could not open file: Permission denied, when it gets there: at once for its own files, later for those of a relation.",
        next "Make all files of the cluster belong to the owner of the data directory, with mode 0600 (0700 for directories). A copy made as root without keeping owners does this.";
    DIRECTORY_MISSING = "DIR-010", Fatal, "could not open directory",
        means "Every major needs a fixed set of directories, also empty ones, which copies through git, object stores and some backup tools leave out. The evidence says what a server of this major does without this one; that was measured.",
        next "An empty directory will do for pg_notify, pg_replslot, pg_twophase, pg_tblspc, pg_serial, pg_snapshots, pg_stat, pg_stat_tmp, pg_dynshmem, pg_logical/snapshots and pg_logical/mappings, if it was empty before: mkdir, with the owner and mode of the others. Prepared transactions, slots and links that were in it are lost with it. The others must come from a copy of the same state.";
    DATABASE_VERSION = "DIR-011", Damage, "directory is not a valid data directory",
        means "Without a PG_VERSION of the server's own major in its directory nobody can connect to the database.",
        next "If the rest of the directory is there, take the file from another database of the cluster: it holds the major and a newline. If it names another major the directory is of another cluster: restore it.";
    DATABASE_EMPTY = "DIR-012", Warning, "database directory without a database",
        means "The directory has neither PG_VERSION nor relation map, and no tablespace has them either. CREATE and DROP DATABASE leave this behind if the server crashes in them; but if the database exists its files are gone, and nobody can connect to it.",
        next "Look in pg_database (of a copy that starts) whether there is a database of this OID. If not, the directory can go.";
    PG_WAL_ELSEWHERE = "DIR-013", Damage, "pg_wal leads into another data directory",
        means "The link pg_wal of this cluster leads to the WAL of another one, as in a copy that kept links as they were. A server that starts here writes over the WAL of the other.",
        next "Do not start either of them before pg_wal is a directory, or a link to one, of its own with the WAL of this cluster.";
    TABLESPACE_UNREACHABLE = "DIR-014", Damage, "could not open directory of a tablespace",
        means "The entry of pg_tblspc leads nowhere: every relation of the tablespace is out of reach. The server starts without a word about it, unless it has to recover.",
        next "Mount the volume, or make the link lead to the tablespace (ln -sfn) while the server is stopped. After a restore the tablespace has to come from the same backup.";
    TABLESPACE_OF_ANOTHER = "DIR-015", Damage, "tablespace is used by another cluster",
        means "Another data directory is, holds, or links to the same place. A copy of a cluster that keeps the links writes into the tablespaces of the original: both are destroyed.",
        next "Do not start a server here while the other one is in use. Copy the tablespace too, and change the link in the copy.";
    TABLESPACE_SHARED = "DIR-016", Damage, "two tablespaces lead to one place",
        means "The server never lets two tablespaces share a directory: one of the links was changed, and its relations are not there.",
        next "Find where the second one was: postgresql logs, tablespace_map of a backup, another host.";
    TABLESPACE_INSIDE = "DIR-017", Warning, "tablespace location should not be inside the data directory",
        means "Copies of the data directory then hold the tablespace twice or not at all, and pg_basebackup refuses.",
        next "Move it outside while the server is stopped.";
    TABLESPACE_IN_PLACE = "DIR-018", Note, "tablespace is a directory, not a link",
        means "From 15 on tablespaces can be made in place (allow_in_place_tablespaces, for tests). Otherwise a copy followed the link: the server works with it all the same.",
        next "Nothing, if it is meant so. Else move the directory to its volume and put the link back while the server is stopped.";
    TABLESPACE_NAME = "DIR-019", Note, "entry of pg_tblspc is no tablespace",
        means "The server looks at entries by the OID of a tablespace and passes over this one, but tools that copy all of pg_tblspc may not.",
        next "Find out who put it there.";
    SEGMENT_MISSING = "DIR-020", Damage, "segment file of a relation is missing",
        means "A relation's file is cut into segments of 1 GB; one in the middle is not there although a later one holds data. The server takes the relation to end before the gap: everything behind it is invisible, and is overwritten when the relation grows.",
        next "Do not start the server, or stop it: it will write into the gap. Look for the file in lost+found, in a snapshot, in a copy of the same state. Otherwise restore a backup.";
    SEGMENT_SHORT = "DIR-021", Damage, "segment file of a relation is cut",
        means "A segment is shorter than 1 GB although a later one holds data. The server takes the relation to end here: everything behind is invisible, and is overwritten when the relation grows.",
        next "Do not start the server, or stop it: it will extend the short file. Find out what cut it (a copy onto a full disk, a limit on file sizes), and take the whole file from a copy of the same state, or restore a backup.";
    SEGMENT_LONG = "DIR-022", Damage, "segment file of a relation is larger than a segment",
        means "No server writes a segment beyond its limit (1 GB in a default build). Something appended to the file, or files were joined, or the cluster was built with another segment size than pg_control says.",
        next "Compare with pg_control (controldata: blocks per segment of large relation), and with a backup.";
    FOREIGN_FILE = "DIR-023", Note, "file is none of PostgreSQL's",
        means "No relation has such a file name, so the server never reads it. pg_checksums does all the same, if the part of the name behind the first dot is a number or missing: its count of bad checksums then includes this file.",
        next "Find out who put it there; move it out of the data directory only when nobody needs it there.";
    REPLACED_FILE = "DIR-024", Damage, "file of a relation was packed or renamed",
        means "A file has a relation's name with something added, such as .gz or .bak, and the relation's own file is not there: could not open file, the server says.",
        next "Put the file back under its name, unpacked, with its owner and mode, if it is of the same state as the rest.";
    LEFTOVER_TEMPORARY = "DIR-025", Note, "temporary files of a server that ended",
        means "Sorts and hashes write into pgsql_tmp, temporary tables into files t..._...; a server that is killed leaves them. The next start removes them.",
        next "Nothing. Do not remove them while a server runs.";
    UNLOGGED_RESET = "DIR-026", Note, "unlogged relations are emptied",
        means "Unlogged relations are not in the WAL: after a crash, and in a restored backup, a start replaces them by their empty init forks.",
        next "If their rows matter, copy the data directory before the start: with a sound copy they can still be read page by page.";
    INIT_WITHOUT_MAIN = "DIR-027", Damage, "could not open file of an unlogged relation",
        means "The init fork is there but the relation itself is not. A recovery would make it from the init fork, but after a clean stop there is none.",
        next "TRUNCATE the relation, or REINDEX it if it is an index: it was unlogged, so no backup has its rows.";
    FOREIGN_IN_WAL = "DIR-028", Note, "files in pg_wal that are none of PostgreSQL's",
        means "No server reads files of such names there, and none removes them.",
        next "Find out who put them there. If they are packed segments, somebody compressed WAL by hand: compare with the segments that are missing.";
    READY_WITHOUT_FILE = "DIR-029", Warning, "segments to be archived are gone",
        means "archive_status says that these files wait for the archiver, but they are not in pg_wal. The archive will lack them, unless they got there in another way: WAL was removed by hand.",
        next "Look for them in the archive (wal-gaps). If they are missing there, take a new base backup: recovery from older ones ends before the gap.";
    UNSUPPORTED_RECOVERY_CONF = "DIR-030", Fatal, "using recovery command file \"recovery.conf\" is not supported",
        means "From 12 on the settings are in postgresql.conf and the file's presence stops the start.",
        next "Move its settings to postgresql.auto.conf, make recovery.signal or standby.signal, and move the file away.";
    SIGNAL_IGNORED = "DIR-031", Warning, "signal file of a later major",
        means "Up to 11 recovery.signal and standby.signal mean nothing: without recovery.conf the server starts as a primary and writes.",
        next "Write a recovery.conf if the cluster is to recover or to stand by.";
    BOTH_SIGNALS = "DIR-032", Note, "both standby.signal and recovery.signal",
        means "standby.signal wins: the server becomes a standby.",
        next "Remove the one that is not meant.";
    BAD_BACKUP_LABEL = "DIR-033", Fatal, "invalid data in file \"backup_label\"",
        means "The server takes the start of recovery from the file's first two lines and stops if it cannot read them.",
        next "Take the file from the backup again. Never remove it: without it recovery would start at the wrong place.";
    INCREMENTAL_BACKUP = "DIR-034", Fatal, "this is an incremental backup, not a data directory",
        means "The label is that of an incremental backup: most relation files hold changed blocks only.",
        next "Put it together with the backups before it: pg_combinebackup.";
    BACKUP_WITHOUT_SIGNAL = "DIR-035", Note, "backup_label without a signal file",
        means "The server recovers with the WAL that is in pg_wal, asks no archive, and then opens for writing. That is right for a copy that holds its WAL (pg_basebackup -X) and is to be used as it was at the end of the backup.",
        next "To recover further, or to follow a primary, set restore_command or primary_conninfo and make recovery.signal or standby.signal (up to 11: recovery.conf) before the first start.";
    BAD_TABLESPACE_MAP = "DIR-036", Fatal, "invalid data in file \"tablespace_map\"",
        means "Each line is an OID and a path. A server that starts from this backup stops here.",
        next "Take the file from the backup again.";
    MAP_WITHOUT_LABEL = "DIR-037", Note, "tablespace_map without backup_label",
        means "The server renames it and uses the links as they are. The label may have been removed by hand, which loses the start of recovery.",
        next "If this is a restored backup, put its backup_label back.";
    WAS_RESTORED = "DIR-038", Note, "backup_label.old",
        means "The cluster was started from a base backup once. The file is no longer used.",
        next "Nothing.";
    PROMOTE_FILE = "DIR-039", Note, "a promotion was asked for",
        means "The file is what pg_ctl promote leaves until the server has seen it. A start removes it.",
        next "Nothing.";
    RELATION_MISSING = "DIR-040", Damage, "could not open file of a relation",
        means "pg_class has a relation whose file is not there. Every query that needs it fails; of a table all rows are gone. The file was deleted, lost by a file system check or moved by a virus scanner, or a copy is not whole.",
        next "Do not start the server: recovery may make an empty file in its place. Look in lost+found and in a snapshot of the same moment. An index is made anew by REINDEX. For a table restore a backup and replay its WAL.";
}
