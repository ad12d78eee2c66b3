//! Codes about settings.

codes! {
    CONFIGURATION_ERROR = "CFG-001", Fatal, "configuration file contains errors",
        means "The server takes nothing of a configuration in which one line is wrong, and does not start.",
        next "Correct the line that is named. The server's own check: postgres -D PGDATA -C port.";
    NO_CONFIGURATION = "CFG-002", Note, "no postgresql.conf in the data directory",
        means "Debian's packages and some managed services keep it elsewhere, so nothing is known of its settings. A backup of the data directory does not have it either.",
        next "Give it with --config FILE. For a restore on another machine copy it, and pg_hba.conf, from there.";
    NO_RESTORE_COMMAND = "CFG-003", Fatal, "must specify restore_command when standby mode is not enabled",
        means "recovery.signal (up to 11 recovery.conf) asks for WAL from an archive, and nothing says how to get it.",
        next "Set restore_command, for a flat archive: cp /archive/%f %p. Do not remove the signal file: the server would open for writing at the end of what is in pg_wal.";
    SEVERAL_TARGETS = "CFG-004", Fatal, "multiple recovery targets specified",
        means "At most one of recovery_target, recovery_target_lsn, recovery_target_name, recovery_target_time, recovery_target_xid may be set.",
        next "Keep the one that is meant; also look into postgresql.auto.conf, where an earlier attempt may have left one.";
    BAD_VALUE = "CFG-005", Fatal, "invalid value for parameter",
        means "The server does not start with this value.",
        next "Correct it.";
    TIMELINE_NUMBER = "CFG-006", Warning, "recovery_target_timeline is read as another number",
        means "The value is read as a number in C: a leading 0 makes it octal, 0x hexadecimal, and what follows the digits is passed over. Names of history files and segments have timelines in hexadecimal, so that a copied 00000014 becomes 12 where 20 is meant.",
        next "Write the timeline in decimal, as the logs and pg_controldata do.";
    TARGET_WITHOUT_SIGNAL = "CFG-007", Warning, "settings of a recovery, but no signal file",
        means "Without recovery.signal or standby.signal restore_command and the recovery_target settings mean nothing: the server recovers from what is in pg_wal and opens for writing.",
        next "If a recovery is meant, make recovery.signal before the first start. If it is over, remove the settings, also from postgresql.auto.conf: they would count again in the next recovery.";
    STANDBY_WITHOUT_SOURCE = "CFG-008", Warning, "specified neither primary_conninfo nor restore_command",
        means "The standby only looks into pg_wal for new files, for ever.",
        next "Set primary_conninfo or restore_command; if the cluster is to open for writing, remove standby.signal.";
    ARCHIVES_NOTHING = "CFG-009", Warning, "archive_command keeps nothing",
        means "The command says that every segment was archived and does nothing: the WAL is removed at the next checkpoint and cannot be had again. A base backup cannot be recovered beyond its end.",
        next "Set a command that copies, then take a new base backup.";
    COPY_ARCHIVES = "CFG-010", Warning, "a restored copy would archive",
        means "This is a copy on its way to its first start, with the archive_command of the original. Once it is open for writing it archives its own WAL: into the same archive this makes names collide, stops one archiver or overwrites segments, and gives the archive a timeline that recovery_target_timeline = latest follows.",
        next "Before the start set archive_mode = off in the copy, or give it an archive of its own.";
    UNSAFE = "CFG-011", Warning, "setting that gives up safety",
        means "With fsync or full_page_writes off a crash of the machine can leave pages that no recovery mends. The others make the server pass over damage: zero_damaged_pages loses the rows of every bad page, ignore_checksum_failure hands out what it finds, ignore_invalid_pages goes on with a recovery whose WAL does not fit.",
        next "Remove the setting, unless it is meant for work on a copy. After a crash with fsync or full_page_writes off look at all pages (scan-pages --structure), or restore a backup.";
    TWO_ARCHIVERS = "CFG-012", Warning, "both archive_command and archive_library set",
        means "From 16 on the archiver stops with an error as long as both are set, and WAL piles up in pg_wal. In 15 archive_library counts.",
        next "Keep one of them.";
    OTHER_DATA_DIRECTORY = "CFG-013", Damage, "settings lead to another data directory",
        means "data_directory makes the server use that directory, whatever -D says. In a copy that came with its configuration this is the original.",
        next "Remove or correct data_directory before a start.";
    TARGET_TOO_EARLY = "CFG-014", Fatal, "requested recovery stop point is before consistent recovery point",
        means "Recovery cannot stop before all data files are of one moment: the end of the backup, or the minimum recovery point. The server goes through the WAL and then refuses.",
        next "Choose a backup that ended before the target, or a later target.";
    RESTORE_COMMAND = "CFG-015", Warning, "restore_command cannot work",
        means "The server puts the name of the wanted file for %f and the place to put it for %p. A command without them brings the same file for every name, or none.",
        next "Correct it, for a flat archive: cp /archive/%f %p.";
    ARCHIVES_LATER = "CFG-016", Note, "archive_mode is on and archive_command is not set",
        means "Segments are kept in pg_wal until a command is set: pg_wal grows without end.",
        next "Set archive_command, or archive_mode = off if no archive is wanted.";
}
