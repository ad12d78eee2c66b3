//! Encrypted files, as far as their first bytes tell.
//!
//! ```text
//! "Salted__"                     openssl enc, pgBackRest (aes-256-cbc)
//! "-----BEGIN PGP MESSAGE", or a packet with a session key     gpg, WAL-G with a PGP key, Barman
//! "pghoa1", "pghoa2"             pghoard
//! "age-encryption.org/"          age
//! ```
//!
//! What libsodium encrypts (WAL-G) has no first bytes of its own: it cannot be told from random bytes, nor from what
//! damage left of a compressed file. So it is only called so where nothing beside it can be read.

/// What a file was encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Encryption {
    OpenSsl,
    Pgp,
    Pghoard,
    Age,
    /// Bytes without any pattern.
    Unknown,
}

static MAGICS: &[(Encryption, &[u8])] = &[
    (Encryption::OpenSsl, b"Salted__"),
    (Encryption::Pgp, b"-----BEGIN PGP MESSAGE"),
    (Encryption::Pghoard, b"pghoa1"),
    (Encryption::Pghoard, b"pghoa2"),
    (Encryption::Age, b"age-encryption.org/"),
];

/// Fewer bytes say nothing about their pattern.
const MIN_SAMPLE: usize = 1 << 10;

impl Encryption {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Encryption::OpenSsl => "encrypted (\"Salted__\": pgBackRest or openssl)",
            Encryption::Pgp => "encrypted (PGP)",
            Encryption::Pghoard => "encrypted (pghoard)",
            Encryption::Age => "encrypted (age)",
            Encryption::Unknown => "random bytes: encrypted (libsodium leaves no sign) or damaged",
        }
    }

    /// What the first bytes prove.
    pub fn from_magic(bytes: &[u8]) -> Option<Encryption> {
        let known = MAGICS.iter().find(|(_, magic)| bytes.starts_with(magic)).map(|(known, _)| *known);
        known.or_else(|| is_session_key(bytes).then_some(Encryption::Pgp))
    }

    /// Are the bytes without any pattern, as encrypted (and compressed) ones are?
    pub fn is_random(bytes: &[u8]) -> bool {
        if bytes.len() < MIN_SAMPLE {
            return false;
        }
        let mut counts = [0u64; 256];
        for byte in bytes {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
        // Chi-square with 255 degrees of freedom: above 400 once in 100 million random samples.
        let expected = bytes.len() as f64 / 256.0;
        let chi: f64 = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
        chi < 400.0
    }
}

/// A packet with an encrypted session key (RFC 9580): tag 1 of version 3 or 6, or tag 3 of version 4 to 6.
fn is_session_key(bytes: &[u8]) -> bool {
    let Some(first) = bytes.first().copied().filter(|first| first & 0x80 != 0) else { return false };
    let (tag, length) = if first & 0x40 == 0 {
        (first >> 2 & 0xF, [1, 2, 4, 0].get(usize::from(first & 3)).copied().unwrap_or(0))
    } else {
        (first & 0x3F, 1)
    };
    let size =
        bytes.get(1..1 + length).unwrap_or_default().iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let version = bytes.get(1 + length).copied();
    // A session key takes a few dozen to some hundred bytes.
    (4..4096).contains(&size)
        && match tag {
            1 => matches!(version, Some(3 | 6)),
            3 => matches!(version, Some(4..=6)),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::version::VERSIONS;

    #[test]
    fn first_bytes() {
        // gpg --symmetric, gpg --encrypt to an RSA and to a Curve25519 key.
        assert_eq!(Encryption::from_magic(b"\x8c\x0d\x04\x09\x03\x02"), Some(Encryption::Pgp));
        assert_eq!(Encryption::from_magic(b"\x85\x01\x8c\x03\x11\x22"), Some(Encryption::Pgp));
        assert_eq!(Encryption::from_magic(b"\x84\x5e\x03\x11\x22"), Some(Encryption::Pgp));
        assert_eq!(Encryption::from_magic(b"Salted__12345678"), Some(Encryption::OpenSsl));
        for bytes in
            [&b""[..], b"\x85", b"\x1f\x8b\x08", b"\xff\x06\x00\x00sNaPpY", b"BZh9", b"\x28\xb5\x2f\xfd"]
        {
            assert_eq!(Encryption::from_magic(bytes), None);
        }
        for version in VERSIONS {
            let [low, high] = version.wal_magic.to_le_bytes();
            assert_eq!(Encryption::from_magic(&[low, high, 7, 0, 1, 0, 0, 0]), None);
            assert_eq!(Encryption::from_magic(&[high, low, 0, 7, 0, 0, 0, 1]), None);
        }
    }

    #[test]
    fn random_bytes() {
        let mut state = 1u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let bytes: Vec<u8> = (0..8192).map(|_| random()).collect();
        assert!(Encryption::is_random(&bytes));
        assert!(!Encryption::is_random(&[0; 8192]));
        assert!(!Encryption::is_random(&b"some text ".repeat(800)));
        assert!(!Encryption::is_random(&bytes[..100]));
    }
}
