//! Bytes that only grow, in pieces: a file of tens of megabytes is never copied to make room. And the sums over them.

use std::io::{self, Write};

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Bytes of a piece.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    full: Vec<Bytes>,
    open: Vec<u8>,
    bytes: u64,
}

/// Where a text lies: its piece, the place in it, its length.
pub(crate) type Found = (u32, u32, u32);

impl Chunks {
    /// Adds a text, which lies in one piece.
    pub(crate) fn push(&mut self, text: &[u8]) -> Found {
        self.make_room(text.len());
        let found = (self.full.len() as u32, self.open.len() as u32, text.len() as u32);
        self.open.extend_from_slice(text);
        self.bytes += text.len() as u64;
        found
    }

    /// Adds a line, which lies in one piece.
    pub(crate) fn push_line(&mut self, line: &[u8]) {
        self.make_room(line.len() + 1);
        self.open.extend_from_slice(line);
        self.open.push(b'\n');
        self.bytes += line.len() as u64 + 1;
    }

    fn make_room(&mut self, bytes: usize) {
        if self.open.len() + bytes > CHUNK_BYTES && !self.open.is_empty() {
            self.full.push(Bytes::from(std::mem::take(&mut self.open)));
            self.open.reserve_exact(CHUNK_BYTES.max(bytes));
        }
    }

    /// Returns a text that was added.
    #[cfg(feature = "parquet")]
    pub(crate) fn get(&self, (chunk, at, length): Found) -> &[u8] {
        let chunk: &[u8] = self.full.get(chunk as usize).map_or(&self.open, |chunk| chunk);
        &chunk[at as usize..(at + length) as usize]
    }

    /// Returns all pieces.
    pub(crate) fn into_pieces(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.open.shrink_to_fit();
            self.full.push(Bytes::from(self.open));
        }
        self.full
    }

    /// Returns how many bytes there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Write for Chunks {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for part in text.chunks(CHUNK_BYTES) {
            self.push(part);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the SHA-256 of pieces in hex.
pub(crate) fn sha256(pieces: &[Bytes]) -> String {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
