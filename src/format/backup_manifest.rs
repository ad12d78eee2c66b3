//! `backup_manifest`: which files a base backup has, with size and checksum, and which WAL it needs.
//!
//! ```text
//! { "PostgreSQL-Backup-Manifest-Version": 2,        1 up to 16
//! "System-Identifier": 7563…,                       17+, always with version 2
//! "Files": [
//! { "Path": "base/1/1259", "Size": 8192, "Last-Modified": "… GMT",
//!   "Checksum-Algorithm": "CRC32C", "Checksum": "b2d0c8f3" },      "Encoded-Path" in hex for names that are not UTF-8
//! …],
//! "WAL-Ranges": [
//! { "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000120" }],
//! "Manifest-Checksum": "5f…"}                       SHA-256 of all lines before this one
//! ```
//!
//! [`Manifest::parse`] goes through the text as pg_verifybackup does and stops where it stops, with its words in
//! [`Manifest::problem`]; what was read up to there is kept. The checksum itself is not calculated here: see
//! [`Manifest::covered`]. Source: common/parse_manifest.c, backup/backup_manifest.c.

use super::json_events::{Event, JsonEvents};
use crate::pg::{Lsn, SystemId, TimelineId};

/// How the checksum of a file is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Algorithm {
    None,
    Crc32c,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Names and lengths of checksums in bytes.
static ALGORITHMS: &[(Algorithm, &str, usize)] = &[
    (Algorithm::None, "NONE", 0),
    (Algorithm::Crc32c, "CRC32C", 4),
    (Algorithm::Sha224, "SHA224", 28),
    (Algorithm::Sha256, "SHA256", 32),
    (Algorithm::Sha384, "SHA384", 48),
    (Algorithm::Sha512, "SHA512", 64),
];

impl Algorithm {
    /// As the manifest spells it.
    pub fn name(self) -> &'static str {
        ALGORITHMS.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// Bytes of a checksum.
    pub fn length(self) -> usize {
        ALGORITHMS.iter().find(|row| row.0 == self).map_or(0, |row| row.2)
    }

    fn from_name(name: &[u8]) -> Option<Algorithm> {
        ALGORITHMS.iter().find(|row| row.1.as_bytes().eq_ignore_ascii_case(name)).map(|row| row.0)
    }
}

/// One file of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// Below the data directory.
    pub path: Box<[u8]>,
    /// Bytes.
    pub size: u64,
    /// How the checksum was made.
    pub algorithm: Algorithm,
    /// The checksum; of any length.
    pub checksum: Box<[u8]>,
}

/// WAL that the backup needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalRange {
    /// On this timeline.
    pub timeline: TimelineId,
    /// From here.
    pub start: Lsn,
    /// To here, exclusive.
    pub end: Lsn,
}

/// A manifest, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// 1 or 2.
    pub version: Option<u32>,
    /// 17+.
    pub system_id: Option<SystemId>,
    /// In the order of the manifest.
    pub files: Vec<ManifestFile>,
    /// In the order of the manifest, oldest timeline first.
    pub ranges: Vec<WalRange>,
    /// The checksum at its end, as it stands there.
    pub checksum: Option<String>,
    /// Why pg_verifybackup refuses it, in its words; the checksum is not compared here.
    pub problem: Option<String>,
    /// How many bytes from the beginning on the checksum covers.
    pub covered: usize,
}

impl Manifest {
    /// Reads the text of a manifest.
    pub fn parse(text: &[u8]) -> Manifest {
        let mut parser = Parser::default();
        let problem = parser.run(text).err();
        let mut manifest = parser.manifest;
        manifest.problem = problem.or_else(|| manifest.duplicate()).or_else(|| manifest.last_line(text));
        manifest
    }

    /// The SHA-256 at its end in bytes, if it is one.
    pub fn stored_checksum(&self) -> Option<[u8; 32]> {
        hex::decode(self.checksum.as_deref()?).ok()?.try_into().ok()
    }

    /// A path that stands there twice: the first one at which a reader sees that.
    fn duplicate(&self) -> Option<String> {
        let mut order: Vec<usize> = (0..self.files.len()).collect();
        let path = |index: &usize| self.files.get(*index).map(|file| &file.path);
        order.sort_by(|a, b| path(a).cmp(&path(b)).then(a.cmp(b)));
        let again = order.windows(2).filter_map(|pair| match pair {
            [first, second] if path(first) == path(second) => Some(*second),
            _ => None,
        });
        let file = again.min().and_then(|index| self.files.get(index))?;
        let path = String::from_utf8_lossy(&file.path);
        Some(format!("duplicate path name in backup manifest: \"{path}\""))
    }

    /// The checksum covers all lines but the last one.
    fn last_line(&mut self, text: &[u8]) -> Option<String> {
        let failure = |what: &str| Some(format!("could not parse backup manifest: {what}"));
        let mut ends = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        let (last, before) = (ends.next(), ends.next());
        let Some(before) = before else { return failure("expected at least 2 lines") };
        if last != Some(text.len() - 1) {
            return failure("last line not newline-terminated");
        }
        self.covered = before + 1;
        match &self.checksum {
            None => Some("manifest has no checksum".to_owned()),
            Some(_) if self.stored_checksum().is_some() => None,
            Some(checksum) => Some(format!("invalid manifest checksum: \"{checksum}\"")),
        }
    }
}

/// Where in the manifest the text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    TopField,
    Version,
    SystemIdentifier,
    FilesStart,
    FilesNext,
    FileField,
    FileValue(FileField),
    RangesStart,
    RangesNext,
    RangeField,
    RangeValue(RangeField),
    Checksum,
    TopEnd,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileField {
    Path,
    EncodedPath,
    Size,
    LastModified,
    Algorithm,
    Checksum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RangeField {
    Timeline,
    Start,
    End,
}

/// The values of the object that is being read.
#[derive(Default)]
struct FileValues {
    path: Option<Vec<u8>>,
    encoded_path: Option<Vec<u8>>,
    size: Option<Vec<u8>>,
    algorithm: Option<Vec<u8>>,
    checksum: Option<Vec<u8>>,
}

#[derive(Default)]
struct RangeValues {
    timeline: Option<Vec<u8>>,
    start: Option<Vec<u8>>,
    end: Option<Vec<u8>>,
}

#[derive(Default)]
struct Parser {
    state: State,
    saw_version: bool,
    file: FileValues,
    range: RangeValues,
    manifest: Manifest,
}

impl Parser {
    fn run(&mut self, text: &[u8]) -> Result<(), String> {
        let failure = |what: String| format!("could not parse backup manifest: {what}");
        for event in JsonEvents::new(text) {
            match event.map_err(failure)? {
                Event::ObjectStart => self.object_start().map_err(|what| failure(what.to_owned()))?,
                Event::ObjectEnd => self.object_end()?,
                Event::ArrayStart => self.array(State::FilesStart, State::RangesStart, "start")?,
                Event::ArrayEnd => self.array(State::FilesNext, State::RangesNext, "end")?,
                Event::Field(name) => self.field(&name).map_err(|what| failure(what.to_owned()))?,
                Event::Scalar(value) => self.scalar(value).map_err(|what| failure(what.to_owned()))?,
            }
        }
        if self.state == State::End { Ok(()) } else { Err(failure("manifest ended unexpectedly".to_owned())) }
    }

    fn object_start(&mut self) -> Result<(), &'static str> {
        self.state = match self.state {
            State::Start => State::TopField,
            State::FilesNext => {
                self.file = FileValues::default();
                State::FileField
            }
            State::RangesNext => {
                self.range = RangeValues::default();
                State::RangeField
            }
            _ => return Err("unexpected object start"),
        };
        Ok(())
    }

    fn object_end(&mut self) -> Result<(), String> {
        let failure = |what: &str| format!("could not parse backup manifest: {what}");
        self.state = match self.state {
            State::TopEnd => State::End,
            State::FileField => {
                let values = std::mem::take(&mut self.file);
                self.manifest.files.push(file(values)?);
                State::FilesNext
            }
            State::RangeField => {
                let values = std::mem::take(&mut self.range);
                self.manifest.ranges.push(range(values).map_err(failure)?);
                State::RangesNext
            }
            _ => return Err(failure("unexpected object end")),
        };
        Ok(())
    }

    fn array(&mut self, files: State, ranges: State, what: &str) -> Result<(), String> {
        self.state = match self.state {
            state if state == files && what == "start" => State::FilesNext,
            state if state == ranges && what == "start" => State::RangesNext,
            state if state == files || state == ranges => State::TopField,
            _ => return Err(format!("could not parse backup manifest: unexpected array {what}")),
        };
        Ok(())
    }

    fn field(&mut self, name: &[u8]) -> Result<(), &'static str> {
        self.state = match self.state {
            State::TopField if !self.saw_version => {
                if name != b"PostgreSQL-Backup-Manifest-Version" {
                    return Err("expected version indicator");
                }
                self.saw_version = true;
                State::Version
            }
            State::TopField => match name {
                b"System-Identifier" => State::SystemIdentifier,
                b"Files" => State::FilesStart,
                b"WAL-Ranges" => State::RangesStart,
                b"Manifest-Checksum" => State::Checksum,
                _ => return Err("unrecognized top-level field"),
            },
            State::FileField => State::FileValue(match name {
                b"Path" => FileField::Path,
                b"Encoded-Path" => FileField::EncodedPath,
                b"Size" => FileField::Size,
                b"Last-Modified" => FileField::LastModified,
                b"Checksum-Algorithm" => FileField::Algorithm,
                b"Checksum" => FileField::Checksum,
                _ => return Err("unexpected file field"),
            }),
            State::RangeField => State::RangeValue(match name {
                b"Timeline" => RangeField::Timeline,
                b"Start-LSN" => RangeField::Start,
                b"End-LSN" => RangeField::End,
                _ => return Err("unexpected WAL range field"),
            }),
            _ => return Err("unexpected object field"),
        };
        Ok(())
    }

    fn scalar(&mut self, value: Vec<u8>) -> Result<(), &'static str> {
        self.state = match self.state {
            State::Version => {
                let version = strtou64(&value).ok_or("manifest version not an integer")?;
                if version != 1 && version != 2 {
                    return Err("unexpected manifest version");
                }
                self.manifest.version = u32::try_from(version).ok();
                State::TopField
            }
            State::SystemIdentifier => {
                let number = strtou64(&value).ok_or("system identifier in manifest not an integer")?;
                self.manifest.system_id = Some(SystemId(number));
                State::TopField
            }
            State::FileValue(field) => {
                let slot = match field {
                    FileField::Path => &mut self.file.path,
                    FileField::EncodedPath => &mut self.file.encoded_path,
                    FileField::Size => &mut self.file.size,
                    FileField::Algorithm => &mut self.file.algorithm,
                    FileField::Checksum => &mut self.file.checksum,
                    FileField::LastModified => &mut None,
                };
                *slot = Some(value);
                State::FileField
            }
            State::RangeValue(field) => {
                let slot = match field {
                    RangeField::Timeline => &mut self.range.timeline,
                    RangeField::Start => &mut self.range.start,
                    RangeField::End => &mut self.range.end,
                };
                *slot = Some(value);
                State::RangeField
            }
            State::Checksum => {
                self.manifest.checksum = Some(String::from_utf8_lossy(&value).into_owned());
                State::TopEnd
            }
            _ => return Err("unexpected scalar"),
        };
        Ok(())
    }
}

fn file(values: FileValues) -> Result<ManifestFile, String> {
    let failure = |what: &str| format!("could not parse backup manifest: {what}");
    let path = match (values.path, values.encoded_path) {
        (None, None) => return Err(failure("missing path name")),
        (Some(_), Some(_)) => return Err(failure("both path name and encoded path name")),
        (Some(path), None) => Ok(path),
        (None, Some(encoded)) => Err(encoded),
    };
    let size = values.size.ok_or_else(|| failure("missing size"))?;
    if values.algorithm.is_none() && values.checksum.is_some() {
        return Err(failure("checksum without algorithm"));
    }
    let path = path.or_else(hex::decode).map_err(|_| failure("could not decode file name"))?;
    let size = strtou64(&size).ok_or_else(|| failure("file size is not an integer"))?;
    let algorithm = match &values.algorithm {
        None => Algorithm::None,
        Some(name) => Algorithm::from_name(name).ok_or_else(|| {
            format!("unrecognized checksum algorithm: \"{}\"", String::from_utf8_lossy(name))
        })?,
    };
    let checksum = values.checksum.unwrap_or_default();
    let checksum = hex::decode(&checksum).map_err(|_| {
        let (path, checksum) = (String::from_utf8_lossy(&path), String::from_utf8_lossy(&checksum));
        format!("invalid checksum for file \"{path}\": \"{checksum}\"")
    })?;
    Ok(ManifestFile { path: path.into(), size, algorithm, checksum: checksum.into() })
}

fn range(values: RangeValues) -> Result<WalRange, &'static str> {
    let timeline = values.timeline.ok_or("missing timeline")?;
    let start = values.start.ok_or("missing start LSN")?;
    let end = values.end.ok_or("missing end LSN")?;
    Ok(WalRange {
        timeline: TimelineId(strtou64(&timeline).ok_or("timeline is not an integer")? as u32),
        start: lsn(&start).ok_or("could not parse start LSN")?,
        end: lsn(&end).ok_or("could not parse end LSN")?,
    })
}

/// As C's strtoul with nothing allowed behind the digits; nothing at all is 0.
fn strtou64(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
    Some(if negative && number != u64::MAX { number.wrapping_neg() } else { number })
}

/// As C's `sscanf("%X/%X")`: what follows the digits does not matter.
fn lsn(text: &[u8]) -> Option<Lsn> {
    let (high, rest) = hex_number(text)?;
    let (low, _) = hex_number(rest.strip_prefix(b"/")?)?;
    Some(Lsn(u64::from(high) << 32 | u64::from(low)))
}

fn hex_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let text = text.trim_ascii_start();
    let count = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = text.split_at(count);
    // More digits than fit are cut off at the left, as the conversion to 32 bits does.
    let number = u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((number as u32, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n";

    fn problem(text: &str) -> String {
        Manifest::parse(text.as_bytes()).problem.unwrap_or_default()
    }

    #[test]
    fn a_manifest_of_17() {
        let text = "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 7563001,\n\"Files\": [\n\
            { \"Path\": \"base/1/1259\", \"Size\": 8192, \"Last-Modified\": \"x\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"b2d0c8f3\" },\n\
            { \"Encoded-Path\": \"ff2f61\", \"Size\": 0 }],\n\
            \"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/02000120\" }],\n";
        let checksum = "ab".repeat(32);
        let manifest = Manifest::parse(format!("{text}\"Manifest-Checksum\": \"{checksum}\"}}\n").as_bytes());
        assert_eq!(manifest.problem, None);
        assert_eq!(manifest.system_id, Some(SystemId(7_563_001)));
        assert_eq!(manifest.files[0].algorithm, Algorithm::Crc32c);
        assert_eq!(*manifest.files[0].checksum, [0xB2, 0xD0, 0xC8, 0xF3]);
        assert_eq!(*manifest.files[1].path, *b"\xFF/a");
        assert_eq!(manifest.ranges[0].end, Lsn(0x200_0120));
        assert_eq!(manifest.covered, text.len());
        assert_eq!(manifest.stored_checksum(), Some([0xAB; 32]));
    }

    /// Manifests and words of pg_verifybackup's own tests, which `tests/live_verify_backup.rs` hands to the program.
    #[test]
    fn problems_in_the_words_of_pg_verifybackup() {
        let in_files = |file: &str| problem(&format!("{START}\"Files\": [{file}]"));
        let parse = "could not parse backup manifest: ";
        for (found, expected) in [
            (problem("{}"), "unexpected object end"),
            (problem("{ \"Files\": [] }"), "expected version indicator"),
            (problem("{ \"PostgreSQL-Backup-Manifest-Version\": 9876599}"), "unexpected manifest version"),
            (problem(&format!("{START} \"x\": 1}}")), "unrecognized top-level field"),
            (problem(&format!("{START} \"Files\": {{}}}}")), "unexpected object start"),
            (in_files("{ \"Size\": 1 }"), "missing path name"),
            (in_files("{ \"Path\": \"a\" }"), "missing size"),
            (
                in_files("{ \"Path\": \"a\", \"Size\": 1, \"Checksum\": \"00\" }"),
                "checksum without algorithm",
            ),
            (in_files("{ \"Path\": \"a\", \"Size\": \"1x\" }"), "file size is not an integer"),
            (in_files("{ \"Encoded-Path\": \"123\", \"Size\": 1 }"), "could not decode file name"),
            (in_files("{ \"Path\": \"a\", \"x\": 1 }"), "unexpected file field"),
        ] {
            assert_eq!(found, format!("{parse}{expected}"));
        }
        assert_eq!(
            in_files("{ \"Path\": \"a\", \"Size\": 1, \"Checksum-Algorithm\": \"CRC17\" }"),
            "unrecognized checksum algorithm: \"CRC17\""
        );
        assert_eq!(
            in_files(
                "{ \"Path\": \"a\", \"Size\": 1, \"Checksum-Algorithm\": \"SHA256\", \"Checksum\": \"zz\" }"
            ),
            "invalid checksum for file \"a\": \"zz\""
        );
        let end = "\"Manifest-Checksum\": \"x\"}";
        assert_eq!(problem(&format!("{START}\"Files\": [],{end}\n")), "invalid manifest checksum: \"x\"");
        assert_eq!(
            problem(&format!("{START}\"Files\": [],{end}")),
            format!("{parse}expected at least 2 lines")
        );
        let twice = "{ \"Path\": \"a\", \"Size\": 1 },{ \"Path\": \"a\", \"Size\": 1 }";
        assert_eq!(
            problem(&format!("{START}\"Files\": [{twice}],{end}\n")),
            "duplicate path name in backup manifest: \"a\""
        );
    }

    #[test]
    fn cut_anywhere_it_ends_with_a_problem() {
        let text = format!(
            "{START}\"Files\": [{{ \"Path\": \"a\\u00e9\", \"Size\": 1 }}],\n\"Manifest-Checksum\": \"\"}}\n"
        );
        for cut in 0..text.len() {
            assert!(Manifest::parse(&text.as_bytes()[..cut]).problem.is_some(), "{cut}");
        }
    }
}
