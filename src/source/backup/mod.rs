//! A base backup where it lies: a directory, or a set of tar archives, as one stream of members.
//!
//! ```text
//! plain   PG_VERSION base/ global/ pg_wal/ …  backup_manifest
//! tar     base.tar  16400.tar  pg_wal.tar     backup_manifest      each .tar, .tgz, .tar.gz, .lz4, .zst, .bz2, .xz
//!         base/…    PG_15_…/…  0000…0A
//! ```
//!
//! In both forms a member's path is the one below the data directory: what is in `16400.tar` lies below
//! `pg_tblspc/16400`, what is in `pg_wal.tar` below `pg_wal`. That is also how the manifest names files.

pub mod ahead;
pub mod directory;
pub mod segments;
pub mod skeleton;
pub mod tar;
pub mod wal;

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use self::ahead::ReadAhead;
use self::tar::{FileStream, Forward, TarReader, relative_path};
use super::Error;
use super::compressed::{Compression, Unpacked};
use super::file::{DataFile, ReadAt};

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and where it leads.
    Symlink(Vec<u8>),
    /// Of an archive: another name of an earlier member.
    HardLink(Vec<u8>),
    /// Of an archive: a file with holes, whose data are not in the order of the file.
    Sparse,
    /// A device, a FIFO, a socket.
    Other,
}

/// One entry of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Below the data directory; `/` between the parts.
    pub path: Vec<u8>,
    /// The archive's name for it would have led out of the directory.
    pub unsafe_name: bool,
    /// What it is.
    pub kind: MemberKind,
    /// Bytes, of a file.
    pub size: u64,
}

impl Member {
    /// For people; odd bytes are replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }
}

/// What an archive of a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartRole {
    /// The data directory.
    Base,
    /// The tablespace with this OID.
    Tablespace(u32),
    /// pg_wal.
    Wal,
}

/// One archive of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarPart {
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub role: PartRole,
    /// Its size on disk.
    pub size: u64,
}

/// How a backup lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a data directory.
    Plain,
    /// As archives.
    Tar {
        /// Those with a name that pg_basebackup gives: base, tablespaces by OID, WAL.
        parts: Vec<TarPart>,
        /// Other files beside them.
        others: Vec<PathBuf>,
    },
}

/// A backup that can be read.
#[derive(Clone, Debug)]
pub struct BackupSource {
    /// As the user named it.
    pub path: PathBuf,
    /// How it lies there.
    pub form: Form,
}

/// What the user says about the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormHint {
    /// Look.
    Detect,
    /// It is a data directory.
    Plain,
    /// They are archives.
    Tar,
}

impl BackupSource {
    /// A directory, or one archive of the data directory.
    pub fn open(path: &Path, hint: FormHint) -> Result<BackupSource, Error> {
        let attributes = std::fs::metadata(path).map_err(Error::at(path, "open directory"))?;
        let path = path.to_owned();
        if attributes.is_file() {
            let part = TarPart { path: path.clone(), role: PartRole::Base, size: attributes.len() };
            return Ok(BackupSource { path, form: Form::Tar { parts: vec![part], others: Vec::new() } });
        }
        let form = match hint {
            FormHint::Plain => Form::Plain,
            FormHint::Tar => tar_form(&path)?,
            FormHint::Detect if path.join("PG_VERSION").exists() => Form::Plain,
            FormHint::Detect => match tar_form(&path)? {
                // Without PG_VERSION, but without any archive too.
                Form::Tar { parts, .. } if parts.is_empty() => Form::Plain,
                form => form,
            },
        };
        Ok(BackupSource { path, form })
    }

    /// Is something at this path that can be read as a backup?
    pub fn looks_like_one(path: &Path) -> bool {
        path.join("backup_label").is_file()
            || path.join("backup_manifest").is_file()
            || super::pgdata::DataDirectory::looks_like_pgdata(path)
            || tar_form(path).is_ok_and(|form| {
                matches!(form, Form::Tar { parts, .. } if parts.iter().any(|part| part.role == PartRole::Base))
            })
    }

    /// Where its manifest would be.
    pub fn manifest_path(&self) -> PathBuf {
        let directory =
            if self.path.is_dir() { &self.path } else { self.path.parent().unwrap_or(&self.path) };
        directory.join("backup_manifest")
    }

    /// The archives; none of a plain backup.
    pub fn parts(&self) -> &[TarPart] {
        match &self.form {
            Form::Plain => &[],
            Form::Tar { parts, .. } => parts,
        }
    }

    /// Every member from front to back, until `visit` breaks; its data are read from the second argument. What could
    /// not be read is returned; of an archive nothing behind that is seen.
    pub fn members(&self, visit: &mut Visit<'_>) -> Vec<Error> {
        match &self.form {
            Form::Plain => self.plain_members(visit),
            Form::Tar { parts, .. } => {
                let mut errors = Vec::new();
                for part in parts {
                    match part.members(visit) {
                        Ok(ControlFlow::Continue(())) => {}
                        Ok(ControlFlow::Break(())) => break,
                        Err(error) => errors.push(error),
                    }
                }
                errors
            }
        }
    }

    fn plain_members(&self, visit: &mut Visit<'_>) -> Vec<Error> {
        let (members, mut errors) = directory::list(&self.path);
        for member in members {
            let flow = if member.kind == MemberKind::File {
                let mut file = Lazy { path: directory::path_of(&self.path, &member.path), file: None };
                visit(&member, &mut file)
            } else {
                visit(&member, &mut io::empty())
            };
            match flow {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break,
                Err(error) => {
                    errors.push(Error::at(&directory::path_of(&self.path, &member.path), "read file")(error));
                }
            }
        }
        errors
    }
}

/// Is called with each member and its data. An error is one of reading them.
pub type Visit<'v> = dyn FnMut(&Member, &mut dyn Read) -> io::Result<ControlFlow<()>> + 'v;

impl TarPart {
    /// Is the archive packed? Otherwise its members can be read where they are.
    pub fn is_packed(&self) -> Result<bool, Error> {
        let file = DataFile::open(&self.path)?;
        let mut head = [0; 8];
        let count = file.read_full_at(&mut head, 0).map_err(Error::at(&self.path, "read file"))?;
        Ok(Compression::from_magic(head.get(..count).unwrap_or_default()).is_some())
    }

    /// Opens the archive, undoing its compression.
    pub fn open(&self) -> Result<TarReader<Box<dyn Forward + Send>>, Error> {
        let stream = FileStream::new(DataFile::open(&self.path)?);
        let stream: Box<dyn Forward + Send> = if self.is_packed()? {
            Box::new(Unpacked::new(stream).map_err(Error::at(&self.path, "read file"))?)
        } else {
            Box::new(stream)
        };
        Ok(TarReader::new(stream))
    }

    /// The same, with a thread that unpacks.
    pub fn open_ahead(&self) -> Result<TarReader<Box<dyn Forward + Send>>, Error> {
        let stream = FileStream::new(DataFile::open(&self.path)?);
        let unpacked = Unpacked::new(stream).map_err(Error::at(&self.path, "read file"))?;
        Ok(TarReader::new(Box::new(ReadAhead::new(unpacked))))
    }

    /// A member's path below the data directory, and whether its name would have led out of it.
    pub fn path_below(&self, name: &[u8]) -> (Vec<u8>, bool) {
        let (path, unsafe_name) = relative_path(name);
        let path = match self.role {
            PartRole::Base => path,
            PartRole::Tablespace(oid) => [format!("pg_tblspc/{oid}/").as_bytes(), &path].concat(),
            PartRole::Wal => [b"pg_wal/".as_slice(), &path].concat(),
        };
        (path, unsafe_name)
    }

    /// The members of this archive.
    pub fn members(&self, visit: &mut Visit<'_>) -> Result<ControlFlow<()>, Error> {
        let mut reader = self.open()?;
        let failed = || Error::at(&self.path, "read file");
        while let Some(found) = reader.next_member().map_err(failed())? {
            let (path, unsafe_name) = self.path_below(&found.name);
            let member = Member { path, unsafe_name, kind: found.kind, size: found.size };
            if visit(&member, &mut reader).map_err(failed())?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A file that is opened when it is read.
struct Lazy {
    path: PathBuf,
    file: Option<FileStream>,
}

impl Read for Lazy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(FileStream::new(DataFile::open(&self.path).map_err(|error| error.source)?)),
        };
        file.read(buffer)
    }
}

fn tar_form(directory: &Path) -> Result<Form, Error> {
    let failed = || Error::at(directory, "open directory");
    let (mut parts, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let path = entry.path();
        let role = part_role(entry.file_name().as_bytes());
        match (role, entry.metadata()) {
            (Some(role), Ok(attributes)) if attributes.is_file() => {
                parts.push(TarPart { path, role, size: attributes.len() });
            }
            _ => others.push(path),
        }
    }
    parts.sort_by(|a, b| (a.role, &a.path).cmp(&(b.role, &b.path)));
    others.sort();
    Ok(Form::Tar { parts, others })
}

/// What an archive with this name holds.
pub fn part_role(name: &[u8]) -> Option<PartRole> {
    let dot = name.iter().position(|byte| *byte == b'.')?;
    let (stem, ending) = name.split_at(dot);
    let packed =
        ending.strip_prefix(b".tar.").is_some_and(|last| Compression::from_extension(last).is_some());
    if !packed && !matches!(ending, b".tar" | b".tgz") {
        return None;
    }
    match stem {
        b"base" => Some(PartRole::Base),
        b"pg_wal" => Some(PartRole::Wal),
        oid => {
            let oid =
                std::str::from_utf8(oid).ok().filter(|oid| oid.bytes().all(|byte| byte.is_ascii_digit()))?;
            oid.parse().ok().filter(|oid| *oid > 0).map(PartRole::Tablespace)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives() {
        let role = |name: &str| part_role(name.as_bytes());
        assert_eq!(role("base.tar"), Some(PartRole::Base));
        assert_eq!(role("base.tgz"), Some(PartRole::Base));
        assert_eq!(role("pg_wal.tar.zst"), Some(PartRole::Wal));
        assert_eq!(role("16400.tar.lz4"), Some(PartRole::Tablespace(16400)));
        for other in ["base", "base.tar.rar", "0.tar", "5000000000.tar", "x.tar", "backup_manifest", "-1.tar"]
        {
            assert_eq!(role(other), None, "{other}");
        }
    }

    #[test]
    fn both_forms_have_the_same_members() {
        let root = tempfile::tempdir().unwrap();
        let (plain, tar) = (root.path().join("plain"), root.path().join("tar"));
        for directory in ["base/1", "pg_tblspc/16400/PG_15", "pg_wal"] {
            std::fs::create_dir_all(plain.join(directory)).unwrap();
        }
        let files = [
            ("PG_VERSION", "15\n"),
            ("base/1/1259", "page"),
            ("pg_tblspc/16400/PG_15/1", "x"),
            ("pg_wal/000000010000000000000001", "wal"),
        ];
        for (name, content) in files {
            std::fs::write(plain.join(name), content).unwrap();
        }
        std::fs::create_dir(&tar).unwrap();
        let member =
            |name: &str, content: &str| tar::tests::member(name.as_bytes(), b'0', content.as_bytes());
        std::fs::write(
            tar.join("base.tar"),
            [member("./PG_VERSION", "15\n"), member("base/1/1259", "page")].concat(),
        )
        .unwrap();
        std::fs::write(tar.join("16400.tar"), member("PG_15/1", "x")).unwrap();
        std::fs::write(tar.join("pg_wal.tar"), member("000000010000000000000001", "wal")).unwrap();
        for path in [&plain, &tar] {
            let source = BackupSource::open(path, FormHint::Detect).unwrap();
            let mut found = Vec::new();
            let errors = source.members(&mut |member, data| {
                if member.kind == MemberKind::File {
                    let mut content = String::new();
                    data.read_to_string(&mut content)?;
                    found.push((member.text().into_owned(), content));
                }
                Ok(ControlFlow::Continue(()))
            });
            assert!(errors.is_empty());
            found.sort();
            assert_eq!(found, files.map(|(name, content)| (name.to_owned(), content.to_owned())));
        }
    }
}
