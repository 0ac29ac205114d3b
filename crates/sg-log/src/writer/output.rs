//! Gathers small frames into large writes; large frames are written from where they are.

use std::io;

use crate::disk::DiskFile;

/// Frames of at least this size are written as they are: copying them costs more than a call.
const DIRECT_BYTES_MIN: usize = 32 << 10;
/// Gathered bytes that are worth a write of their own.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Frames on their way to a file, one behind the other.
pub(super) struct Output<'a> {
    file: &'a dyn DiskFile,
    /// Where the gathered bytes belong.
    chunk_at: u64,
    chunk: &'a mut Vec<u8>,
}

impl<'a> Output<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, position: u64, chunk: &'a mut Vec<u8>) -> Output<'a> {
        chunk.clear();
        Output { file, chunk_at: position, chunk }
    }

    /// Returns where the next frame will stand.
    pub(super) fn position(&self) -> u64 {
        self.chunk_at + self.chunk.len() as u64
    }

    pub(super) fn push(&mut self, frame: &[u8]) -> io::Result<()> {
        if frame.len() < DIRECT_BYTES_MIN {
            self.chunk.extend_from_slice(frame);
            return if self.chunk.len() >= CHUNK_BYTES_MAX { self.flush() } else { Ok(()) };
        }
        self.flush()?;
        self.file.write_at(frame, self.chunk_at)?;
        self.chunk_at += frame.len() as u64;
        Ok(())
    }

    /// Writes what is left; returns where the frames end.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(self.chunk_at)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.file.write_at(self.chunk, self.chunk_at)?;
            self.chunk_at += self.chunk.len() as u64;
            self.chunk.clear();
        }
        Ok(())
    }
}
