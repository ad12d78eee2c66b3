//! A backup history file, `{segment}.{offset}.backup`: which WAL a base backup needs.
//!
//! ```text
//! START WAL LOCATION: 0/900028 (file 000000010000000000000009)     redo starts here
//! STOP WAL LOCATION: 0/900138 (file 000000010000000000000009)      not in backup_label
//! CHECKPOINT LOCATION: 0/900060
//! BACKUP METHOD: streamed
//! BACKUP FROM: primary                                            (up to 13: master)
//! START TIME: 2026-11-21 00:18:40 UTC
//! LABEL: pg_basebackup base backup
//! START TIMELINE: 1                                               11+
//! STOP TIME: 2026-11-21 00:18:41 UTC
//! STOP TIMELINE: 1                                                11+
//! INCREMENTAL FROM LSN: 0/500028                                  17+, incremental backups
//! INCREMENTAL FROM TLI: 1
//! ```
//!
//! The primary writes it into pg_wal when the backup stops and archives it. backup_label, inside the backup,
//! has the same lines without the STOP ones. The segment of the stop location is the one that holds the byte
//! before it. Source: `do_pg_backup_stop`, `read_backup_label` in access/transam/xlog.c and xlogrecovery.c,
//! backup/basebackup_incremental.c; `build_backup_content` in access/transam/xlogbackup.c.

use crate::pg::{Lsn, TimelineId, WalFileName};

/// What the lines say; a line that is absent or makes no sense is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupHistory {
    /// `START WAL LOCATION`: redo of this backup starts here.
    pub start: Option<Lsn>,
    /// The segment named beside the start location.
    pub start_segment: Option<WalFileName>,
    /// `STOP WAL LOCATION`, exclusive: before this the backup is not consistent.
    pub stop: Option<Lsn>,
    /// The segment named beside the stop location.
    pub stop_segment: Option<WalFileName>,
    /// `CHECKPOINT LOCATION`: the record where recovery begins to read.
    pub checkpoint: Option<Lsn>,
    /// `BACKUP METHOD`: `streamed` (pg_basebackup), `pg_start_backup` and its successors.
    pub method: Option<String>,
    /// `BACKUP FROM`: `primary` (up to 13 `master`) or `standby`.
    pub from: Option<String>,
    /// `START TIME`, in the server's log_timezone.
    pub start_time: Option<String>,
    /// `LABEL`: the user's word for it.
    pub label: Option<String>,
    /// `START TIMELINE`.
    pub start_timeline: Option<TimelineId>,
    /// `STOP TIME`.
    pub stop_time: Option<String>,
    /// `STOP TIMELINE`.
    pub stop_timeline: Option<TimelineId>,
    /// `INCREMENTAL FROM LSN`: start of the backup on which this one builds.
    pub incremental_from: Option<Lsn>,
    /// `INCREMENTAL FROM TLI`.
    pub incremental_from_timeline: Option<TimelineId>,
}

impl BackupHistory {
    /// Reads the lines in whatever order they come; unknown ones are passed over.
    pub fn parse(content: &[u8]) -> BackupHistory {
        let mut history = BackupHistory::default();
        for line in String::from_utf8_lossy(content).lines() {
            let Some((key, value)) = line.split_once(": ") else { continue };
            let words = || Some(value.to_owned());
            let timeline = || value.trim().parse().ok().map(TimelineId);
            match key {
                "START WAL LOCATION" => (history.start, history.start_segment) = location(value),
                "STOP WAL LOCATION" => (history.stop, history.stop_segment) = location(value),
                "CHECKPOINT LOCATION" => history.checkpoint = value.trim().parse().ok(),
                "BACKUP METHOD" => history.method = words(),
                "BACKUP FROM" => history.from = words(),
                "START TIME" => history.start_time = words(),
                "LABEL" => history.label = words(),
                "START TIMELINE" => history.start_timeline = timeline(),
                "STOP TIME" => history.stop_time = words(),
                "STOP TIMELINE" => history.stop_timeline = timeline(),
                "INCREMENTAL FROM LSN" => history.incremental_from = value.trim().parse().ok(),
                "INCREMENTAL FROM TLI" => history.incremental_from_timeline = timeline(),
                _ => {}
            }
        }
        history
    }
}

/// `0/900028 (file 000000010000000000000009)`.
fn location(value: &str) -> (Option<Lsn>, Option<WalFileName>) {
    let (lsn, file) = value.split_once(" (file ").unwrap_or((value, ""));
    let segment = file.strip_suffix(')').and_then(|name| WalFileName::parse(name.as_bytes()));
    (lsn.trim().parse().ok(), segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of a published 9.4 to 10 session: 22/2B000028 to 22/2FE5C788.
    const TEN: &str = "START WAL LOCATION: 22/2B000028 (file 00000001000000220000002B)\n\
        STOP WAL LOCATION: 22/2FE5C788 (file 00000001000000220000002F)\n\
        CHECKPOINT LOCATION: 22/2B000060\nBACKUP METHOD: streamed\nBACKUP FROM: master\n\
        START TIME: 2018-01-05 17:00:05 CET\nLABEL: pg_basebackup: base backup\n\
        STOP TIME: 2018-01-05 17:01:20 CET\n";

    #[test]
    fn lines_of_an_old_and_a_new_server() {
        let history = BackupHistory::parse(TEN.as_bytes());
        assert_eq!(history.start.unwrap().to_string(), "22/2B000028");
        assert_eq!(history.stop_segment.unwrap().to_string(), "00000001000000220000002F");
        assert_eq!(history.label.as_deref(), Some("pg_basebackup: base backup"));
        assert_eq!(history.start_timeline, None);

        let new = "START WAL LOCATION: 0/04000028 (file 000000030000000000000004)\nSTART TIMELINE: 3\n\
                   STOP TIMELINE: 3\nINCREMENTAL FROM LSN: 0/2000028\nINCREMENTAL FROM TLI: 2\n";
        let history = BackupHistory::parse(new.as_bytes());
        assert_eq!(history.start, Some(Lsn(0x0400_0028)));
        assert_eq!(history.start_timeline, Some(TimelineId(3)));
        assert_eq!(history.incremental_from_timeline, Some(TimelineId(2)));
    }

    #[test]
    fn nonsense_is_absence() {
        let bytes = b"START WAL LOCATION: x (file y)\nSTOP WAL LOCATION\nLABEL: \xFF\nSTART TIMELINE: -1\n\0";
        let history = BackupHistory::parse(bytes);
        assert_eq!((history.start, history.start_segment, history.stop), (None, None, None));
        assert_eq!(history.start_timeline, None);
        assert_eq!(history.label.as_deref(), Some("\u{FFFD}"));
    }
}
