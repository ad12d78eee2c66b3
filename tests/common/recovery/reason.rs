//! The word for why a recovery ended, from the server's lines.

/// A part of a line, and the word of the contract.
const REASONS: &[(&str, &str)] = &[
    ("recovery ended before configured recovery target was reached", "target_not_reached"),
    ("requested recovery stop point is before consistent recovery point", "stop_before_consistency"),
    ("WAL ends before end of online backup", "backup_end_not_reached"),
    ("WAL ends before consistent recovery point", "consistency_not_reached"),
    ("could not locate required checkpoint record", "no_checkpoint_record"),
    ("could not locate a valid checkpoint record", "no_checkpoint_record"),
    ("could not find redo location", "no_redo_record"),
    ("unexpected record type found at redo point", "no_redo_record"),
    ("is not a child of this server's history", "not_a_child"),
    ("is not in this server's history", "not_a_child"),
    ("could not read from control file", "bad_control_file"),
    ("global/pg_control\": read", "bad_control_file"),
    ("does not contain minimum recovery point", "min_recovery_point_not_on_timeline"),
    ("recovery target timeline", "no_such_timeline"),
    ("syntax error in history file", "bad_history_file"),
    ("invalid data in history file", "bad_history_file"),
    ("has wrong size", "wrong_size"),
    ("backup_label contains data inconsistent with control file", "label_vs_control"),
    ("invalid data in file \"backup_label\"", "bad_backup_label"),
    ("incorrect checksum in control file", "bad_control_file"),
    ("could not find the database system", "no_control_file"),
    ("recovery stopping", "target_reached"),
    ("invalid record length", "zero_length_record"),
    ("incorrect prev-link", "bad_prev_link"),
    ("incorrect resource manager data checksum", "bad_record_crc"),
    ("invalid resource manager ID", "bad_resource_manager"),
    ("invalid magic number", "bad_magic"),
    ("invalid info bits", "bad_info_bits"),
    ("different database system", "foreign_system"),
    ("unexpected pageaddr", "unexpected_pageaddr"),
    ("out-of-sequence timeline ID", "out_of_sequence_tli"),
    (") in checkpoint record", "unexpected_timeline"),
    (") in end-of-recovery record", "unexpected_timeline"),
    ("unexpected timeline ID", "unexpected_page_tli"),
    ("contrecord is requested", "contrecord_requested"),
    ("there is no contrecord flag", "no_contrecord_flag"),
    ("invalid contrecord length", "bad_contrecord_length"),
    ("invalid record offset", "bad_record_offset"),
    ("out-of-order block_id", "bad_block_header"),
    ("BKPBLOCK_", "bad_block_header"),
    ("BKPIMAGE_", "bad_block_header"),
    ("invalid block_id", "bad_block_header"),
    ("record with invalid length", "bad_block_header"),
    ("could not read from log segment", "short_read"),
    ("could not read from WAL segment", "short_read"),
    ("could not open directory", "missing_file"),
    ("No such file or directory", "missing_file"),
    ("required WAL directory", "missing_file"),
    ("is not a valid data directory", "missing_file"),
    ("database files are incompatible", "bad_control_file"),
    ("could not access status of transaction", "missing_file"),
    ("checkpoint request failed", "missing_file"),
];

/// A line of the log: LOG, FATAL, PANIC and its text.
pub fn lines(log: &str) -> Vec<(&str, &str)> {
    let line = |line| {
        // Before there is a log.
        if let Some(text) = str::strip_prefix(line, "postgres: ") {
            return Some(("FATAL", text));
        }
        let (level, text): (&str, &str) = str::split_once(line, ":  ")?;
        matches!(level, "LOG" | "FATAL" | "PANIC" | "WARNING" | "ERROR").then_some((level, text))
    };
    log.lines().filter_map(line).collect()
}

/// The lines of the recovery alone: without what the end of the server added.
pub fn of_recovery(log: &str) -> Vec<(&str, &str)> {
    let mut lines = lines(log);
    // What it says to those who would connect.
    lines.retain(|(_, text)| !text.starts_with("the database system is"));
    let end = |(_, text): &(&str, &str)| {
        text.starts_with("database system is ready to accept connections")
            || text.contains("recovery has paused")
            || text.contains("pausing at the end of recovery")
            || text.starts_with("received fast shutdown")
            || text.starts_with("received immediate shutdown")
            || text.starts_with("startup process (PID")
    };
    if let Some(at) = lines.iter().position(end) {
        lines.truncate(at);
    }
    if let Some(at) = lines.iter().position(|(_, text)| text.starts_with("shutdown at recovery target")) {
        lines.truncate(at + 1);
    }
    lines
}

/// Is there no line of a failure in this part of a log?
pub fn has_no_error(log: &str) -> bool {
    lines(log).iter().all(|(level, _)| !matches!(*level, "ERROR" | "FATAL" | "PANIC"))
}

/// The word, and the line that has it: FATAL or PANIC says it; without one it is the line at the target, or the last
/// one about the WAL. A file that is not there leaves no line at all.
pub fn stop(log: &str) -> (&'static str, Option<&str>) {
    let lines = of_recovery(log);
    let word = |text: &str| REASONS.iter().find(|(part, _)| text.contains(part)).map(|(_, word)| *word);
    let end = lines.iter().find(|(level, _)| matches!(*level, "FATAL" | "PANIC"));
    if let Some((_, text)) =
        end.or_else(|| lines.iter().find(|(_, text)| text.starts_with("recovery stopping")))
    {
        return (word(text).unwrap_or("unknown"), Some(text));
    }
    // Lines from before are about a copy that was not the last one: another file was brought since then.
    let redo = lines.iter().position(|(_, text)| text.starts_with("redo starts at")).unwrap_or(0);
    let end = lines.iter().position(|(_, text)| text.starts_with("redo done at")).unwrap_or(lines.len());
    let restored =
        |(_, text): &(&str, &str)| text.starts_with("restored log file") && !text.contains(".history");
    let redo = lines[..end].iter().rposition(restored).map_or(redo, |at| at.max(redo));
    let last = lines[redo..end.max(redo)].iter().rev().find_map(|(_, text)| Some((word(text)?, Some(*text))));
    last.unwrap_or(("wal_missing", None))
}

/// The line that ended the server.
pub fn fatal(log: &str) -> Option<(&str, &str)> {
    lines(log).into_iter().find(|(level, _)| matches!(*level, "FATAL" | "PANIC"))
}
