//! A tar archive as a stream of members: read from front to back, never unpacked.
//!
//! ```text
//! 0      100   108          124          136   148       156   157       257      265          345      500
//! | name | mode | uid, gid | size, octal | time | checksum | type | linkname | magic | owner, devices | prefix |
//! header of 512 bytes, then the data, filled up to the next 512; two headers of zeros are the end
//! ```
//!
//! `type`: `0` or NUL a file, `1` a hard link, `2` a symbolic link, `5` a directory, `L` and `K` (GNU) the long name and
//! link name of the next member as data, `x` its pax records, `g` those of all, `S` a file with holes (GNU).
//! pg_basebackup writes plain ustar headers only; backups that were made with tar have all of these.
//!
//! Nothing in an archive is trusted: names are only compared (see [`relative_path`]), long names and pax records are
//! read up to a limit, sizes are claims that the stream has to fulfil, and every header has its checksum.

use std::io::{self, Read};

use super::MemberKind;
use crate::source::compressed::{Unpacked, read_full};
use crate::source::file::{DataFile, ReadAt};

/// `TAR_BLOCK_SIZE`.
const BLOCK: usize = 512;
/// Longest name of a member; `PATH_MAX` of Linux.
const LONGEST_NAME: u64 = 4096;
/// Most bytes of pax records before one member.
const MOST_PAX: u64 = 1 << 20;

/// The header of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarMember {
    /// As the archive has it.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Bytes of its data in the archive.
    pub size: u64,
    /// Where its data begin in the unpacked archive.
    pub offset: u64,
}

/// Bytes from front to back, some of which may be passed over.
pub trait Forward: Read {
    /// Passes over the next bytes; how many there were.
    fn pass(&mut self, bytes: u64) -> io::Result<u64> {
        let mut buffer = [0; 16 << 10];
        let mut left = bytes;
        while left > 0 {
            let most = left.min(buffer.len() as u64) as usize;
            let count = read_full(self, buffer.get_mut(..most).unwrap_or_default())?;
            left -= count as u64;
            if count < most {
                break;
            }
        }
        Ok(bytes - left)
    }
}

impl Forward for Unpacked {}

/// A file, read by a position of its own.
#[derive(Debug)]
pub struct FileStream {
    file: DataFile,
    at: u64,
}

impl FileStream {
    /// At its beginning.
    pub fn new(file: DataFile) -> FileStream {
        FileStream { file, at: 0 }
    }
}

impl Read for FileStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Forward for FileStream {
    fn pass(&mut self, bytes: u64) -> io::Result<u64> {
        let there = self.file.length().saturating_sub(self.at).min(bytes);
        self.at += there;
        Ok(there)
    }
}

impl<R: Forward + ?Sized> Forward for Box<R> {
    fn pass(&mut self, bytes: u64) -> io::Result<u64> {
        (**self).pass(bytes)
    }
}

/// Reads members one after the other; the data of the current one are read from it.
pub struct TarReader<R> {
    inner: R,
    /// Bytes taken from `inner`.
    at: u64,
    /// Bytes of the current member's data that were not read yet.
    left: u64,
    /// Bytes that fill its last block.
    padding: u64,
    ended: bool,
}

/// What came before a member in members of their own.
#[derive(Default)]
struct Before {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<R: Forward> TarReader<R> {
    /// At the first header.
    pub fn new(inner: R) -> TarReader<R> {
        TarReader { inner, at: 0, left: 0, padding: 0, ended: false }
    }

    /// Goes to the next member, past what was not read of the current one. `None` is the end.
    pub fn next_member(&mut self) -> io::Result<Option<TarMember>> {
        let mut before = Before::default();
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.get(156).copied().unwrap_or_default();
            let size =
                number(field(&header, 124, 12)).ok_or_else(|| damaged("invalid size in tar header"))?;
            match kind {
                b'L' => before.name = Some(self.long_name(size)?),
                b'K' => before.link = Some(self.long_name(size)?),
                b'x' => self.pax(size, &mut before)?,
                b'g' => self.begin(size)?,
                _ => return Ok(Some(self.member(&header, kind, size, before)?)),
            }
        }
    }

    fn member(&mut self, header: &[u8], kind: u8, size: u64, before: Before) -> io::Result<TarMember> {
        let name = before.name.unwrap_or_else(|| ustar_name(header));
        let link = before.link.unwrap_or_else(|| text(field(header, 157, 100)));
        let size = before.size.unwrap_or(size);
        let kind = match kind {
            _ if before.sparse => MemberKind::Sparse,
            b'0' | b'7' | 0 if name.ends_with(b"/") => MemberKind::Directory,
            b'0' | b'7' | 0 => MemberKind::File,
            b'1' => MemberKind::HardLink(link),
            b'2' => MemberKind::Symlink(link),
            b'5' => MemberKind::Directory,
            b'S' => MemberKind::Sparse,
            _ => MemberKind::Other,
        };
        if kind == MemberKind::Sparse {
            self.skip_sparse_headers(header)?;
        }
        // Links and directories have no data, whatever their header says.
        let data = matches!(kind, MemberKind::File | MemberKind::Sparse | MemberKind::Other);
        self.begin(if data { size } else { 0 })?;
        Ok(TarMember { name, kind, size: if data { size } else { 0 }, offset: self.at })
    }

    /// The next header with content; `None` at the end of the archive.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        if self.ended {
            return Ok(None);
        }
        let mut header = [0; BLOCK];
        let filled = read_full(&mut self.inner, &mut header)?;
        self.at += filled as u64;
        // pg_verifybackup too takes an archive for whole that ends between two members.
        if filled == 0 || header.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return Ok(None);
        }
        if filled < BLOCK {
            return Err(cut());
        }
        let stored = number(field(&header, 148, 8));
        let sum = |add: fn(u8) -> i64| {
            let bytes = header.iter().enumerate();
            bytes.map(|(at, byte)| if (148..156).contains(&at) { 32 } else { add(*byte) }).sum::<i64>()
        };
        // Some old programs added signed bytes.
        let sums = [sum(i64::from), sum(|byte| i64::from(byte as i8))];
        if !stored.is_some_and(|stored| sums.iter().any(|sum| u64::try_from(*sum) == Ok(stored))) {
            return Err(damaged("input file does not appear to be a valid tar archive"));
        }
        Ok(Some(header))
    }

    fn begin(&mut self, size: u64) -> io::Result<()> {
        // A size that would wrap around is no size of a file.
        if size > i64::MAX as u64 {
            return Err(damaged("invalid size in tar header"));
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn long_name(&mut self, size: u64) -> io::Result<Vec<u8>> {
        Ok(text(&self.small(size, LONGEST_NAME, "name of a tar member is too long")?))
    }

    /// The data of a member that describes the next one.
    fn small(&mut self, size: u64, limit: u64, why: &'static str) -> io::Result<Vec<u8>> {
        if size > limit {
            return Err(damaged(why));
        }
        self.begin(size)?;
        let mut data = vec![0; size as usize];
        if read_full(self, &mut data)? < data.len() {
            return Err(cut());
        }
        Ok(data)
    }

    /// `LENGTH KEY=VALUE\n`, repeated; the length is that of all of it.
    fn pax(&mut self, size: u64, before: &mut Before) -> io::Result<()> {
        let data = self.small(size, MOST_PAX, "pax records of a tar member are too long")?;
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            let broken = || damaged("invalid pax record");
            let digits = rest.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length: usize = std::str::from_utf8(rest.get(..digits).unwrap_or_default())
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(broken)?;
            let record = rest.get(digits + 1..length).ok_or_else(broken)?;
            let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            let value = record.get(equals + 1..).unwrap_or_default();
            match record.get(..equals).unwrap_or_default() {
                b"path" if value.len() as u64 <= LONGEST_NAME => before.name = Some(value.to_vec()),
                b"linkpath" if value.len() as u64 <= LONGEST_NAME => before.link = Some(value.to_vec()),
                b"path" | b"linkpath" => return Err(damaged("name of a tar member is too long")),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok());
                    before.size = Some(size.ok_or_else(broken)?);
                }
                key if key.starts_with(b"GNU.sparse.") => before.sparse = true,
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// The list of a GNU file's pieces may go on in further blocks.
    fn skip_sparse_headers(&mut self, header: &[u8]) -> io::Result<()> {
        let mut more = header.get(156) == Some(&b'S') && header.get(482).is_some_and(|byte| *byte != 0);
        while more {
            let mut block = [0; BLOCK];
            if read_full(&mut self.inner, &mut block)? < BLOCK {
                return Err(cut());
            }
            self.at += BLOCK as u64;
            more = block.get(504).is_some_and(|byte| *byte != 0);
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let passed = self.inner.pass(bytes)?;
        self.at += passed;
        if passed < bytes { Err(cut()) } else { Ok(()) }
    }
}

/// The data of the current member. An archive that ends within them is an error, not an end.
impl<R: Forward> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        let count = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        if count == 0 {
            return Err(cut());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

fn field(header: &[u8], at: usize, length: usize) -> &[u8] {
    header.get(at..at + length).unwrap_or_default()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

fn ustar_name(header: &[u8]) -> Vec<u8> {
    let name = text(field(header, 0, 100));
    // GNU's own magic, "ustar  ", has other things where the prefix would be.
    let prefix = if field(header, 257, 6) == b"ustar\0" { text(field(header, 345, 155)) } else { Vec::new() };
    if prefix.is_empty() { name } else { [prefix.as_slice(), b"/", name.as_slice()].concat() }
}

/// Octal digits between blanks, or with the highest bit set a number of base 256.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let start = u64::from(first & 0x7F);
        return rest.iter().try_fold(start, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte)));
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let digits: Vec<u8> = field.iter().copied().skip_while(blank).take_while(|byte| !blank(byte)).collect();
    digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'7' => Some(sum.checked_mul(8)? + u64::from(digit - b'0')),
        _ => None,
    })
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends within a member")
}

/// A member's name below the directory in which the archive would be unpacked, without `.`, `..`, and doubled or
/// leading slashes. The second is true if the name would have led out of it.
pub fn relative_path(name: &[u8]) -> (Vec<u8>, bool) {
    let mut unsafe_name = name.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                unsafe_name = true;
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    (parts.join(&b'/'), unsafe_name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header with the right checksum.
    pub(crate) fn header(name: &[u8], kind: u8, size: u64) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        checksum(&mut header);
        header
    }

    impl Forward for &[u8] {}

    fn checksum(header: &mut [u8]) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }

    pub(crate) fn member(name: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = header(name, kind, data.len() as u64);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn list(bytes: &[u8]) -> io::Result<Vec<(String, MemberKind, Vec<u8>)>> {
        let mut reader = TarReader::new(bytes);
        let mut members = Vec::new();
        while let Some(member) = reader.next_member()? {
            let mut data = Vec::new();
            reader.read_to_end(&mut data)?;
            members.push((String::from_utf8_lossy(&member.name).into_owned(), member.kind, data));
        }
        Ok(members)
    }

    #[test]
    fn members_with_long_names_and_pax_records() {
        let long = vec![b'n'; 300];
        let archive = [
            member(b"PG_VERSION", b'0', b"15\n"),
            member(b"base/", b'5', b""),
            member(b"././@LongLink", b'L', &[long.as_slice(), b"\0"].concat()),
            member(b"cut", b'0', &[7; 600]),
            member(b"pax", b'x', b"16 path=a/b/c/d\n10 size=3\n"),
            member(b"x", b'0', b"abc"),
            member(b"holes", b'S', b"y"),
            vec![0; 1024],
            b"what follows the end is nothing".to_vec(),
        ]
        .concat();
        let members = list(&archive).unwrap();
        let names: Vec<_> = members.iter().map(|member| member.0.as_str()).collect();
        assert_eq!(names, ["PG_VERSION", "base/", &String::from_utf8(long).unwrap(), "a/b/c/d", "holes"]);
        assert_eq!(members[2].2, [7; 600]);
        assert_eq!(members[4].1, MemberKind::Sparse);
        let mut ustar = header(b"name", b'2', 0);
        ustar[345..351].copy_from_slice(b"prefix");
        ustar[157..161].copy_from_slice(b"/etc");
        checksum(&mut ustar);
        assert_eq!(
            list(&ustar).unwrap()[0].clone(),
            ("prefix/name".to_owned(), MemberKind::Symlink(b"/etc".to_vec()), vec![])
        );
    }

    #[test]
    fn what_is_cut_damaged_or_hostile_is_an_error() {
        let whole = member(b"a", b'0', &[1; 1000]);
        for cut in [1, 511, 513, 1024, 1535] {
            assert!(list(&whole[..cut]).is_err(), "{cut}");
        }
        let mut flipped = whole.clone();
        flipped[0] ^= 1;
        assert!(list(&flipped).is_err());
        // Names and records that claim more than anybody needs, and sizes beyond all files.
        assert!(list(&header(b"l", b'L', 1 << 30)).is_err());
        assert!(list(&header(b"x", b'x', 1 << 30)).is_err());
        let mut huge = header(b"h", b'0', 0);
        huge[124..136].fill(0xFF);
        checksum(&mut huge);
        assert!(list(&huge).is_err());
        for record in [b"9999 path=x\n".as_slice(), b"path=x\n", b"0 path=x\n", b"7 path\n", b"8 size=z\n"] {
            assert!(list(&member(b"x", b'x', record)).is_err(), "{}", String::from_utf8_lossy(record));
        }
    }

    #[test]
    fn names_stay_below_the_directory() {
        assert_eq!(relative_path(b"./base//1/./1259"), (b"base/1/1259".to_vec(), false));
        assert_eq!(relative_path(b"/etc/passwd"), (b"etc/passwd".to_vec(), true));
        assert_eq!(relative_path(b"../../base/../x"), (b"x".to_vec(), true));
        assert_eq!(relative_path(b"./"), (b"".to_vec(), false));
    }
}
