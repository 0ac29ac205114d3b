//! Files whose blocks were written once already and wait to become segments: a sync into them is several times faster.
//! Filled by a thread of its own, off the path of appends; grows with use, so that a small log stays small on disk.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sg_core::metrics::LogMetrics;

use crate::disk::Disk;
use crate::fault::is_full;
use crate::names;
use crate::shared::lock;

/// Bytes zeroed and synced at once: little enough that an append's sync does not wait long behind them.
const ZEROS: usize = 1 << 20;
/// The filler rests this many times as long as its last write took, so that appends keep nine tenths of the disk.
const RESTS_PER_WRITE: u32 = 9;

/// Files that wait to become segments.
pub(crate) struct Pool {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    segments_max: u64,
    stats: Arc<LogMetrics>,
    state: Mutex<State>,
    /// Rung when the filler may have something to do.
    changed: Condvar,
}

struct State {
    ready: VecDeque<u64>,
    next_number: u64,
    /// How many files should wait; doubles each time one is taken.
    target: u64,
    /// The disk was full: waits for the next sign of change.
    is_stalled: bool,
    is_closing: bool,
}

impl Pool {
    /// Makes a pool of the files that an earlier process left.
    pub(crate) fn new(
        dir: &Path,
        disk: Arc<dyn Disk>,
        sizes: (u64, u64),
        stats: Arc<LogMetrics>,
        mut ready: Vec<u64>,
    ) -> Pool {
        ready.sort_unstable();
        stats.pool_segments.set(ready.len() as u64);
        let (segment_bytes, pool_bytes_max) = sizes;
        let segments_max = pool_bytes_max / segment_bytes;
        let state = State {
            next_number: ready.last().map_or(1, |last| last + 1),
            target: segments_max.min(ready.len() as u64),
            ready: ready.into(),
            is_stalled: false,
            is_closing: false,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Pool { dir: dir.to_owned(), disk, segment_bytes, segments_max, stats, state, changed }
    }

    /// Says that a segment will be taken before long.
    pub(crate) fn anticipate(&self) {
        let mut state = lock(&self.state);
        if state.target == 0 && self.segments_max > 0 {
            state.target = 1;
            self.changed.notify_one();
        }
    }

    /// Takes a file out; its name in the directory is the caller's from now on.
    pub(crate) fn take(&self) -> Option<PathBuf> {
        let mut state = lock(&self.state);
        state.target = (state.target * 2).max(1).min(self.segments_max);
        state.is_stalled = false;
        self.changed.notify_one();
        let number = state.ready.pop_front()?;
        self.stats.pool_segments.set(state.ready.len() as u64);
        Some(names::pool(&self.dir, number))
    }

    /// Takes in a trimmed segment, or removes it when there are enough. Its name is durably gone afterwards.
    pub(crate) fn give(&self, segment: &Path) -> io::Result<()> {
        let file_bytes = self.disk.open(segment)?.len()?;
        let number = if file_bytes >= self.segment_bytes / 2 && file_bytes <= self.segment_bytes {
            self.reserve()
        } else {
            None
        };
        match number {
            Some(number) => self.disk.rename(segment, &names::pool(&self.dir, number))?,
            None => self.disk.remove(segment)?,
        }
        self.disk.sync_dir(&self.dir)?;
        let mut state = lock(&self.state);
        state.ready.extend(number);
        self.stats.pool_segments.set(state.ready.len() as u64);
        state.is_stalled = false;
        self.changed.notify_one();
        Ok(())
    }

    /// Lets the filler end.
    pub(crate) fn close(&self) {
        lock(&self.state).is_closing = true;
        self.changed.notify_one();
    }

    /// Fills the pool until it is closed: the body of the filler's thread.
    pub(crate) fn run(&self) {
        while let Some(number) = self.wait_for_work() {
            match self.fill(number) {
                Ok(true) => {
                    let mut state = lock(&self.state);
                    state.ready.push_back(number);
                    self.stats.pool_segments.set(state.ready.len() as u64);
                }
                Ok(false) => return,
                Err(error) => {
                    if !is_full(&error) {
                        tracing::warn!(%error, dir = %self.dir.display(), "could not prepare a segment ahead of use; appends go on, slower");
                    }
                    lock(&self.state).is_stalled = true;
                }
            }
        }
    }

    fn reserve(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        if state.ready.len() as u64 >= state.target {
            return None;
        }
        state.next_number += 1;
        Some(state.next_number - 1)
    }

    /// Returns the number of the next file to make; `None` when the pool is closed.
    fn wait_for_work(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        while !state.is_closing && (state.is_stalled || state.ready.len() as u64 >= state.target) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closing {
            return None;
        }
        state.next_number += 1;
        Some(state.next_number - 1)
    }

    /// Makes a file of zeros; returns false when the pool was closed meanwhile.
    fn fill(&self, number: u64) -> io::Result<bool> {
        let path = names::pool(&self.dir, number);
        let unfinished = names::unfinished(&path);
        let filled = self.zero(&unfinished);
        match filled {
            Ok(true) => {
                self.disk.rename(&unfinished, &path)?;
                self.disk.sync_dir(&self.dir)?;
            }
            // Best effort: what stays is removed at the next start.
            Ok(false) | Err(_) => {
                self.disk.remove(&unfinished).ok();
            }
        }
        filled
    }

    fn zero(&self, path: &Path) -> io::Result<bool> {
        let file = self.disk.create(path)?;
        let zeros = vec![0; ZEROS.min(usize::try_from(self.segment_bytes).unwrap_or(ZEROS))];
        let mut position = 0;
        while position < self.segment_bytes {
            let bytes = (zeros.len() as u64).min(self.segment_bytes - position);
            let began = Instant::now();
            file.write_at(&zeros[..bytes as usize], position)?;
            file.sync_data()?;
            position += bytes;
            if self.rest(began.elapsed() * RESTS_PER_WRITE) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Leaves the disk to others for a while; returns whether the pool was closed.
    fn rest(&self, duration: Duration) -> bool {
        let state = lock(&self.state);
        let rested = self.changed.wait_timeout_while(state, duration, |state| !state.is_closing);
        rested.unwrap_or_else(PoisonError::into_inner).0.is_closing
    }
}
