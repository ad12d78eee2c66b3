//! A file that may be compressed, read as what it was before.
//!
//! ```text
//! gzip   1F 8B               (any number of members)    pg_receivewal -Z, gzip, pitrery, pg_probackup
//! lz4    04 22 4D 18         (frames)                   pg_receivewal 15+, WAL-G
//! zstd   28 B5 2F FD         (frames)                   WAL-G, pgBackRest, Barman
//! bzip2  42 5A 68 "BZh"      (streams)                  archive_command with bzip2
//! xz     FD 37 7A 58 5A 00   (streams)                  archive_command with xz
//! ```
//!
//! The content decides, the extension is only a promise: Barman compresses under the plain name, and an
//! archive_command that was changed in passing compresses twice. A segment of WAL never begins with one of
//! these numbers. Everything streams; memory is bounded by the decoders' windows (limited here), output by
//! whoever reads, because a few kilobytes can expand to any size.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use lzma_rust2::XzReader;

/// A compression that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Compression {
    Gzip,
    Lz4,
    Zstd,
    Bzip2,
    Xz,
}

/// Names, extensions and first bytes of every compression.
static COMPRESSIONS: &[(Compression, &str, &[&str], &[u8])] = &[
    (Compression::Gzip, "gzip", &["gz"], &[0x1F, 0x8B]),
    (Compression::Lz4, "lz4", &["lz4"], &[0x04, 0x22, 0x4D, 0x18]),
    (Compression::Zstd, "zstd", &["zst", "zstd"], &[0x28, 0xB5, 0x2F, 0xFD]),
    (Compression::Bzip2, "bzip2", &["bz2"], b"BZh"),
    (Compression::Xz, "xz", &["xz"], &[0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]),
];

/// The longest of the first bytes.
const MAGIC_SIZE: usize = 6;

/// How many compressions around each other are undone; more than that is no accident.
pub const MAX_LAYERS: usize = 3;

/// Largest window of a zstd frame: 128 MB, zstd's own default limit for streams.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Largest memory of an xz decoder in kB: `xz -9` needs 64 MB.
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
        COMPRESSIONS.iter().find(|row| bytes.starts_with(row.3)).map(|row| row.0)
    }

    /// Undoes this compression.
    fn decoder(self, inner: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        let inner = BufReader::with_capacity(64 << 10, inner);
        Ok(match self {
            Compression::Gzip => Box::new(MultiGzDecoder::new(inner)),
            Compression::Lz4 => Box::new(Lz4Frames(FrameDecoder::new(NeverEnds(inner)))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(inner)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            Compression::Bzip2 => Box::new(MultiBzDecoder::new(inner)),
            Compression::Xz => Box::new(XzReader::new_mem_limit(inner, true, XZ_MEMORY_LIMIT_KB)),
        })
    }
}

/// Frames one after the other. The decoder stops at the end of each, and takes a stream that is cut between
/// two blocks for a whole one; so it never gets to see the end, and between frames we look for it ourselves.
struct Lz4Frames<R: Read>(FrameDecoder<NeverEnds<R>>);

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
        loop {
            let count = self.0.read(buffer)?;
            if count > 0 || buffer.is_empty() || self.0.get_mut().0.fill_buf()?.is_empty() {
                return Ok(count);
            }
        }
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
        let mut unpacked = Unpacked { layers: Vec::new(), reader: Box::new(file) };
        loop {
            let mut start = [0; MAGIC_SIZE];
            let count = read_full(&mut unpacked.reader, &mut start)?;
            let start = start.get(..count).unwrap_or_default().to_vec();
            let magic = Compression::from_magic(&start);
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
pub fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
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
            Compression::Xz => unreachable!("no encoder"),
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

    const ENCODERS: [Compression; 4] =
        [Compression::Gzip, Compression::Lz4, Compression::Zstd, Compression::Bzip2];

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
