//! Files in a folder of this machine: a file is there whole or not at all, also after a power cut.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sg_core::archive::OWN_PREFIX;
use sg_core::ports::{ErrorKind, PortError};

/// Pieces that go to the disk at once: the log's next sync waits for what the disk was given before.
const PIECES_AT_ONCE: usize = 2;

/// A folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// Writes a file under a path.
    pub(crate) async fn put(&self, path: &str, content: &[Bytes]) -> Result<(), PortError> {
        let (folder, path, content) = (self.clone(), path.to_owned(), content.to_vec());
        let doing = format!("writing {}", self.0.join(&path).display());
        blocking(doing, move || folder.write(&path, &content)).await
    }

    /// Deletes a file, if it is there, and what a write that was cut short left of it.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), PortError> {
        let (file, unfinished) = (self.0.join(path), self.unfinished(path));
        let doing = format!("deleting {}", file.display());
        blocking(doing, move || {
            for gone in [&unfinished, &file] {
                match fs::remove_file(gone) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            match file.parent() {
                Some(parent) if parent.try_exists()? => File::open(parent)?.sync_all(),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Reads a file, which is to be there.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, PortError> {
        let file = self.0.join(path);
        let doing = format!("reading {}", file.display());
        let read = blocking(doing, move || match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        });
        let missing = || {
            let file = self.0.join(path);
            PortError::new(
                ErrorKind::Corrupt,
                format!("reading {}: it is not there any more", file.display()),
            )
        };
        read.await?.map(Bytes::from).ok_or_else(missing)
    }

    /// Where a file stands until it is whole: outside of every layout.
    fn unfinished(&self, path: &str) -> PathBuf {
        self.0.join(OWN_PREFIX).join("unfinished").join(path.replace('/', "%"))
    }

    fn write(&self, path: &str, content: &[Bytes]) -> io::Result<()> {
        let (file, unfinished) = (self.0.join(path), self.unfinished(path));
        for made in [&file, &unfinished] {
            make_parents(made)?;
        }
        let mut writing = File::create(&unfinished)?;
        for (number, piece) in content.iter().enumerate() {
            if number > 0 && number % PIECES_AT_ONCE == 0 {
                writing.sync_data()?;
            }
            writing.write_all(piece)?;
        }
        writing.sync_all()?;
        // The next file gets the memory of this one, and the log and the store keep theirs: who refuses loses nothing.
        rustix::fs::fadvise(&writing, 0, None, rustix::fs::Advice::DontNeed).ok();
        drop(writing);
        fs::rename(&unfinished, &file)?;
        sync_parent(&file)
    }
}

/// Makes the folders above a file, and makes them last.
fn make_parents(file: &Path) -> io::Result<()> {
    let Some(parent) = file.parent() else { return Ok(()) };
    if parent.as_os_str().is_empty() || parent.try_exists()? {
        return Ok(());
    }
    make_parents(parent)?;
    match fs::create_dir(parent) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_parent(parent)
}

fn sync_parent(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

async fn blocking<T: Send + 'static>(
    doing: String,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, PortError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(PortError::from_source(ErrorKind::Retry, doing, error)),
        Err(error) => Err(PortError::from_source(ErrorKind::Retry, doing, error)),
    }
}
