//! pgBackRest's `archive.info` and `backup.info`: sections of `key=JSON`, and a SHA-1 over all of it.
//!
//! ```text
//! [backup:current]
//! 20261121-102719F={"backup-archive-start":"…","backup-lsn-start":"0/A00028",…,"db-id":1}
//! [db]            db-id, db-system-id, db-version of the present cluster
//! [db:history]    1={"db-system-id":7710569403399648360,"db-version":"15"}   (archive.info: "db-id" is the system id)
//! [backrest]      backrest-checksum: of everything else, written as one JSON object without spaces
//! ```

use serde_json::Value;
use sha1::{Digest, Sha1};

use super::{BackupKind, BackupRecord, major};
use crate::pg::{SystemId, WalFileName};

/// One cluster of a stanza's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its number in the stanza: the last part of `15-1`.
    pub id: u32,
    /// The cluster.
    pub system_id: Option<SystemId>,
    /// Its version, as in the name of the archive.
    pub version: String,
}

/// `archive.info` or `backup.info`.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// Is its checksum right?
    pub checksum_is_right: bool,
    /// The checksum in the file.
    pub stated_checksum: Option<String>,
    /// That of its content.
    pub computed_checksum: String,
    /// The number of the present cluster in the history.
    pub present: Option<u32>,
    /// Every cluster of the stanza.
    pub history: Vec<HistoryEntry>,
    /// The backups, in `backup.info`.
    pub backups: Vec<BackupRecord>,
    /// The version that wrote it.
    pub backrest_version: Option<String>,
}

impl Info {
    /// The present cluster.
    pub fn present(&self) -> Option<&HistoryEntry> {
        self.history.iter().find(|entry| Some(entry.id) == self.present)
    }
}

/// Reads it. A line that cannot be read leaves out what it says; the checksum tells that.
pub fn parse(bytes: &[u8]) -> Info {
    let text = String::from_utf8_lossy(bytes);
    let mut info = Info::default();
    let mut json = String::from("{");
    let (mut section, mut last) = (String::new(), None);
    let mut backups: Vec<(String, Value)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let parsed: Value = serde_json::from_str(value).unwrap_or_default();
        if (section.as_str(), key) == ("backrest", "backrest-checksum") {
            info.stated_checksum = parsed.as_str().map(str::to_owned);
            continue;
        }
        if last.as_ref() != Some(&section) {
            json.push_str(if last.is_some() { "},\"" } else { "\"" });
            json.push_str(&section);
            json.push_str("\":{");
            last = Some(section.clone());
        } else {
            json.push(',');
        }
        json.push_str(&format!("\"{key}\":{value}"));
        match section.as_str() {
            "db" if key == "db-id" => info.present = number(&parsed),
            "db:history" => info.history.extend(key.parse().ok().map(|id| history_entry(id, &parsed))),
            "backup:current" => backups.push((key.to_owned(), parsed)),
            "backrest" if key == "backrest-version" => {
                info.backrest_version = parsed.as_str().map(str::to_owned);
            }
            _ => {}
        }
    }
    json.push_str(if last.is_some() { "}}" } else { "}" });
    info.computed_checksum = hex::encode(Sha1::digest(json.as_bytes()));
    info.checksum_is_right = info.stated_checksum.as_ref() == Some(&info.computed_checksum);
    info.backups = backups.iter().map(|(label, value)| backup(label, value, &info.history)).collect();
    info
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn history_entry(id: u32, value: &Value) -> HistoryEntry {
    let system_id = value.get("db-system-id").or_else(|| value.get("db-id"));
    HistoryEntry {
        id,
        system_id: system_id.and_then(Value::as_u64).map(SystemId),
        version: value.get("db-version").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

fn backup(label: &str, value: &Value, history: &[HistoryEntry]) -> BackupRecord {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let size = |key: &str| value.get(key).and_then(Value::as_u64);
    let id = value.get("db-id").and_then(number);
    let cluster = history.iter().find(|entry| Some(entry.id) == id);
    let kind = match text("backup-type") {
        Some("diff") => BackupKind::Differential,
        Some("incr") => BackupKind::Incremental,
        _ => BackupKind::Full,
    };
    let failed = value.get("backup-error").and_then(Value::as_bool) == Some(true);
    BackupRecord {
        id: label.to_owned(),
        kind,
        method: None,
        parent: text("backup-prior").map(str::to_owned),
        start_lsn: text("backup-lsn-start").and_then(|text| text.parse().ok()),
        stop_lsn: text("backup-lsn-stop").and_then(|text| text.parse().ok()),
        start_wal: text("backup-archive-start").and_then(|text| WalFileName::parse(text.as_bytes())),
        stop_wal: text("backup-archive-stop").and_then(|text| WalFileName::parse(text.as_bytes())),
        started: value.get("backup-timestamp-start").and_then(Value::as_i64),
        stopped: value.get("backup-timestamp-stop").and_then(Value::as_i64),
        timeline: None,
        system_id: cluster.and_then(|entry| entry.system_id),
        major: cluster.and_then(|entry| major(&entry.version)),
        size: size("backup-info-size"),
        stored_size: size("backup-info-repo-size"),
        status: Some(if failed { "error" } else { "ok" }.to_owned()),
        complete: true,
        error: failed.then(|| "page checksum errors were found during the backup".to_owned()),
        label: None,
    }
    .with_timeline_of_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As pgBackRest 2.45 wrote it.
    const ARCHIVE_INFO: &str = r#"[backrest]
backrest-format=5
backrest-version="2.45"

[db]
db-id=1
db-system-id=7710569403399648360
db-version="15"

[db:history]
1={"db-id":7710569403399648360,"db-version":"15"}

[backrest]
backrest-checksum="635b31dbd7bff23bece7740190f35720b9be0aea"
"#;

    #[test]
    fn archive_info_and_its_checksum() {
        let info = parse(ARCHIVE_INFO.as_bytes());
        assert!(info.checksum_is_right, "{info:?}");
        let present = info.present().unwrap();
        assert_eq!(present.system_id, Some(SystemId(7_710_569_403_399_648_360)));
        assert_eq!((present.id, present.version.as_str()), (1, "15"));
        for at in 0..ARCHIVE_INFO.len() {
            let mut bytes = ARCHIVE_INFO.as_bytes().to_vec();
            bytes[at] ^= 1;
            // Lines between sections and the brackets' own spelling are not part of the sum.
            let changed = parse(&bytes);
            assert!(!changed.checksum_is_right || changed.history == info.history, "byte {at}");
        }
    }

    #[test]
    fn a_backup() {
        let line = r#"20261121-102719F_20261121-102722D={"backup-archive-start":"00000001000000000000000E","backup-archive-stop":"00000001000000000000000E","backup-error":false,"backup-info-repo-size":3123204,"backup-info-size":24311478,"backup-lsn-start":"0/E00028","backup-lsn-stop":"0/E00100","backup-prior":"20261121-102719F","backup-timestamp-start":1795256842,"backup-timestamp-stop":1795256843,"backup-type":"diff","db-id":1}"#;
        let text = format!(
            "[backup:current]\n{line}\n\n[db:history]\n1={{\"db-system-id\":77,\"db-version\":\"15\"}}\n"
        );
        let info = parse(text.as_bytes());
        let backup = &info.backups[0];
        assert_eq!((backup.kind, backup.major), (BackupKind::Differential, Some(15)));
        assert_eq!(backup.parent.as_deref(), Some("20261121-102719F"));
        assert_eq!(backup.start_lsn, Some("0/E00028".parse().unwrap()));
        assert_eq!(backup.timeline.map(|timeline| timeline.0), Some(1));
        assert_eq!(backup.system_id, Some(SystemId(77)));
        assert!(!info.checksum_is_right);
    }
}
