//! Looking at a log that nobody works in, without a byte written: what opening it would say, and then what readers of its
//! closed segments would, as far as there is time.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sg_core::ports::PortError;

use crate::directory;
use crate::disk::{DirEntry, Disk, DiskFile, RealDisk, RealFile};
use crate::log::Options;
use crate::recovery::check_closed;

/// Returns the identity of the log in a directory; `None` where opening would make one. Changes nothing.
///
/// # Errors
/// As [`crate::EmbeddedLog::open`].
pub fn identity(dir: &Path) -> Result<Option<String>, PortError> {
    directory::identity(&Untouched, dir)
}

/// What was seen of the segments that are closed, whose frames opening does not read.
#[derive(Debug, Default)]
pub struct Closed {
    /// How many there are.
    pub segments: usize,
    /// How many of them were looked at, the newest first.
    pub looked_at: usize,
    /// Those that are not as they were written, or cannot be read.
    pub damaged: Vec<PortError>,
}

/// Says what opening a log with these options, but for their disk, would refuse; else looks at its closed segments until a
/// time, but at one of them at least. Changes nothing, and salvages nothing.
///
/// # Errors
/// As [`crate::EmbeddedLog::open`].
pub fn check(options: &Options, until: Instant) -> Result<Closed, PortError> {
    if identity(&options.dir)?.is_none() {
        return Ok(Closed::default());
    }
    let untouched = Options { disk: Arc::new(Untouched), salvage: false, ..options.clone() };
    let mut segments = directory::open(&untouched)?.recovered.segments;
    // The last one is open, and was looked at by opening.
    segments.pop_back();
    let mut closed = Closed { segments: segments.len(), ..Closed::default() };
    for segment in segments.iter().rev() {
        closed.damaged.extend(check_closed(&Untouched, &options.dir, segment).err());
        closed.looked_at += 1;
        if Instant::now() >= until {
            break;
        }
    }
    Ok(closed)
}

/// The machine's own file system, of which everything is read and nothing changed: what opening a log would mend passes for
/// done.
struct Untouched;

impl Disk for Untouched {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        match RealDisk.list(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn create(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Err(ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(UntouchedFile(RealFile(File::open(path)?))))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

struct UntouchedFile(RealFile);

impl DiskFile for UntouchedFile {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(bytes, position)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
