//! What a tool's repository says of itself: the cluster that it belongs to, and its base backups.
//!
//! Only the tool's own small files are read, whole; those of the backups themselves are not opened. What they say is
//! passed on as it is: `check` compares it with what the WAL and the backups prove.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::format::backup_history::BackupHistory;
use crate::format::tool_backup::{BackupRecord, barman, pg_probackup, pgbackrest, pghoard, pgmoneta, wal_g};
use crate::pg::{SystemId, WalFileName};
use crate::source::archive::layout::{Repository, Tool};
use crate::source::archive::pgbackrest::history_id;
use crate::source::compressed::Unpacked;
use crate::source::file::DataFile;
use crate::source::{Error, system_message};

/// Metadata files are not read behind this: the largest `backup.info` and `xlog.db` are far smaller.
const LIMIT: u64 = 64 << 20;

/// What openssl and pgBackRest put before what they encrypt.
const SALTED: &[u8] = b"Salted__";

/// Backups of one cluster that are looked at.
const MAX_BACKUPS: usize = 1 << 14;

/// A base backup that a tool knows.
#[derive(Clone, Debug)]
pub struct ToolBackup {
    /// What the tool says of it.
    pub record: BackupRecord,
    /// The directory with its files, or the one file that it is.
    pub path: PathBuf,
    /// The file that says so.
    pub metadata: PathBuf,
}

/// Something that is not right with a tool's own files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataProblem {
    /// The checksum of a file of pgBackRest is wrong; was its copy used?
    Checksum {
        /// The file.
        path: PathBuf,
        /// In the file.
        stated: Option<String>,
        /// Of its content.
        computed: String,
        /// The copy is sound.
        copy_is_sound: bool,
    },
    /// One of the two files is not there; the other one was used.
    OnlyCopy {
        /// The missing one.
        path: PathBuf,
    },
    /// It is encrypted: its content is not known.
    Encrypted {
        /// The file.
        path: PathBuf,
    },
}

/// Everything that a repository says of itself.
#[derive(Clone, Debug, Default)]
pub struct RepositoryFacts {
    /// The cluster whose WAL it should hold, and where that is written.
    pub system_id: Option<(SystemId, PathBuf)>,
    /// The base backups, oldest first.
    pub backups: Vec<ToolBackup>,
    /// The segments in Barman's `xlog.db`, and that file.
    pub listed: Option<(PathBuf, Vec<WalFileName>)>,
    /// What is not right with its files.
    pub problems: Vec<MetadataProblem>,
    /// What could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Reads the metadata of one cluster's part of a repository.
pub fn read_repository(repository: &Repository) -> RepositoryFacts {
    let mut facts = RepositoryFacts::default();
    match repository.layout.tool {
        Tool::PgBackRest => facts.read_pgbackrest(repository),
        Tool::Barman | Tool::BarmanCloud => facts.read_barman(repository),
        Tool::WalG => facts.read_wal_g(repository),
        Tool::PgProbackup => facts.read_pg_probackup(repository),
        Tool::Pgmoneta => facts.read_each(repository, "backup.info", pgmoneta::parse),
        Tool::Pghoard => facts.read_pghoard(repository),
        Tool::Pitrery => facts.read_each(repository, "backup_label", pitrery),
    }
    facts.backups.sort_by(|a, b| {
        let key = |backup: &ToolBackup| (backup.record.started, backup.record.start_lsn);
        key(a).cmp(&key(b)).then_with(|| a.record.id.cmp(&b.record.id))
    });
    facts
}

impl RepositoryFacts {
    /// A whole small file, unpacked; none if there is none.
    fn read(&mut self, path: &Path) -> Option<Vec<u8>> {
        let result = (|| -> Result<Vec<u8>, Error> {
            // No link is followed: it could lead out of the repository.
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
                return Err(Error::at(path, "open file")(std::io::Error::other(
                    "a link, which is not followed",
                )));
            }
            let failed = |error| Error::at(path, "read file")(error);
            let unpacked = Unpacked::named(DataFile::open(path)?.into_std(), path).map_err(failed)?;
            let mut content = Vec::new();
            unpacked.take(LIMIT).read_to_end(&mut content).map_err(failed)?;
            Ok(content)
        })();
        match result {
            Ok(content) => Some(content),
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                let why = format!("could not {}: {}", error.operation, system_message(&error.source));
                self.unreadable.push((path.to_owned(), why));
                None
            }
        }
    }

    /// The names of the directories or files in a directory of backups, in order.
    fn names(&mut self, path: &Path, directories: bool) -> Vec<std::ffi::OsString> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                let why = format!("could not open directory: {}", system_message(&error));
                self.unreadable.push((path.to_owned(), why));
                return Vec::new();
            }
        };
        let wanted = |kind: std::fs::FileType| if directories { kind.is_dir() } else { kind.is_file() };
        let entries = entries.flatten().filter(|entry| entry.file_type().is_ok_and(wanted));
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).take(MAX_BACKUPS + 1).collect();
        if names.len() > MAX_BACKUPS {
            names.pop();
            self.unreadable
                .push((path.to_owned(), format!("only {MAX_BACKUPS} of the names here are looked at")));
        }
        names.sort_unstable();
        names
    }

    /// Each directory in which there is a file of that name is a backup.
    fn read_each(
        &mut self,
        repository: &Repository,
        file: &str,
        parse: impl Fn(&str, &[u8]) -> BackupRecord,
    ) {
        let Some(backups) = &repository.backups else { return };
        for name in self.names(backups, true) {
            let path = backups.join(&name);
            let metadata = path.join(file);
            let Some(content) = self.read(&metadata) else { continue };
            let record = parse(&name.to_string_lossy(), &content);
            self.backups.push(ToolBackup { record, path, metadata });
        }
    }

    /// The first of `name` and `name.copy` that is sound, as pgBackRest itself takes it.
    fn read_info(&mut self, path: &Path) -> Option<(PathBuf, pgbackrest::Info)> {
        let mut copy = path.as_os_str().to_owned();
        copy.push(".copy");
        let (first, second) = (path.to_owned(), PathBuf::from(copy));
        let mut read = |path: &Path| {
            let content = self.read(path)?;
            Some((content.starts_with(SALTED), pgbackrest::parse(&content)))
        };
        let (original, copy) = (read(&first), read(&second));
        let is_sound = |file: &Option<(bool, pgbackrest::Info)>| {
            file.as_ref().is_some_and(|(_, info)| info.checksum_is_right)
        };
        let (first_sound, second_sound) = (is_sound(&original), is_sound(&copy));
        for (path, file, other) in [(&first, &original, second_sound), (&second, &copy, first_sound)] {
            self.problems.extend(match file {
                None if original.is_some() || copy.is_some() => {
                    Some(MetadataProblem::OnlyCopy { path: path.clone() })
                }
                Some((true, _)) => Some(MetadataProblem::Encrypted { path: path.clone() }),
                Some((_, info)) if !info.checksum_is_right => Some(MetadataProblem::Checksum {
                    path: path.clone(),
                    stated: info.stated_checksum.clone(),
                    computed: info.computed_checksum.clone(),
                    copy_is_sound: other,
                }),
                _ => None,
            });
        }
        match (original, copy) {
            (Some((_, info)), _) if first_sound => Some((first, info)),
            (_, Some((_, info))) if second_sound => Some((second, info)),
            (Some((false, info)), _) => Some((first, info)),
            (_, Some((false, info))) => Some((second, info)),
            _ => None,
        }
    }

    fn read_pgbackrest(&mut self, repository: &Repository) {
        let stanza = repository.cluster.clone().unwrap_or_default();
        let archive = repository.root.join("archive").join(&stanza);
        let wal = repository.wal.first().map(|wal| wal.path.canonicalize().unwrap_or_default());
        let ancestors = wal.iter().flat_map(|wal| wal.ancestors().take(2));
        let id = ancestors.filter_map(|path| history_id(path.file_name()?)).next();
        if let Some((path, info)) = self.read_info(&archive.join("archive.info")) {
            let entry = match id {
                Some(id) => info.history.iter().find(|entry| entry.id == id),
                None => info.present(),
            };
            self.system_id = entry.and_then(|entry| entry.system_id).map(|id| (id, path));
        }
        let Some(backups) = &repository.backups else { return };
        if let Some((metadata, info)) = self.read_info(&backups.join("backup.info")) {
            for record in info.backups.into_iter().take(MAX_BACKUPS) {
                // A label is one name, whatever the file says.
                let name = Path::new(&record.id).file_name().unwrap_or(OsStr::new("?"));
                self.backups.push(ToolBackup {
                    path: backups.join(name),
                    metadata: metadata.clone(),
                    record,
                });
            }
        }
    }

    fn read_barman(&mut self, repository: &Repository) {
        self.read_each(repository, "backup.info", barman::parse);
        if repository.layout.tool == Tool::BarmanCloud {
            return;
        }
        let path = repository.root.join("identity.json");
        if let Some(content) = self.read(&path) {
            self.system_id = barman::parse_identity(&content).0.map(|id| (id, path));
        }
        let path = repository.root.join("wals/xlog.db");
        if let Some(content) = self.read(&path) {
            self.listed = Some((path, barman::parse_xlog_db(&content)));
        }
    }

    fn read_wal_g(&mut self, repository: &Repository) {
        let Some(backups) = &repository.backups else { return };
        for name in self.names(backups, false) {
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(wal_g::SENTINEL)) else {
                continue;
            };
            let (metadata, path) = (backups.join(&name), backups.join(id));
            let Some(sentinel) = self.read(&metadata) else { continue };
            let more = self.read(&path.join("metadata.json")).unwrap_or_default();
            let record = wal_g::parse(id, &sentinel, &more);
            self.backups.push(ToolBackup { record, path, metadata });
        }
    }

    fn read_pg_probackup(&mut self, repository: &Repository) {
        self.read_each(repository, "backup.control", pg_probackup::parse);
        let Some(path) = repository.backups.as_ref().map(|backups| backups.join("pg_probackup.conf")) else {
            return;
        };
        if let Some(content) = self.read(&path) {
            self.system_id = pg_probackup::parse_system_id(&content).map(|id| (id, path));
        }
        let system_id = self.system_id.as_ref().map(|(id, _)| *id);
        self.backups.iter_mut().for_each(|backup| backup.record.system_id = system_id);
    }

    fn read_pghoard(&mut self, repository: &Repository) {
        let Some(backups) = &repository.backups else { return };
        for name in self.names(backups, false) {
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".metadata")) else { continue };
            let metadata = backups.join(&name);
            let Some(content) = self.read(&metadata) else { continue };
            let record = pghoard::parse(id, &content);
            self.backups.push(ToolBackup { record, path: backups.join(id), metadata });
        }
    }
}

/// pitrery keeps the `backup_label` of each backup beside its files.
fn pitrery(id: &str, content: &[u8]) -> BackupRecord {
    let label = BackupHistory::parse(content);
    BackupRecord {
        id: id.to_owned(),
        start_lsn: label.start,
        stop_lsn: label.stop,
        start_wal: label.start_segment,
        stop_wal: label.stop_segment,
        timeline: label.start_timeline.or(label.start_segment.map(|name| name.timeline)),
        label: label.label,
        complete: label.start.is_some(),
        ..BackupRecord::default()
    }
}
