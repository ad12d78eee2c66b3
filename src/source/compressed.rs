//! A file that may be compressed, read as what it was before.
//!
//! ```text
//! gzip   1F 8B               (any number of members)    pg_receivewal -Z, gzip, pitrery, pg_probackup
//! lz4    04 22 4D 18         (frames)                   pg_receivewal 15+, WAL-G
//! zstd   28 B5 2F FD         (frames)                   WAL-G, pgBackRest, Barman
//! bzip2  42 5A 68 "BZh"      (streams)                  archive_command with bzip2
//! xz     FD 37 7A 58 5A 00   (streams)                  archive_command with xz
//! snappy FF 06 00 00 73 4E   (frames)                  Barman, barman-cloud, pghoard
//! brotli, lzma               (one stream)               WAL-G; they have no first bytes of their own: the name tells
//! ```
//!
//! The content decides, the extension is only a promise: Barman compresses under the plain name, and an
//! archive_command that was changed in passing compresses twice. A segment of WAL never begins with one of
//! these numbers. Everything streams; memory is bounded by the decoders' windows (limited here), output by
//! whoever reads, because a few kilobytes can expand to any size.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use brotli_decompressor::Decompressor;
use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use lzma_rust2::{LzmaReader, XzReader};

use crate::pg::version::VERSIONS;

/// A compression that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Compression {
    Gzip,
    Lz4,
    Zstd,
    Bzip2,
    Xz,
    Snappy,
    Brotli,
    Lzma,
}

/// Names, extensions and first bytes of every compression. Without first bytes only the name tells.
static COMPRESSIONS: &[(Compression, &str, &[&str], &[u8])] = &[
    (Compression::Gzip, "gzip", &["gz"], &[0x1F, 0x8B]),
    (Compression::Lz4, "lz4", &["lz4"], &[0x04, 0x22, 0x4D, 0x18]),
    (Compression::Zstd, "zstd", &["zst", "zstd"], &[0x28, 0xB5, 0x2F, 0xFD]),
    (Compression::Bzip2, "bzip2", &["bz2"], b"BZh"),
    (Compression::Xz, "xz", &["xz"], &[0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]),
    (Compression::Snappy, "snappy", &["snappy", "sz"], &[0xFF, 0x06, 0x00, 0x00, 0x73, 0x4E]),
    (Compression::Brotli, "brotli", &["br"], &[]),
    (Compression::Lzma, "lzma", &["lzma"], &[]),
];

/// The longest of the first bytes.
const MAGIC_SIZE: usize = 6;

/// How many compressions around each other are undone; more than that is no accident.
pub const MAX_LAYERS: usize = 3;

/// Largest window of a zstd frame: 128 MB, zstd's own default limit for streams.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Largest memory of an xz or lzma decoder in kB: `xz -9` needs 64 MB.
const XZ_MEMORY_LIMIT_KB: u32 = 128 << 10;

impl Compression {
    /// As the tool is called.
    pub fn name(self) -> &'static str {
        COMPRESSIONS.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// What a file name that ends so promises.
    pub fn from_extension(extension: &[u8]) -> Option<Compression> {
        let row = COMPRESSIONS.iter().find(|row| row.2.iter().any(|known| known.as_bytes() == extension));
        row.map(|row| row.0)
    }

    /// What the first bytes of a file prove.
    pub fn from_magic(bytes: &[u8]) -> Option<Compression> {
        let known = COMPRESSIONS.iter().find(|row| !row.3.is_empty() && bytes.starts_with(row.3));
        known.map(|row| row.0)
    }

    /// What the first bytes prove, or what the name of the file promises of a compression that has none of its own.
    pub fn of_file(bytes: &[u8], path: &Path) -> Option<Compression> {
        Compression::from_magic(bytes).or_else(|| {
            let is_wal = VERSIONS.iter().any(|version| {
                bytes.starts_with(&version.wal_magic.to_le_bytes())
                    || bytes.starts_with(&version.wal_magic.to_be_bytes())
            });
            let name = path.file_name().unwrap_or_default().as_bytes();
            let promised = name.split(|byte| *byte == b'.').skip(1).filter_map(Compression::from_extension);
            promised.last().filter(|promised| !promised.has_magic() && !is_wal && !bytes.is_empty())
        })
    }

    /// Can it be told by first bytes?
    pub fn has_magic(self) -> bool {
        COMPRESSIONS.iter().any(|row| row.0 == self && !row.3.is_empty())
    }

    /// Undoes this compression.
    fn decoder(self, inner: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        let inner = BufReader::with_capacity(64 << 10, inner);
        Ok(match self {
            Compression::Gzip => Box::new(MultiGzDecoder::new(inner)),
            Compression::Lz4 => {
                Box::new(Lz4Frames { decoder: FrameDecoder::new(NeverEnds(inner)), ended: false })
            }
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(inner)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            Compression::Bzip2 => Box::new(MultiBzDecoder::new(inner)),
            Compression::Xz => Box::new(XzReader::new_mem_limit(inner, true, XZ_MEMORY_LIMIT_KB)),
            Compression::Snappy => Box::new(snap::read::FrameDecoder::new(inner)),
            // Its window is 16 MB at most: the extension for larger ones is not switched on.
            Compression::Brotli => Box::new(Decompressor::new(inner, 64 << 10)),
            Compression::Lzma => Box::new(LzmaReader::new_mem_limit(inner, XZ_MEMORY_LIMIT_KB, None)?),
        })
    }
}

/// Frames one after the other. The decoder stops at the end of each, and takes a stream that is cut between
/// two blocks for a whole one; so it never gets to see the end, and between frames we look for it ourselves.
struct Lz4Frames<R: Read> {
    decoder: FrameDecoder<NeverEnds<R>>,
    ended: bool,
}

/// Bytes whose end is an error.
struct NeverEnds<R>(R);

impl<R: Read> Read for NeverEnds<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the stream ends within a frame"))
            }
            count => Ok(count),
        }
    }
}

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            // Who asks once more behind the end is told the same.
            self.ended = self.decoder.get_mut().0.fill_buf()?.is_empty();
        }
        Ok(0)
    }
}

/// The content of a file, whatever it was packed in.
pub struct Unpacked {
    /// What was undone, the outermost first.
    pub layers: Vec<Compression>,
    reader: Box<dyn Read + Send>,
}

impl Unpacked {
    /// Undoes up to [`MAX_LAYERS`] compressions around the bytes of `file`.
    pub fn new(file: impl Read + Send + 'static) -> io::Result<Unpacked> {
        Unpacked::named(file, Path::new(""))
    }

    /// The same for a file whose name may promise a compression that has no first bytes of its own.
    pub fn named(file: impl Read + Send + 'static, path: &Path) -> io::Result<Unpacked> {
        let mut unpacked = Unpacked { layers: Vec::new(), reader: Box::new(file) };
        loop {
            let mut start = [0; MAGIC_SIZE];
            let count = read_full(&mut unpacked.reader, &mut start)?;
            let start = start.get(..count).unwrap_or_default().to_vec();
            let magic = match unpacked.layers.as_slice() {
                [] => Compression::of_file(&start, path),
                _ => Compression::from_magic(&start),
            };
            let whole = Cursor::new(start).chain(unpacked.reader);
            match magic {
                Some(compression) if unpacked.layers.len() < MAX_LAYERS => {
                    unpacked.layers.push(compression);
                    unpacked.reader = compression.decoder(Box::new(whole))?;
                }
                _ => {
                    unpacked.reader = Box::new(whole);
                    return Ok(unpacked);
                }
            }
        }
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// Fills `buffer` as far as there are bytes and says how many there were.
pub fn read_full(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// Compresses as the command line tools do; there is no encoder for xz here.
    pub(crate) fn pack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(bytes, 1).unwrap(),
            Compression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Snappy => {
                let mut encoder = snap::write::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).unwrap();
                encoder.into_inner().unwrap()
            }
            // Blocks that are stored as they are: 16 bits of length, then the bytes.
            Compression::Brotli => {
                let mut out = Vec::new();
                for (index, block) in bytes.chunks(1 << 16).enumerate() {
                    let shift = if index == 0 { 4 } else { 3 };
                    let header = (block.len() as u32 - 1) << shift | 1 << (16 + shift);
                    out.extend_from_slice(&header.to_le_bytes()[..3]);
                    out.extend_from_slice(block);
                }
                out.push(3);
                out
            }
            Compression::Xz | Compression::Lzma => unreachable!("no encoder"),
        }
    }

    /// `printf 'some text\n' | xz`
    #[rustfmt::skip]
    const XZ_OF_TEXT: [u8; 68] = [
        0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00, 0x00, 0x04, 0xE6, 0xD6, 0xB4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x16,
        0x00, 0x00, 0x00, 0x74, 0x2F, 0xE5, 0xA3, 0x01, 0x00, 0x09, 0x73, 0x6F, 0x6D, 0x65, 0x20, 0x74, 0x65,
        0x78, 0x74, 0x0A, 0x00, 0x00, 0x00, 0x80, 0x41, 0x49, 0x0D, 0x11, 0xDA, 0xFE, 0x1B, 0x00, 0x01, 0x22,
        0x0A, 0x15, 0x1A, 0xE1, 0x67, 0x1F, 0xB6, 0xF3, 0x7D, 0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5A,
    ];

    const ENCODERS: [Compression; 5] =
        [Compression::Gzip, Compression::Lz4, Compression::Zstd, Compression::Bzip2, Compression::Snappy];

    /// `printf 'some text\n' | xz --format=lzma`
    #[rustfmt::skip]
    const LZMA_OF_TEXT: [u8; 34] = [
        0x5D, 0x00, 0x00, 0x80, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x39, 0x9B, 0xC9,
        0xF2, 0xE7, 0x50, 0xB8, 0xC5, 0xE2, 0x5C, 0x9D, 0xA2, 0x57, 0x6E, 0xFF, 0xFF, 0xBF, 0xC8, 0x00, 0x00,
    ];

    fn unpack_named(bytes: &[u8], name: &str) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut unpacked = Unpacked::named(Cursor::new(bytes.to_vec()), Path::new(name))?;
        unpacked.read_to_end(&mut content)?;
        assert_eq!(unpacked.read(&mut [0; 8]).unwrap(), 0, "the end stays the end");
        Ok(content)
    }

    #[test]
    fn what_only_the_name_tells() {
        assert_eq!(
            unpack_named(b"\x0b\x05\x80hello world\x03", "d/00000002.history.br").unwrap(),
            b"hello world"
        );
        assert_eq!(unpack_named(&LZMA_OF_TEXT, "x.lzma").unwrap(), b"some text\n");
        assert_eq!(unpack_named(&LZMA_OF_TEXT, "x").unwrap(), LZMA_OF_TEXT);
        let text: Vec<u8> =
            (0..50_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let packed = pack(Compression::Brotli, &text);
        assert!(unpack_named(&packed, "x.br").unwrap() == text);
        for cut in [packed.len() - 1, packed.len() / 2, 9] {
            assert!(unpack_named(&packed[..cut], "x.br").is_err(), "brotli cut to {cut}");
        }
        for cut in [3, 14, 20, 32] {
            assert!(unpack_named(&LZMA_OF_TEXT[..cut], "x.lzma").is_err(), "lzma cut to {cut}");
        }
        // A segment that only says so.
        assert_eq!(unpack_named(&[0x10, 0xD1, 2, 0], "x.br").unwrap(), [0x10, 0xD1, 2, 0]);
    }

    fn unpack(bytes: &[u8]) -> (Vec<Compression>, io::Result<Vec<u8>>) {
        match Unpacked::new(Cursor::new(bytes.to_vec())) {
            Ok(mut unpacked) => {
                let mut content = Vec::new();
                let result = unpacked.read_to_end(&mut content);
                (unpacked.layers.clone(), result.map(|_| content))
            }
            Err(error) => (Vec::new(), Err(error)),
        }
    }

    #[test]
    fn every_compression_plain_and_twice_and_concatenated() {
        let text = b"some text\n".repeat(1000);
        assert!(unpack(&text).1.unwrap() == text);
        for compression in ENCODERS {
            let packed = pack(compression, &text);
            assert_eq!(Compression::from_magic(&packed), Some(compression));
            assert!(unpack(&packed).1.unwrap() == text);
            let members = [packed.clone(), packed.clone()].concat();
            assert!(unpack(&members).1.unwrap() == text.repeat(2), "{compression:?} members");
            let (layers, content) = unpack(&pack(Compression::Zstd, &packed));
            assert_eq!(layers, [Compression::Zstd, compression]);
            assert!(content.unwrap() == text);
        }
    }

    #[test]
    fn a_cut_stream_is_an_error_and_not_an_end() {
        let text: Vec<u8> =
            (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for compression in ENCODERS {
            let packed = pack(compression, &text);
            for cut in [packed.len() - 1, packed.len() / 2, 9] {
                let (_, content) = unpack(&packed[..cut]);
                assert!(content.is_err(), "{compression:?} cut to {cut}");
            }
        }
        assert_eq!(unpack(&XZ_OF_TEXT).1.unwrap(), b"some text\n");
        for cut in [8, 30, 67] {
            assert!(unpack(&XZ_OF_TEXT[..cut]).1.is_err(), "xz cut to {cut}");
        }
    }

    #[test]
    fn a_fourth_layer_stays_as_it_is() {
        let mut packed = b"x".to_vec();
        for _ in 0..4 {
            packed = pack(Compression::Gzip, &packed);
        }
        let (layers, content) = unpack(&packed);
        assert_eq!(layers.len(), MAX_LAYERS);
        assert_eq!(Compression::from_magic(&content.unwrap()), Some(Compression::Gzip));
    }
}
