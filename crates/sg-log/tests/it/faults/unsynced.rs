//! What a power cut takes away: changes that no sync made durable.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sg_log::disk::DiskFile;
use sg_log::{Disk, RealDisk};

/// How much of it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// All of it.
    All,
    /// The names, and every other write, the last one first.
    LastAndEveryOther,
    /// The names, and every other write, without the last one.
    EveryOther,
    /// The first half of every write.
    FirstHalves,
    /// Nothing but the oldest change of a name: the others were written behind the program's back.
    OldestName,
}

enum Change {
    Write {
        file: u64,
        handle: Arc<dyn DiskFile>,
        position: u64,
        bytes: usize,
        before: Vec<u8>,
        len_before: u64,
    },
    Create(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
        before: Vec<u8>,
    },
}

/// Changes that no sync made durable, oldest first.
#[derive(Default)]
pub(super) struct Unsynced {
    changes: Mutex<Vec<Change>>,
    files: AtomicU64,
}

impl Unsynced {
    pub(super) fn next_id(&self) -> u64 {
        self.files.fetch_add(1, Ordering::SeqCst)
    }

    fn push(&self, change: Change) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }

    pub(super) fn created(&self, path: &Path) {
        self.push(Change::Create(path.to_owned()));
    }

    pub(super) fn renamed(&self, from: &Path, to: &Path) {
        self.push(Change::Rename { from: from.to_owned(), to: to.to_owned() });
    }

    pub(super) fn removing(&self, path: &Path) {
        let before = std::fs::read(path).expect("a file that is removed was there");
        self.push(Change::Remove { path: path.to_owned(), before });
    }

    pub(super) fn writing(&self, file: u64, handle: &Arc<dyn DiskFile>, bytes: usize, position: u64) {
        let len_before = handle.len().expect("a file has a length");
        let mut before = vec![0; bytes];
        let read = handle.read_at(&mut before, position).expect("a file can be read");
        before.truncate(read);
        self.push(Change::Write { file, handle: handle.clone(), position, bytes, before, len_before });
    }

    pub(super) fn synced(&self, synced: u64) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.retain(|change| !matches!(change, Change::Write { file, .. } if *file == synced));
    }

    pub(super) fn synced_names(&self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.retain(|change| matches!(change, Change::Write { .. }));
    }

    /// Takes changes back, newest first.
    pub(super) fn lose(&self, lost: Lost) {
        let mut changes = std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        if lost == Lost::OldestName {
            changes.retain(|change| !matches!(change, Change::Write { .. }));
            changes.truncate(1);
        }
        let mut writes = 0_u64;
        for change in changes.into_iter().rev() {
            if let Change::Write { .. } = change {
                writes += 1;
            }
            let is_kept = match lost {
                Lost::All | Lost::FirstHalves | Lost::OldestName => false,
                Lost::LastAndEveryOther => writes.is_multiple_of(2),
                Lost::EveryOther => !writes.is_multiple_of(2),
            };
            undo(change, is_kept, lost);
        }
    }
}

fn undo(change: Change, is_write_kept: bool, lost: Lost) {
    let undone = match change {
        Change::Write { .. } if is_write_kept => Ok(()),
        Change::Write { handle, position, bytes, mut before, len_before, .. } => {
            if lost == Lost::FirstHalves {
                before.resize(bytes, 0);
                handle.write_at(&before[..bytes / 2], position)
            } else {
                handle.write_at(&before, position).and_then(|()| handle.set_len(len_before))
            }
        }
        Change::Create(path) => RealDisk.remove(&path),
        Change::Rename { from, to } => RealDisk.rename(&to, &from),
        Change::Remove { path, before } => std::fs::write(path, before),
    };
    match undone {
        // A later change of the name was kept, and with it this one.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && lost == Lost::OldestName => {}
        undone => undone.expect("what was done can be undone"),
    }
}
