//! What a base backup says of itself: its label, manifest, pg_control and the WAL that it carries.
//!
//! Only names, sizes and small files are read. In a packed archive that costs unpacking it to the end, because pg_control
//! is last; [`Effort::Quick`] stops at the first file of a relation instead and lives with what is known by then.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::format::backup_history::BackupHistory;
use crate::format::backup_manifest::{Manifest, WalRange};
use crate::format::control::{CONTROL_FILE_SIZE, ControlFile, Detected, detect};
use crate::format::settings::{self, Line};
use crate::format::wal::page_header::{LONG_HEADER_SIZE, PageHeader};
use crate::pg::{Lsn, Major, SystemId, TimelineId, WalFileName, WalSegSize};
use crate::scan::metadata::recovery_files::{BackupLabel, tablespace_map};
use crate::source::Error;
use crate::source::backup::{BackupSource, Form, Member, MemberKind, PartRole, TarPart};
use crate::source::compressed::read_full;
use crate::source::file::{DataFile, ReadAt};

/// Small files are read up to here.
pub const SMALL_FILE: usize = 64 << 10;
/// pg_verifybackup cannot read a larger manifest either.
const LARGEST_MANIFEST: u64 = i32::MAX as u64;

/// How much of a packed archive is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Up to the first file of a relation.
    Quick,
    /// All of it.
    Whole,
}

/// What a backup is, judged by what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackupKind {
    /// With a backup_label.
    Full,
    /// With one that names the backup on which it builds.
    Incremental,
    /// Without one: a copy of a stopped cluster, a storage snapshot, or a backup whose label is lost.
    Unlabelled,
}

impl BackupKind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            BackupKind::Full => "full",
            BackupKind::Incremental => "incremental",
            BackupKind::Unlabelled => "copy without backup_label",
        }
    }
}

/// A manifest and whether it is the one that the server wrote.
#[derive(Debug)]
pub struct ManifestFile {
    /// The file.
    pub path: PathBuf,
    /// Its content.
    pub manifest: Manifest,
    /// Why pg_verifybackup refuses it: also that its checksum does not fit.
    pub problem: Option<String>,
}

impl ManifestFile {
    /// Reads a manifest; `None` if there is none.
    pub fn read(path: PathBuf) -> Result<Option<ManifestFile>, Error> {
        let file = match DataFile::open(&path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.length() > LARGEST_MANIFEST {
            return Err(Error::at(&path, "read file")(io::Error::other("larger than any manifest")));
        }
        let mut text = vec![0; file.length() as usize];
        let count = file.read_full_at(&mut text, 0).map_err(Error::at(&path, "read file"))?;
        text.truncate(count);
        Ok(Some(ManifestFile::parse(path, &text)))
    }

    fn parse(path: PathBuf, text: &[u8]) -> ManifestFile {
        let manifest = Manifest::parse(text);
        let fits = || {
            let calculated: [u8; 32] =
                Sha256::digest(text.get(..manifest.covered).unwrap_or_default()).into();
            manifest.stored_checksum() == Some(calculated)
        };
        let problem = match &manifest.problem {
            Some(problem) => Some(problem.clone()),
            None if fits() => None,
            None => Some("manifest checksum mismatch".to_owned()),
        };
        ManifestFile { path, manifest, problem }
    }
}

/// A WAL segment inside the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedSegment {
    /// Its name.
    pub name: WalFileName,
    /// Its size.
    pub size: u64,
    /// Its first page's header, where it has one.
    pub header: Option<PageHeader>,
}

/// Everything that a backup says of itself.
#[derive(Debug)]
pub struct BackupFacts {
    /// Where it lies.
    pub source: BackupSource,
    /// The manifest, if there is one that can be read.
    pub manifest: Option<ManifestFile>,
    /// `backup_label`.
    pub label: Option<BackupLabel>,
    /// `tablespace_map`: OID and path of each line.
    pub tablespace_map: Option<Vec<Result<(u32, String), String>>>,
    /// First line of PG_VERSION.
    pub pg_version: Option<String>,
    /// pg_control.
    pub control: Option<Detected>,
    /// Its configuration files and their settings.
    pub configuration: Vec<(String, Vec<Line>)>,
    /// Segments in its pg_wal, by name.
    pub wal: Vec<CarriedSegment>,
    /// Histories of backups in its pg_wal.
    pub histories: Vec<BackupHistory>,
    /// Files seen.
    pub files: u64,
    /// Their bytes, unpacked.
    pub size: u64,
    /// Bytes on disk of its archives; of a plain backup as `size`.
    pub stored: u64,
    /// Every member was seen; false after a [`Effort::Quick`] look at packed archives.
    pub whole: bool,
    /// What could not be read.
    pub errors: Vec<Error>,
}

/// Where a backup's stop location is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSource {
    /// The manifest's WAL ranges.
    Manifest,
    /// A history file in its own pg_wal.
    History,
    /// `backup_end_point` or, of a backup from a standby, the minimum recovery point in pg_control.
    Control,
}

impl BackupFacts {
    /// Looks at a backup.
    pub fn scan(source: BackupSource, effort: Effort) -> BackupFacts {
        let manifest_path = source.manifest_path();
        let mut facts = BackupFacts::nothing(source);
        match ManifestFile::read(manifest_path) {
            Ok(manifest) => facts.manifest = manifest,
            Err(error) => facts.errors.push(error),
        }
        match facts.source.form.clone() {
            Form::Plain => {
                let source = facts.source.clone();
                let errors = source.members(&mut |member, data| facts.take(member, data));
                facts.errors.extend(errors);
                facts.stored = facts.size;
            }
            Form::Tar { parts, .. } => parts.iter().for_each(|part| facts.scan_part(part, effort)),
        }
        facts.wal.sort_by_key(|segment| segment.name);
        facts
    }

    /// Of which nothing is known yet.
    pub fn nothing(source: BackupSource) -> BackupFacts {
        BackupFacts {
            source,
            manifest: None,
            label: None,
            tablespace_map: None,
            pg_version: None,
            control: None,
            configuration: Vec::new(),
            wal: Vec::new(),
            histories: Vec::new(),
            files: 0,
            size: 0,
            stored: 0,
            whole: true,
            errors: Vec::new(),
        }
    }

    fn scan_part(&mut self, part: &TarPart, effort: Effort) {
        self.stored += part.size;
        let quick = effort == Effort::Quick && part.is_packed().unwrap_or(false);
        let mut stopped = false;
        let result = part.members(&mut |member, data| {
            let enough = match part.role {
                PartRole::Wal => !self.wal.is_empty(),
                _ => {
                    member.kind == MemberKind::File
                        && (member.path.starts_with(b"base/") || part.role != PartRole::Base)
                }
            };
            if quick && enough {
                stopped = true;
                return Ok(ControlFlow::Break(()));
            }
            self.take(member, data)
        });
        self.whole &= !stopped;
        self.errors.extend(result.err());
    }

    /// Takes what a member has to say.
    pub fn take(&mut self, member: &Member, data: &mut dyn Read) -> io::Result<ControlFlow<()>> {
        if member.kind != MemberKind::File {
            return Ok(ControlFlow::Continue(()));
        }
        self.files += 1;
        self.size += member.size;
        if is_small_file(&member.path) {
            let content = prefix(data, SMALL_FILE)?;
            self.take_small(&member.path, &content);
        } else if let Some(name) = member.path.strip_prefix(b"pg_wal/").and_then(WalFileName::parse) {
            let head = prefix(data, LONG_HEADER_SIZE)?;
            self.take_segment(name, member.size, &head);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes the content of a file for which [`is_small_file`] is true.
    pub fn take_small(&mut self, path: &[u8], content: &[u8]) {
        match path {
            b"backup_label" => self.label = Some(BackupLabel::parse(content)),
            b"tablespace_map" => self.tablespace_map = Some(tablespace_map(content)),
            b"PG_VERSION" => {
                let text = String::from_utf8_lossy(content);
                self.pg_version = Some(text.lines().next().unwrap_or_default().trim().to_owned());
            }
            b"global/pg_control" => {
                let bytes = content.get(..content.len().min(CONTROL_FILE_SIZE + 1)).unwrap_or_default();
                self.control = Some(detect(bytes, self.version_of_files()));
            }
            b"postgresql.conf" | b"postgresql.auto.conf" => {
                self.configuration
                    .push((String::from_utf8_lossy(path).into_owned(), settings::parse(content).0));
            }
            _ => self.histories.push(BackupHistory::parse(content)),
        }
    }

    /// Takes a segment and the bytes with which it begins.
    pub fn take_segment(&mut self, name: WalFileName, size: u64, head: &[u8]) {
        let header = PageHeader::detect(head).ok().filter(|header| header.fault(true).is_none());
        self.wal.push(CarriedSegment { name, size, header });
    }

    fn version_of_files(&self) -> Option<Major> {
        Major::from_number(self.pg_version.as_deref()?.parse().ok()?)
    }

    /// pg_control, if its checksum is right.
    pub fn trusted_control(&self) -> Option<&ControlFile> {
        self.control.as_ref().filter(|detected| detected.crc_is_right()).map(|detected| &detected.control)
    }

    fn wal_header(&self) -> Option<&PageHeader> {
        self.wal.iter().find_map(|segment| segment.header.as_ref())
    }

    /// Whose server made it: from PG_VERSION, pg_control, or the WAL.
    pub fn major(&self) -> Option<Major> {
        self.version_of_files()
            .or_else(|| self.control.as_ref().filter(|control| control.crc_is_right())?.major())
            .or_else(|| Major::from_wal_magic(self.wal_header()?.magic))
    }

    /// From pg_control, the manifest (17+), or the WAL.
    pub fn system_id(&self) -> Option<SystemId> {
        self.trusted_control()
            .map(|control| control.system_identifier)
            .or_else(|| self.manifest.as_ref()?.manifest.system_id)
            .or_else(|| Some(self.wal_header()?.long.as_ref()?.system_id))
    }

    /// From pg_control or the WAL.
    pub fn segment_size(&self) -> Option<WalSegSize> {
        let control = self.trusted_control().map(|control| control.xlog_seg_size);
        let bytes = control.or_else(|| Some(self.wal_header()?.long.as_ref()?.segment_size));
        WalSegSize::new(bytes?.into())
    }

    /// Full, incremental, or without a label.
    pub fn kind(&self) -> BackupKind {
        match &self.label {
            None => BackupKind::Unlabelled,
            Some(label) if label.lines.incremental_from.is_some() => BackupKind::Incremental,
            Some(_) => BackupKind::Full,
        }
    }

    /// The start and timeline of the backup on which this one builds.
    pub fn parent(&self) -> Option<(Lsn, Option<TimelineId>)> {
        let lines = &self.label.as_ref()?.lines;
        Some((lines.incremental_from?, lines.incremental_from_timeline))
    }

    /// Where recovery begins: the label's word, else the manifest's.
    pub fn start(&self) -> Option<Lsn> {
        let label = self.label.as_ref().and_then(|label| label.lines.start);
        label.or_else(|| self.ranges().first().map(|range| range.start))
    }

    /// The timeline of the start.
    pub fn start_timeline(&self) -> Option<TimelineId> {
        let lines = self.label.as_ref().map(|label| &label.lines);
        lines
            .and_then(|lines| lines.start_timeline.or(lines.start_segment.map(|segment| segment.timeline)))
            .or_else(|| self.ranges().first().map(|range| range.timeline))
    }

    /// Before this the backup is not consistent: where it is known from, and its timeline.
    pub fn stop(&self) -> Option<(Lsn, Option<TimelineId>, StopSource)> {
        if let Some(range) = self.ranges().last() {
            return Some((range.end, Some(range.timeline), StopSource::Manifest));
        }
        let own =
            self.histories.iter().find(|history| history.start.is_some() && history.start == self.start());
        if let Some(stop) = own.and_then(|history| history.stop) {
            return Some((stop, own.and_then(|history| history.stop_timeline), StopSource::History));
        }
        // A backup from a standby has no record of its end: its pg_control says how far the standby was.
        let from_standby = self.label.as_ref()?.lines.from.as_deref() == Some("standby");
        let control = self.trusted_control().filter(|_| from_standby)?;
        let point = control.min_recovery_point;
        point.is_valid().then_some((point, Some(control.min_recovery_point_timeline), StopSource::Control))
    }

    /// The manifest's WAL ranges, oldest first.
    pub fn ranges(&self) -> &[WalRange] {
        self.manifest.as_ref().map_or(&[], |file| file.manifest.ranges.as_slice())
    }
}

/// Is this a file that [`BackupFacts::take_small`] wants?
pub fn is_small_file(path: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] = [
        b"backup_label",
        b"tablespace_map",
        b"PG_VERSION",
        b"global/pg_control",
        b"postgresql.conf",
        b"postgresql.auto.conf",
    ];
    NAMES.contains(&path) || path.starts_with(b"pg_wal/") && path.ends_with(b".backup")
}

fn prefix(data: &mut dyn Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = vec![0; limit];
    let count = read_full(data, &mut content)?;
    content.truncate(count);
    Ok(content)
}
