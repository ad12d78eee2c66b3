//! Compressed data inside of PostgreSQL's own: pglz, lz4 and zstd streams whose size when unpacked is known.
//!
//! ```text
//! pglz    control byte, then 8 items, from its lowest bit on: 0 a literal byte, 1 a match
//!         match  b0 b1 [b2]   length (b0 & 15) + 3, if that is 18 then + b2; distance (b0 & 0xF0) << 4 | b1
//! lz4     one raw block
//! zstd    one frame
//! ```
//!
//! Full-page images and TOAST values are of these forms; neither carries a header. The caller owns the output and
//! with it the limit: nothing here writes beyond it, however the input is made. Whole files are unpacked in
//! `source/compressed.rs`. Source: common/pg_lzcompress.c.

/// How data are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// PostgreSQL's own; for full-page images the only one up to 14.
    Pglz,
    /// A raw lz4 block.
    Lz4,
    /// One zstd frame.
    Zstd,
    /// A flag that says compressed, but by no method that is known.
    Unknown,
}

impl Compression {
    /// As pg_waldump prints it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Pglz => "pglz",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
            Compression::Unknown => "unknown",
        }
    }

    /// Fills `out` exactly from `source`. `None`: the data are damaged, or hold more or less than that.
    pub fn unpack(self, source: &[u8], out: &mut [u8]) -> Option<()> {
        let written = match self {
            Compression::Pglz => return unpack_pglz(source, out),
            Compression::Lz4 => lz4_flex::block::decompress_into(source, out).ok()?,
            Compression::Zstd => zstd::bulk::decompress_to_buffer(source, out).ok()?,
            Compression::Unknown => return None,
        };
        (written == out.len()).then_some(())
    }
}

/// `pglz_decompress` with `check_complete`.
fn unpack_pglz(source: &[u8], out: &mut [u8]) -> Option<()> {
    let mut input = source.iter().copied();
    let mut at = 0;
    while at < out.len() {
        let control = input.next()?;
        for item in 0..8 {
            if at == out.len() {
                break;
            }
            let first = input.next()?;
            if control >> item & 1 == 0 {
                *out.get_mut(at)? = first;
                at += 1;
                continue;
            }
            let second = input.next()?;
            let mut length = usize::from(first & 0x0F) + 3;
            if length == 18 {
                length += usize::from(input.next()?);
            }
            let distance = usize::from(first & 0xF0) << 4 | usize::from(second);
            let from = at.checked_sub(distance).filter(|_| distance > 0)?;
            // What runs over the end is cut there.
            let end = out.len().min(at + length);
            // A match may reach into what it writes itself, so that a short pattern repeats: copy what is there,
            // which doubles each time.
            while at < end {
                let piece = (end - at).min(at - from);
                out.copy_within(from..from + piece, at);
                at += piece;
            }
        }
    }
    input.next().is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control byte with three literals and a match of 3 + 15 + 12 = 30 bytes at distance 3.
    const REPEAT: &[u8] = &[0b1000, b'a', b'b', b'c', 0x0F, 0x03, 12];

    #[test]
    fn pglz_repeats_what_it_writes() {
        let mut out = [0; 33];
        assert_eq!(Compression::Pglz.unpack(REPEAT, &mut out), Some(()));
        assert_eq!(&out, b"abcabcabcabcabcabcabcabcabcabcabc");
        // Cut at the end of the output, as the server does.
        let mut out = [0; 20];
        assert_eq!(Compression::Pglz.unpack(REPEAT, &mut out), Some(()));
        assert_eq!(&out, b"abcabcabcabcabcabcab");
    }

    #[test]
    fn pglz_that_is_not_whole_or_points_outside() {
        for cut in 0..REPEAT.len() {
            assert_eq!(Compression::Pglz.unpack(&REPEAT[..cut], &mut [0; 33]), None, "{cut}");
        }
        let longer = [REPEAT, &[0]].concat();
        assert_eq!(Compression::Pglz.unpack(&longer, &mut [0; 33]), None);
        // Too short for the output, a distance of 0, and one before the start.
        assert_eq!(Compression::Pglz.unpack(REPEAT, &mut [0; 34]), None);
        assert_eq!(Compression::Pglz.unpack(&[0b10, b'a', 0x00, 0x00], &mut [0; 4]), None);
        assert_eq!(Compression::Pglz.unpack(&[0b10, b'a', 0x00, 0x02], &mut [0; 4]), None);
    }

    #[test]
    fn lz4_and_zstd_fill_the_output_exactly() {
        let plain = b"PostgreSQL PostgreSQL PostgreSQL PostgreSQL".as_slice();
        let packed = [
            (Compression::Lz4, lz4_flex::block::compress(plain)),
            (Compression::Zstd, zstd::bulk::compress(plain, 3).unwrap()),
        ];
        for (method, packed) in packed {
            let mut out = vec![0; plain.len()];
            assert_eq!(method.unpack(&packed, &mut out), Some(()), "{method:?}");
            assert_eq!(out, plain);
            assert_eq!(method.unpack(&packed, &mut vec![0; plain.len() - 1]), None, "{method:?}");
            assert_eq!(method.unpack(&packed, &mut vec![0; plain.len() + 1]), None, "{method:?}");
            for cut in 0..packed.len() {
                assert_eq!(method.unpack(&packed[..cut], &mut out), None, "{method:?} {cut}");
            }
        }
    }

    /// Nothing that is fed to the decoders may make them write or read outside: they would panic.
    #[test]
    fn random_bytes_never_panic() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let plain: Vec<u8> = (0..8192_u32).map(|at| (at * at / 77) as u8).collect();
        let packed = [lz4_flex::block::compress(&plain), zstd::bulk::compress(&plain, 1).unwrap()];
        for round in 0..20_000_usize {
            let mut source: Vec<u8> = match round % 3 {
                0 => (0..next() % 300).map(|_| next() as u8).collect(),
                kind => packed[kind - 1].clone(),
            };
            for _ in 0..next() % 4 {
                let length = source.len().max(1);
                if let Some(byte) = source.get_mut(next() as usize % length) {
                    *byte = next() as u8;
                }
            }
            let mut out = vec![0; (next() % 8193) as usize];
            for method in [Compression::Pglz, Compression::Lz4, Compression::Zstd, Compression::Unknown] {
                let _ = method.unpack(&source, &mut out);
            }
        }
    }
}
