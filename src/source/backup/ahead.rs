//! Reading ahead: a packed archive is unpacked by a thread of its own, while what came before is examined.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::tar::Forward;
use crate::source::compressed::read_full;

/// Bytes of one piece.
const PIECE: usize = 256 << 10;
/// Pieces that may wait.
const WAITING: usize = 8;

/// What another thread reads.
pub struct ReadAhead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// Pieces that were used up, to be filled again.
    used: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl ReadAhead {
    /// Starts the thread. It ends with its source, or when nobody reads any more.
    pub fn new(mut source: impl Read + Send + 'static) -> ReadAhead {
        let (sender, pieces) = sync_channel(WAITING);
        let (used, returned) = sync_channel::<Vec<u8>>(WAITING + 2);
        std::thread::spawn(move || {
            loop {
                let mut piece = returned.try_recv().unwrap_or_default();
                piece.resize(PIECE, 0);
                let (result, last) = match read_full(&mut source, &mut piece) {
                    Ok(count) => {
                        piece.truncate(count);
                        (Ok(piece), count < PIECE)
                    }
                    Err(error) => (Err(error), true),
                };
                if sender.send(result).is_err() || last {
                    return;
                }
            }
        });
        ReadAhead { pieces, used, piece: Vec::new(), at: 0, ended: false }
    }

    /// What is left of the current piece, or the next one; empty at the end.
    fn fill(&mut self) -> io::Result<&[u8]> {
        while self.at >= self.piece.len() && !self.ended {
            // Nobody needs to take it.
            let _ = self.used.try_send(std::mem::take(&mut self.piece));
            self.at = 0;
            match self.pieces.recv() {
                Ok(Ok(piece)) => self.piece = piece,
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => self.ended = true,
            }
        }
        Ok(self.piece.get(self.at..).unwrap_or_default())
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill()?.read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

impl Forward for ReadAhead {
    fn pass(&mut self, bytes: u64) -> io::Result<u64> {
        let mut left = bytes;
        while left > 0 {
            let there = self.fill()?.len() as u64;
            if there == 0 {
                break;
            }
            let step = there.min(left);
            self.at += step as usize;
            left -= step;
        }
        Ok(bytes - left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_and_errors() {
        let bytes: Vec<u8> = (0..3 * PIECE as u32 + 77).map(|i| (i >> 4) as u8).collect();
        let mut ahead = ReadAhead::new(io::Cursor::new(bytes.clone()));
        let mut start = [0; 100];
        ahead.read_exact(&mut start).unwrap();
        assert_eq!(ahead.pass(PIECE as u64).unwrap(), PIECE as u64);
        let mut rest = Vec::new();
        ahead.read_to_end(&mut rest).unwrap();
        assert!(rest == bytes[PIECE + 100..]);
        assert_eq!(ahead.pass(1).unwrap(), 0);
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("x"))
            }
        }
        assert!(ReadAhead::new(Fails).read(&mut start).is_err());
        // One that nobody reads to its end.
        drop(ReadAhead::new(io::repeat(0)));
    }
}
