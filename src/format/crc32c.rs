//! CRC-32C (Castagnoli), as in pg_control and in WAL records.
//!
//! Long inputs go to crc_fast, which takes many bytes at a time. Most WAL records are shorter than it needs to get
//! going, and there are millions of them: for those there is the processor's own instruction, 8 bytes each.

use crc_fast::{CrcAlgorithm, Digest};

/// From here on crc_fast is faster.
const LONG: usize = 512;

/// The CRC of some bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_of_both(bytes, &[])
}

/// The CRC of `first`, and then of `second`.
#[inline(always)]
pub fn crc32c_of_both<const N: usize>(first: &[u8], second: &[u8; N]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if first.len() < LONG && is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the instructions of SSE 4.2, as was tested just now.
        return unsafe { sse42::crc32c_of_both(first, second) };
    }
    of_long(first, second)
}

#[cold]
fn of_long(first: &[u8], second: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(first);
    digest.update(second);
    // The algorithm's result is 32 bits wide in a 64-bit type.
    digest.finalize() as u32
}

#[cfg(target_arch = "x86_64")]
mod sse42 {
    use std::arch::x86_64::_mm_crc32_u64;

    #[target_feature(enable = "sse4.2")]
    pub fn crc32c_of_both<const N: usize>(first: &[u8], second: &[u8; N]) -> u32 {
        !(update(update(u64::from(u32::MAX), first), second) as u32)
    }

    #[inline]
    #[target_feature(enable = "sse4.2")]
    fn update(mut state: u64, bytes: &[u8]) -> u64 {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state = _mm_crc32_u64(state, u64::from_le_bytes(*word));
        }
        // The rest is of any length; branches would be guessed wrong. Zeros before it change nothing as long as the
        // state is zero, so the state goes into the bytes: what it covers of them, and the remainder afterwards.
        let shift = 8 * (7 - rest.len() as u32 % 8);
        let last = match bytes.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last) >> shift >> 8,
            None => rest.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        };
        _mm_crc32_u64(0, (last ^ state) << shift << 8) ^ state >> (56 - shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn every_length_both_ways_and_in_two_parts() {
        let bytes: Vec<u8> =
            (0..2 * LONG as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for length in 0..bytes.len() {
            let part = &bytes[..length];
            let expected = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, part) as u32;
            assert_eq!(crc32c(part), expected, "{length}");
            if let Some((first, second)) = part.split_last_chunk::<20>() {
                assert_eq!(crc32c_of_both(first, second), expected, "{length}");
            }
        }
    }
}
