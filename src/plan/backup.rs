//! A backup that a plan begins with: how it lies there, and the steps that put it into a new directory.

use std::path::{Path, PathBuf};

use super::Step;
use super::restore::beside;
use super::shell::path as quoted_path;
use crate::format::backup_history::BackupHistory;
use crate::pg::{Major, WalFileName};
use crate::scan::metadata::{RecoveryFiles, Settings};
use crate::scan::page_rules::Cluster;
use crate::scan::recovery::{Start, WalPlace};
use crate::source::Error;
use crate::source::archive::layout::find;
use crate::source::backup::skeleton::Skeleton;
use crate::source::backup::{BackupSource, Form, FormHint, PartRole, TarPart};
use crate::source::compressed::Compression;
use crate::source::pgdata::DataDirectory;

/// The directory or archive with the files of a backup at a path; or what has to be done before they can be read.
pub fn files_of(path: &Path) -> Result<PathBuf, String> {
    if path.is_file() || BackupSource::looks_like_one(path) {
        return Ok(path.to_owned());
    }
    // Barman and pgmoneta keep the files as they are.
    let data = path.join("data");
    if path.join("backup.info").is_file() && BackupSource::looks_like_one(&data) {
        return Ok(data);
    }
    let shown = path.display();
    let place = path.ancestors().nth(2);
    if path.join("backup.manifest").is_file()
        && let (Some(root), Some(stanza)) = (path.ancestors().nth(3), path.parent().and_then(Path::file_name))
    {
        return Err(format!(
            "{shown} is a backup of pgBackRest, in its own form: restore it into a new directory, then plan with that as --backup: \
             pgbackrest --stanza={} --repo1-path={} --set={} --pg1-path=NEW --type=none restore",
            stanza.to_string_lossy(),
            quoted_path(root),
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
    }
    let sentinel =
        path.file_name().map(|name| format!("{}_backup_stop_sentinel.json", name.to_string_lossy()));
    if let (Some(prefix), Some(sentinel)) = (place, sentinel)
        && path.with_file_name(sentinel).is_file()
    {
        return Err(format!(
            "{shown} is a backup of WAL-G, in its own form: restore it into a new directory, then plan with that as --backup: \
             WALG_FILE_PREFIX={} wal-g backup-fetch NEW {}",
            quoted_path(prefix),
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
    }
    match find(path).first() {
        Some(repository) => Err(format!(
            "{shown} is a {}: name one of its backups, which pgforensic backups lists",
            repository.text()
        )),
        None => Ok(path.to_owned()),
    }
}

/// A backup.
#[derive(Debug)]
pub struct Backup {
    /// As the user named it.
    pub path: PathBuf,
    source: BackupSource,
    /// Of one that lies in archives.
    skeleton: Option<Skeleton>,
    /// What its small files say.
    pub cluster: Cluster,
    /// The settings in it.
    pub settings: Settings,
    recovery: RecoveryFiles,
    /// Of an incremental one: those on which it builds, the full one first.
    parents: Vec<PathBuf>,
}

impl Backup {
    /// Looks at it; the archives of one are read once. `config`: postgresql.conf, if it is not in it.
    pub fn open(path: &Path, config: Option<&Path>) -> Result<Backup, Error> {
        let source = BackupSource::open(path, FormHint::Detect)?;
        let skeleton = match source.form {
            Form::Plain => None,
            Form::Tar { .. } => Some(Skeleton::make(&source)?),
        };
        let cluster = Cluster::scan(skeleton.as_ref().map_or(path, |skeleton| skeleton.root()));
        let directory = &cluster.directory;
        Ok(Backup {
            path: path.to_owned(),
            settings: Settings::scan(directory, config, cluster.major().unwrap_or(Major::V18)),
            recovery: RecoveryFiles::scan(directory),
            source,
            skeleton,
            cluster,
            parents: Vec::new(),
        })
    }

    /// Finds for each incremental one those on which it builds, which pg_combinebackup wants as directories.
    pub fn link(backups: &mut [Backup]) {
        let known: Vec<(PathBuf, BackupHistory)> = (backups.iter())
            .filter(|backup| backup.skeleton.is_none())
            .filter_map(|backup| Some((backup.path.clone(), backup.label()?.clone())))
            .collect();
        for backup in backups.iter_mut().filter(|backup| backup.skeleton.is_none()) {
            let mut from = backup.label().and_then(|label| label.incremental_from);
            while let Some(start) = from {
                let parent = known.iter().find(|(_, label)| label.start == Some(start));
                let Some((path, label)) = parent.filter(|_| backup.parents.len() < known.len()) else {
                    backup.parents.clear();
                    break;
                };
                backup.parents.insert(0, path.clone());
                from = label.incremental_from;
            }
        }
    }

    fn label(&self) -> Option<&BackupHistory> {
        self.recovery.label.as_ref().map(|label| &label.lines)
    }

    /// Does it build on this one?
    pub fn builds_on(&self, path: &Path) -> bool {
        self.parents.iter().any(|parent| parent == path)
    }

    /// Its small files, as a data directory.
    pub fn root(&self) -> &Path {
        self.cluster.directory.root()
    }

    /// What could not be read of it.
    pub fn unreadable(&self) -> &[Error] {
        self.skeleton.as_ref().map_or(&[], |skeleton| &skeleton.unreadable)
    }

    /// The files of its pg_wal, where they lie in an archive.
    pub fn skeleton(&self) -> Option<&Skeleton> {
        self.skeleton.as_ref()
    }

    /// Bytes that it needs.
    pub fn size(&self) -> u64 {
        match &self.skeleton {
            Some(skeleton) => skeleton.size,
            None => DataDirectory::new(&self.path).size(),
        }
    }

    /// What a start of its small files finds elsewhere.
    pub fn complete(&self, start: &mut Start) {
        if let Some(skeleton) = &self.skeleton {
            // In the place of its own, which is empty.
            start.pg_wal.pop();
            start.pg_wal.push(WalPlace::Backup(skeleton.wal.clone()));
            start.lengths = Some(skeleton.lengths.clone());
        }
        if !self.parents.is_empty() {
            // pg_combinebackup takes what makes it an incremental one out of it.
            let content = start.directory.small_file("backup_label").ok().flatten().unwrap_or_default();
            let text = String::from_utf8_lossy(&content);
            let lines = text.lines().filter(|line| !line.starts_with("INCREMENTAL FROM "));
            start.label = Some(lines.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes());
        }
    }

    fn has_wal(&self) -> bool {
        match &self.skeleton {
            Some(skeleton) => skeleton.wal.names().any(|name| WalFileName::parse(name.as_bytes()).is_some()),
            None => !self.cluster.directory.segments().is_empty(),
        }
    }

    /// One with a manifest can be verified; without WAL of its own only its files.
    pub fn verify_step(&self) -> Option<Step> {
        let options = if self.has_wal() { "" } else { "--no-parse-wal " };
        self.source.manifest_path().exists().then(|| {
            Step::new(
                "Check the backup before it is trusted",
                format!("pgforensic verify-backup {options}{}", quoted_path(&self.path)),
                "nothing",
                "backup successfully verified",
                "it is damaged: plan again with another backup",
            )
        })
    }

    /// Puts it into the directory `target`, which is new.
    pub fn copy_step(&self, target: &Path) -> Step {
        let shown = quoted_path(target);
        if !self.parents.is_empty() {
            let chain: Vec<String> =
                self.parents.iter().chain([&self.path]).map(|path| quoted_path(path)).collect();
            let moved: String = (self.cluster.facts.tablespaces.iter())
                .filter_map(|tablespace| {
                    let from = tablespace.target()?;
                    let to = beside(target, ".tblspc").join(tablespace.path.file_name()?);
                    Some(format!("-T {}={} ", quoted_path(&from), quoted_path(&to)))
                })
                .collect();
            return Step::new(
                "Put the full backup and the incremental ones together into a new directory",
                format!("pg_combinebackup {moved}-o {shown} {}", chain.join(" ")),
                "a new directory",
                "exit status 0",
                "one of them does not fit: take an older chain, or the full backup alone with more WAL",
            );
        }
        if self.skeleton.is_none() {
            return Step::new(
                "Restore the backup into a new directory",
                format!("cp -a {} {shown}\nchmod 700 {shown}", quoted_path(&self.path)),
                "a new directory; tablespace links in it must not lead into the old cluster (ls -l pg_tblspc)",
                "exit status 0",
                "no room, or a link in pg_tblspc leads to where the old server wrote",
            );
        }
        let mut lines = vec![format!("mkdir -m 700 {shown}")];
        let mut map = Vec::new();
        for part in self.source.parts() {
            let to = match part.role {
                PartRole::Base => target.to_owned(),
                PartRole::Wal => {
                    let pg_wal = target.join("pg_wal");
                    lines.push(format!("mkdir -p -m 700 {}", quoted_path(&pg_wal)));
                    pg_wal
                }
                PartRole::Tablespace(oid) => {
                    let place = beside(target, ".tblspc").join(oid.to_string());
                    lines.push(format!("mkdir -p -m 700 {}", quoted_path(&place)));
                    map.push(format!("{oid} {}", place.display()));
                    place
                }
            };
            lines.push(format!("{} {} -C {}", unpacker(part), quoted_path(&part.path), quoted_path(&to)));
        }
        let changes = if map.is_empty() {
            "a new directory"
        } else {
            lines.push(format!("cat > {shown}/tablespace_map <<'END'\n{}\nEND", map.join("\n")));
            "a new directory, and one for each tablespace beside it: by tablespace_map the server links them when it starts, and leaves those of the old cluster alone"
        };
        Step::new(
            "Unpack the backup into a new directory",
            lines.join("\n"),
            changes,
            "exit status 0",
            "no room, or an archive ends too early: then another backup is needed",
        )
    }

    /// Tablespaces that it needs and has not.
    pub fn missing_tablespaces(&self) -> Vec<u32> {
        let has = |oid: u32| self.source.parts().iter().any(|part| part.role == PartRole::Tablespace(oid));
        if self.skeleton.is_none() {
            return Vec::new();
        }
        let map = self.recovery.map.iter().flatten().flatten();
        map.map(|(oid, _)| *oid).filter(|oid| !has(*oid)).collect()
    }
}

/// tar does not know all of them by itself.
fn unpacker(part: &TarPart) -> String {
    let name = part.path.file_name().unwrap_or_default().as_encoded_bytes();
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    match Compression::from_extension(last) {
        _ if last == b"tgz" => "tar -xzf".to_owned(),
        None => "tar -xf".to_owned(),
        Some(Compression::Gzip) => "tar -xzf".to_owned(),
        Some(packed) => format!("tar -I {} -xf", packed.name()),
    }
}
