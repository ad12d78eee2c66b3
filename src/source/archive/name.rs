//! What a name in an archive or in pg_wal says about its file.
//!
//! ```text
//! 00000001000000000000000A                 a segment
//! 00000001000000000000000A.gz .lz4 …       compressed
//! 00000001000000000000000A.partial         not complete: promotion or pg_receivewal
//! 00000001000000000000000A.gz.partial      pg_receivewal compresses as it receives; .partial.gz: somebody did
//! 00000002.history                         (also compressed: pitrery, WAL-G)
//! 00000001000000000000000A.00000028.backup backup history (also compressed)
//! 00000001000000000000000A-SHA1.zst        pgBackRest's, also .partial-SHA1.zst; only in its repositories
//! ```
//!
//! Everything else gets its own word, because a name that looks almost right is how WAL gets lost: a copy
//! under a temporary name, lower-case digits, a digit too few. The server looks for exact names only.

use super::super::compressed::Compression;
use crate::pg::wal_file::parse_hex8;
use crate::pg::{TimelineId, WalFileName};

/// A name taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveName {
    /// A segment, in whatever packing.
    Segment(WalFileName),
    /// History of a timeline.
    History(TimelineId),
    /// History of a base backup: the segment and the offset of its start.
    BackupHistory(WalFileName, u32),
    /// None of these.
    Other(OtherName),
}

/// How the name says that the file is packed: the extensions after the segment's or history's own name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// `.partial` is among them.
    pub partial: bool,
    /// The outermost compression promised.
    pub compression: Option<Compression>,
    /// Packed by something that cannot be undone here: `.lzo`, `.gpg`, …
    pub foreign: bool,
}

/// Names that are not what recovery asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OtherName {
    /// Almost a segment's or a history's name: lower-case digits, too many or too few.
    Misnamed,
    /// `.tmp`, `.part`: a copy that was not finished, or never renamed.
    Temporary,
    /// `.NAME.XXXXXX`: what rsync leaves when it is interrupted.
    RsyncTemporary,
    /// `RECOVERYXLOG`, `RECOVERYHISTORY`: a file that restore_command was fetching.
    RecoveryTemporary,
    /// `xlogtemp.PID`: a segment that was being created.
    XlogTemp,
    /// `.ready`, `.done`.
    Status,
    /// `archive_status`, `summaries`: part of every pg_wal.
    ServerDirectory,
    /// `40 hex digits.summary`: WAL summary of 17 and later.
    Summary,
    /// `NAME-SHA1`: a segment in a pgBackRest repository.
    PgBackRest,
    /// `_delta`: WAL-G's list of changed blocks.
    WalGDelta,
    /// `.json`: metadata of WAL-G and others.
    Json,
    /// `*.metadata`, `xlog.db`: a tool's own notes.
    ToolMetadata,
    /// A file that the tool refused to take in: Barman's `errors/`.
    SetAside,
    /// A link inside a repository.
    Link,
    /// A directory that is not descended into.
    Directory,
    /// A FIFO, socket or device.
    Special,
    /// Anything else.
    Unknown,
}

impl OtherName {
    /// What it is, for people.
    pub fn text(self) -> &'static str {
        match self {
            OtherName::Misnamed => "almost a segment's or history's name: recovery does not find it",
            OtherName::Temporary => "temporary name: a copy that was not finished or not renamed",
            OtherName::RsyncTemporary => "left by an interrupted rsync",
            OtherName::RecoveryTemporary => "a file that restore_command was fetching",
            OtherName::XlogTemp => "a segment that was being created",
            OtherName::Status => "archive status",
            OtherName::ServerDirectory => "directory of the server's own in pg_wal",
            OtherName::Summary => "WAL summary (17 and later)",
            OtherName::PgBackRest => {
                "segment in a pgBackRest repository: recovery fetches it through pgbackrest"
            }
            OtherName::WalGDelta => "WAL-G's list of changed blocks",
            OtherName::Json => "metadata",
            OtherName::ToolMetadata => "the tool's own list or metadata",
            OtherName::SetAside => "refused by the tool and set aside: recovery does not get it",
            OtherName::Link => "link, not followed inside a repository",
            OtherName::Directory => "directory, not descended into: name it as another DIR if it holds WAL",
            OtherName::Special => "no regular file",
            OtherName::Unknown => "not part of an archive",
        }
    }
}

/// Extensions of packings that cannot be undone here.
const FOREIGN: &[&[u8]] = &[b"lzo", b"Z", b"zip", b"gpg", b"pgp", b"aes", b"enc"];

/// Takes a file's name apart. The last part of the result says what follows the name proper.
pub fn classify(name: &[u8]) -> (ArchiveName, Packing) {
    if let Some(segment) = name.get(..24).and_then(WalFileName::parse) {
        let rest = name.get(24..).unwrap_or_default();
        if let Some(packing) = packing(rest) {
            return (ArchiveName::Segment(segment), packing);
        }
        if let Some(offset) = rest.get(1..9).and_then(parse_hex8)
            && let Some(after) = rest.get(9..).and_then(|after| after.strip_prefix(b".backup"))
            && rest.starts_with(b".")
            && let Some(packing) = packing(after)
        {
            return (ArchiveName::BackupHistory(segment, offset), packing);
        }
    }
    if let Some(timeline) = name.get(..8).and_then(parse_hex8)
        && let Some(rest) = name.get(8..).and_then(|rest| rest.strip_prefix(b".history"))
        && let Some(packing) = packing(rest)
    {
        return (ArchiveName::History(TimelineId(timeline)), packing);
    }
    (ArchiveName::Other(other(name)), Packing::default())
}

/// A name in a pgBackRest repository, where `-` and the SHA-1 of the content follow that of a segment.
pub struct Digested {
    /// What the name means.
    pub segment: WalFileName,
    /// How it is packed.
    pub packing: Packing,
    /// The SHA-1 of the segment itself.
    pub digest: [u8; 20],
    /// How many bytes of the name stand before the `-`.
    pub before: usize,
}

/// Takes such a name apart; none if it is no such name.
pub fn digested(name: &[u8]) -> Option<Digested> {
    let segment = name.get(..24).and_then(WalFileName::parse)?;
    let rest = name.get(24..)?;
    let partial = rest.strip_prefix(b".partial");
    let mut digest = [0; 20];
    let text = partial.unwrap_or(rest).strip_prefix(b"-")?.get(..40)?;
    // Upper-case digits would not come back when the name is put together again.
    if text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    hex::decode_to_slice(text, &mut digest).ok()?;
    let before = if partial.is_some() { 32 } else { 24 };
    let packing = packing(name.get(before + 41..)?)?;
    Some(Digested { segment, packing: Packing { partial: partial.is_some(), ..packing }, digest, before })
}

/// Every extension in `rest` must be known: nothing, `.gz`, `.partial`, `.gz.partial`, …
fn packing(rest: &[u8]) -> Option<Packing> {
    let mut packing = Packing::default();
    if rest.is_empty() {
        return Some(packing);
    }
    for extension in rest.strip_prefix(b".")?.split(|byte| *byte == b'.') {
        if extension == b"partial" {
            packing.partial = true;
        } else if let Some(compression) = Compression::from_extension(extension) {
            packing.compression = Some(compression);
        } else if FOREIGN.contains(&extension) {
            packing.foreign = true;
        } else {
            return None;
        }
    }
    Some(packing)
}

fn other(name: &[u8]) -> OtherName {
    let ends = |suffix: &[u8]| name.ends_with(suffix);
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let hex = stem.iter().all(u8::is_ascii_hexdigit);
    if matches!(name, b"RECOVERYXLOG" | b"RECOVERYHISTORY") {
        OtherName::RecoveryTemporary
    } else if matches!(name, b"archive_status" | b"summaries") {
        OtherName::ServerDirectory
    } else if name.starts_with(b"xlogtemp.") {
        OtherName::XlogTemp
    } else if is_rsync_temporary(name) {
        OtherName::RsyncTemporary
    } else if [&b".tmp"[..], b".part", b".temp", b".tempfile", b"~"].iter().any(|suffix| ends(suffix)) {
        OtherName::Temporary
    } else if ends(b".ready") || ends(b".done") {
        OtherName::Status
    } else if ends(b".summary") && stem.len() == 40 && hex {
        OtherName::Summary
    } else if is_pgbackrest_segment(name) {
        OtherName::PgBackRest
    } else if name.get(24..).is_some_and(|rest| rest.starts_with(b"_delta")) {
        OtherName::WalGDelta
    } else if ends(b".json") {
        OtherName::Json
    } else if ends(b".metadata") || name == b"xlog.db" {
        OtherName::ToolMetadata
    } else if hex && (matches!(stem.len(), 22..=26) || (stem.len() >= 6 && ends(b".history"))) {
        OtherName::Misnamed
    } else {
        OtherName::Unknown
    }
}

/// `.00000001000000000000000A.Xy12Zz`.
fn is_rsync_temporary(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b".") else { return false };
    let Some(dot) = rest.iter().rposition(|byte| *byte == b'.') else { return false };
    let (inner, random) = (rest.get(..dot).unwrap_or_default(), rest.get(dot + 1..).unwrap_or_default());
    random.len() == 6
        && random.iter().all(u8::is_ascii_alphanumeric)
        && !matches!(classify(inner).0, ArchiveName::Other(_))
}

/// `00000001000000000000000A-<40 hex digits>[.zst]`.
fn is_pgbackrest_segment(name: &[u8]) -> bool {
    let digest = name.get(24..65).and_then(|rest| rest.strip_prefix(b"-"));
    digest.is_some_and(|digest| digest.len() == 40 && digest.iter().all(u8::is_ascii_hexdigit))
        && name.get(..24).and_then(WalFileName::parse).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_recovery_knows_in_every_packing() {
        let segment = |name: &str| match classify(name.as_bytes()) {
            (ArchiveName::Segment(_), packing) => packing,
            other => panic!("{name}: {other:?}"),
        };
        let name = "00000001000000000000000A";
        assert_eq!(segment(name), Packing::default());
        let gzip = Some(Compression::Gzip);
        assert_eq!(segment(&format!("{name}.gz")), Packing { compression: gzip, ..Packing::default() });
        for both in [".gz.partial", ".partial.gz"] {
            let expected = Packing { partial: true, compression: gzip, foreign: false };
            assert_eq!(segment(&format!("{name}{both}")), expected);
        }
        assert!(segment(&format!("{name}.zst.gpg")).foreign);
        let history = classify(b"00000014.history.gz");
        assert_eq!(history.0, ArchiveName::History(TimelineId(0x14)));
        assert_eq!(history.1.compression, gzip);
        let (backup, _) = classify(b"00000001000000220000002B.00000028.backup");
        let start = WalFileName::parse(b"00000001000000220000002B").unwrap();
        assert_eq!(backup, ArchiveName::BackupHistory(start, 0x28));
    }

    #[test]
    fn everything_else_has_a_word() {
        for (name, expected) in [
            (&b"00000001000000000000000a"[..], OtherName::Misnamed),
            (b"0000000100000000000000A", OtherName::Misnamed),
            (b"0000000100000000000000000A.gz", OtherName::Misnamed),
            (b"0000000a.history", OtherName::Misnamed),
            (b"000002.history", OtherName::Misnamed),
            (b"00000001000000000000000A.tmp", OtherName::Temporary),
            (b"00000001000000000000000A.gz.part", OtherName::Temporary),
            (b".00000001000000000000000A.Xy12Zz", OtherName::RsyncTemporary),
            (b"RECOVERYXLOG", OtherName::RecoveryTemporary),
            (b"xlogtemp.123", OtherName::XlogTemp),
            (b"00000001000000000000000A.ready", OtherName::Status),
            (b"archive_status", OtherName::ServerDirectory),
            (b"00000001000000000000000A-0123456789abcdef0123456789abcdef01234567.zst", OtherName::PgBackRest),
            (b"00000001000000000000000A_delta.lz4", OtherName::WalGDelta),
            (b"00000001000000000000000A.json", OtherName::Json),
            (b"0000000100000000010000280000000002000000.summary", OtherName::Summary),
            (b"README", OtherName::Unknown),
            (b"\xFF\x1B[2J", OtherName::Unknown),
            (b"", OtherName::Unknown),
            (b"00000001000000000000000A.gz.txt", OtherName::Misnamed),
            (b"00000001000000000000000A.", OtherName::Misnamed),
        ] {
            assert_eq!(classify(name).0, ArchiveName::Other(expected), "{}", String::from_utf8_lossy(name));
        }
    }
}
