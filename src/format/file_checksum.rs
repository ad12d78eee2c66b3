//! The checksum of a file as a backup manifest has it.
//!
//! CRC-32C is stored as the four bytes of the number in the memory of the server's machine; the others are the usual
//! SHA-2 digests. Source: common/checksum_helper.c.

use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::backup_manifest::Algorithm;

/// A checksum that is being made.
pub struct FileChecksum {
    state: State,
    big_endian: bool,
}

enum State {
    None,
    Crc32c(Crc),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl FileChecksum {
    /// Of no bytes yet. `big_endian`: the machine that wrote the manifest.
    pub fn new(algorithm: Algorithm, big_endian: bool) -> FileChecksum {
        let state = match algorithm {
            Algorithm::None => State::None,
            Algorithm::Crc32c => State::Crc32c(Crc::new(CrcAlgorithm::Crc32Iscsi)),
            Algorithm::Sha224 => State::Sha224(Sha224::new()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha384 => State::Sha384(Sha384::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        FileChecksum { state, big_endian }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::None => {}
            State::Crc32c(crc) => crc.update(bytes),
            State::Sha224(sha) => sha.update(bytes),
            State::Sha256(sha) => sha.update(bytes),
            State::Sha384(sha) => sha.update(bytes),
            State::Sha512(sha) => sha.update(bytes),
        }
    }

    /// The bytes of the checksum.
    pub fn finish(self) -> Vec<u8> {
        match self.state {
            State::None => Vec::new(),
            State::Crc32c(crc) => {
                let number = crc.finalize() as u32;
                (if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }).to_vec()
            }
            State::Sha224(sha) => sha.finalize().to_vec(),
            State::Sha256(sha) => sha.finalize().to_vec(),
            State::Sha384(sha) => sha.finalize().to_vec(),
            State::Sha512(sha) => sha.finalize().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `printf 123456789 | sha256sum` and the like; the CRC's check value is E3069283.
    #[test]
    fn known_values() {
        for (algorithm, expected) in [
            (Algorithm::None, ""),
            (Algorithm::Crc32c, "839206e3"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
            (Algorithm::Sha224, "9b3e61bf29f17c75572fae2e86e17809a4513d07c8a18152acf34521"),
        ] {
            let mut checksum = FileChecksum::new(algorithm, false);
            checksum.update(b"12345");
            checksum.update(b"6789");
            let found = checksum.finish();
            assert_eq!(hex::encode(&found), expected);
            assert_eq!(found.len(), algorithm.length());
        }
    }
}
