//! Files whose presence changes what a start does, and traces of earlier recoveries.

use crate::format::backup_history::BackupHistory;
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// Every file that is looked for.
const NAMES: &[&str] = &[
    "recovery.signal",
    "standby.signal",
    "recovery.conf",
    "recovery.done",
    "backup_label.old",
    "tablespace_map.old",
    "promote",
    "fallback_promote",
];

/// What was found.
#[derive(Debug, Default)]
pub struct RecoveryFiles {
    /// Those of the names that are there.
    pub there: Vec<&'static str>,
    /// `backup_label`.
    pub label: Option<BackupLabel>,
    /// `tablespace_map`: OID and path of each line.
    pub map: Option<Vec<Result<(u32, String), String>>>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
}

/// A backup_label, taken apart.
#[derive(Debug)]
pub struct BackupLabel {
    /// Its lines.
    pub lines: BackupHistory,
    /// Its first two lines, without which the server refuses it.
    pub start: (String, String),
}

impl BackupLabel {
    /// Takes the content of a backup_label apart.
    pub fn parse(content: &[u8]) -> BackupLabel {
        let text = String::from_utf8_lossy(content);
        let mut lines = text.lines().map(str::to_owned);
        let start = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        BackupLabel { lines: BackupHistory::parse(content), start }
    }

    /// Does the server take it? It reads the first two lines in their order.
    pub fn is_valid(&self) -> bool {
        let (first, second) = &self.start;
        first.starts_with("START WAL LOCATION: ")
            && self.lines.start.is_some()
            && self.lines.start_segment.is_some()
            && second.starts_with("CHECKPOINT LOCATION: ")
            && self.lines.checkpoint.is_some()
    }
}

impl RecoveryFiles {
    /// Looks for them.
    pub fn scan(directory: &DataDirectory) -> RecoveryFiles {
        let mut found = RecoveryFiles::default();
        let is_there = |name: &&&str| directory.join(name).symlink_metadata().is_ok();
        found.there = NAMES.iter().filter(is_there).copied().collect();
        let mut small = |name: &str| {
            directory.small_file(name).unwrap_or_else(|error| {
                found.unreadable.push(error);
                None
            })
        };
        let (label, map) = (small("backup_label"), small("tablespace_map"));
        found.label = label.as_deref().map(BackupLabel::parse);
        found.map = map.as_deref().map(tablespace_map);
        found
    }

    /// Is this one there?
    pub fn has(&self, name: &str) -> bool {
        self.there.contains(&name)
    }
}

/// `{oid} {path}` on each line; in the path a backslash stands before `\`, and before a line end within it.
pub fn tablespace_map(content: &[u8]) -> Vec<Result<(u32, String), String>> {
    let text = String::from_utf8_lossy(content);
    let mut lines = Vec::new();
    let (mut line, mut escaped) = (String::new(), false);
    for c in text.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            '\n' | '\r' if !escaped => lines.push(std::mem::take(&mut line)),
            _ => {
                line.push(c);
                escaped = false;
            }
        }
    }
    // A last line without an end is refused.
    let rest = (!line.is_empty()).then_some(Err(line));
    let entry = |line: String| match line.split_once(' ') {
        Some((oid, path)) => oid.parse().map(|oid| (oid, path.to_owned())).map_err(|_| line.clone()),
        None => Err(line),
    };
    lines.into_iter().filter(|line| !line.is_empty()).map(entry).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_tablespace_map() {
        let map = tablespace_map(b"16400 /mnt/a b\n16401 /mnt/x\\\\y\\\nz\nnonsense\n16402 /cut");
        assert_eq!(map[0], Ok((16400, "/mnt/a b".to_owned())));
        assert_eq!(map[1], Ok((16401, "/mnt/x\\y\nz".to_owned())));
        assert!(map[2].is_err() && map[3].is_err());
        assert_eq!(map.len(), 4);
    }
}
