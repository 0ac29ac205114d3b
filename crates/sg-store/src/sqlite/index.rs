//! An index over raw events that is made behind the writer's back: the raw table itself has none, because a random key
//! on the path of a flush costs ten times the speed. Everything in it follows from the raw table; what is damaged or
//! foreign is deleted and made again, and what it does not cover yet is scanned. It decides no answer, only its speed.
//!
//! Rows are indexed in *pieces* of some thousand, sixteen of which are merged into one, and so on. A piece has five
//! *runs*, one for each [`entry::Kind`] of question, and a run is a sorted list of (hash, event time, position) cut into
//! *pages* of some hundred, packed to about nine bytes an entry. Sorted pages rather than one row an entry in a b-tree:
//! that would be five insertions an event, again at each merge, where five hundred entries share one here. The time
//! stands in the key, so that the newest events of anything are read from the ends of a few runs.
//!
//! `worker` is the thread, `seal` makes pieces, `merge` merges them, `file` keeps them, `lookup` reads them.

mod entry;
mod file;
mod lookup;
mod merge;
mod page;
mod piece;
mod seal;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use sg_core::ports::{ErrorKind, PortError};

pub(crate) use entry::{Kind, hash_of};
pub(crate) use lookup::{View, Wanted};

/// How large pieces and pages are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Offsets without a piece at which the next is made: so many are scanned by each question, in some milliseconds.
    pub(crate) seal_rows: usize,
    /// Pieces that are merged into one.
    pub(crate) fan_in: usize,
    /// Entries of a page: read as a whole for one of them.
    pub(crate) page_entries: usize,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { seal_rows: 16_384, fan_in: 16, page_entries: 512 }
    }
}

/// A handle to the index and its thread; the last one to go ends the thread.
pub(crate) struct Index {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread shares with those who ask.
pub(crate) struct Shared {
    /// The index's file.
    path: PathBuf,
    /// Whether the file may be read. Held by readers while they have it open, so that it is deleted under nobody.
    usable: RwLock<bool>,
    bell: Mutex<Bell>,
    rung: Condvar,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Bell {
    /// How often it was rung.
    rings: u64,
    /// The ring after which nothing is left to do.
    #[cfg_attr(not(test), allow(dead_code, reason = "only tests wait for it"))]
    done: u64,
    /// Whether rows have been removed.
    removed: bool,
    /// Whether a reader has found the file damaged.
    damaged: bool,
    /// Whether to end.
    stop: bool,
}

impl Index {
    /// Starts the thread over the store at `path`; the index lies beside it.
    pub(crate) fn start(path: &Path, sizes: Sizes) -> Result<Index, PortError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push("-index");
        let shared = Arc::new(Shared {
            path: beside.into(),
            usable: RwLock::new(false),
            bell: Mutex::default(),
            rung: Condvar::new(),
        });
        let mut worker = worker::Worker::new(path, sizes, shared.clone());
        let thread =
            std::thread::Builder::new().name("store-index".to_owned()).spawn(move || worker.run()).map_err(
                |error| PortError::from_source(ErrorKind::Closed, "starting the index's thread", error),
            )?;
        Ok(Index { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Returns what questions need.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Says that rows were written.
    pub(crate) fn rows_came(&self) {
        self.shared.ring(|_| {});
    }

    /// Says that rows may have been removed.
    pub(crate) fn rows_went(&self) {
        self.shared.ring(|bell| bell.removed = true);
    }

    /// Waits until nothing is left to do; returns false when that takes too long.
    #[cfg(test)]
    pub(crate) fn settle(&self) -> bool {
        let mut bell = self.shared.lock();
        bell.rings += 1;
        let ring = bell.rings;
        self.shared.rung.notify_all();
        let long = std::time::Duration::from_secs(60);
        let waited = self.shared.rung.wait_timeout_while(bell, long, |bell| bell.done < ring);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Index {
    /// Has the thread leave what it does and close its files.
    fn drop(&mut self) {
        self.shared.ring(|bell| bell.stop = true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the index's thread ended in a panic");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Bell> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, change: impl FnOnce(&mut Bell)) {
        let mut bell = self.lock();
        change(&mut bell);
        bell.rings += 1;
        self.rung.notify_all();
    }

    /// Says that the file is damaged.
    pub(crate) fn report_damage(&self) {
        self.ring(|bell| bell.damaged = true);
    }

    fn must_stop(&self) -> bool {
        self.lock().stop
    }

    fn allow_readers(&self, allowed: bool) {
        *self.usable.write().unwrap_or_else(PoisonError::into_inner) = allowed;
    }
}

#[cfg(test)]
mod tests;
