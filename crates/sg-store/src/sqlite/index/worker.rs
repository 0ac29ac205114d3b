//! The index's thread: seals, merges, frees, one small step after the other, and begins again with an empty file when
//! the one it has is of no use.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

use super::entry::{KINDS, hash_of, local_of, pack};
use super::merge::{self, Merge};
use super::piece::{Piece, Range};
use super::seal::{self, Sealed};
use super::{Shared, Sizes, file};
use crate::place::place;
use crate::sqlite::error::Error;
use crate::sqlite::pool;
use crate::sqlite::raw::raw_table;

/// Pieces above which merging comes before sealing: a question looks into every one.
const PIECES_MAX: usize = 256;
/// How long questions go without an index after its file failed twice within that time.
const PAUSE: Duration = Duration::from_secs(30);

/// What the thread works with.
pub(crate) struct Worker {
    store_path: PathBuf,
    sizes: Sizes,
    shared: Arc<Shared>,
    /// `None` until the file is found to be in order.
    work: Option<Work>,
    failed_at: Option<Instant>,
}

/// An index in order.
struct Work {
    store: Connection,
    index: Connection,
    /// Live pieces in the order in which they were made.
    pieces: Vec<Piece>,
    sealed: Sealed,
    next_piece: i64,
    merge: Option<Merge>,
}

/// What the thread was woken for.
struct Call {
    rings: u64,
    removed: bool,
    damaged: bool,
}

impl Worker {
    pub(crate) fn new(store_path: &Path, sizes: Sizes, shared: Arc<Shared>) -> Worker {
        Worker { store_path: store_path.to_owned(), sizes, shared, work: None, failed_at: None }
    }

    /// Works until it is told to stop.
    pub(crate) fn run(&mut self) {
        let mut rings_done = u64::MAX;
        let mut wait = None;
        while let Some(call) = self.wait(rings_done, wait) {
            rings_done = call.rings;
            wait = match self.work_off(&call) {
                Ok(()) => None,
                Err(error) => Some(self.begin_again(&error)),
            };
            if wait != Some(Duration::ZERO) {
                self.shared.lock().done = rings_done;
                self.shared.rung.notify_all();
            }
        }
    }

    /// Waits until the bell was rung more often, or for so long; returns none when the thread is to end.
    fn wait(&self, rings_done: u64, wait: Option<Duration>) -> Option<Call> {
        let idle = |bell: &mut super::Bell| bell.rings == rings_done && !bell.stop;
        let bell = self.shared.lock();
        let mut bell = match wait {
            None => self.shared.rung.wait_while(bell, idle).unwrap_or_else(PoisonError::into_inner),
            Some(wait) => {
                // Nothing can be done before the time is up.
                let paused = |bell: &mut super::Bell| !bell.stop;
                let waited = self.shared.rung.wait_timeout_while(bell, wait, paused);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        if bell.stop {
            return None;
        }
        let call = Call { rings: bell.rings, removed: bell.removed, damaged: bell.damaged };
        (bell.removed, bell.damaged) = (false, false);
        Some(call)
    }

    /// Does all there is to do.
    fn work_off(&mut self, call: &Call) -> Result<(), Error> {
        if call.damaged && self.work.is_some() {
            return Err(Error::index("a question found it damaged".to_owned()));
        }
        let work = match &mut self.work {
            Some(work) => work,
            none => {
                let work = Work::open(&self.store_path, &self.shared.path)?;
                self.shared.allow_readers(true);
                none.insert(work)
            }
        };
        if call.removed {
            work.drop_old()?;
        }
        while !self.shared.must_stop() && work.step(self.sizes)? {}
        Ok(())
    }

    /// Deletes the file; returns how long to wait before the next is made.
    fn begin_again(&mut self, error: &Error) -> Duration {
        tracing::warn!(%error, path = %self.shared.path.display(), "the index of raw events is made again");
        self.work = None;
        // Waits for the questions that read it: some seconds at most, for they have a deadline.
        self.shared.allow_readers(false);
        if let Err(error) = file::delete(&self.shared.path) {
            tracing::warn!(%error, "the index of raw events cannot be deleted: questions do without it");
        }
        let failed_before = self.failed_at.replace(Instant::now());
        let is_first = failed_before.is_none_or(|before| before.elapsed() > PAUSE);
        if is_first { Duration::ZERO } else { PAUSE }
    }
}

impl Work {
    fn open(store_path: &Path, index_path: &Path) -> Result<Work, Error> {
        let store = pool::open(store_path)?;
        let index = file::open(index_path)?;
        let pieces = file::pieces(&index)?;
        let mut sealed = Sealed::new();
        for piece in &pieces {
            for range in &piece.ranges {
                check(&store, &index, piece, range)?;
                let to = sealed.entry((piece.stream.clone(), range.partition)).or_default();
                *to = range.to.max(*to);
            }
        }
        let next_piece = file::next_piece(&index)?;
        Ok(Work { store, index, pieces, sealed, next_piece, merge: None })
    }

    /// Does the most urgent small thing; returns false when there is none.
    fn step(&mut self, sizes: Sizes) -> Result<bool, Error> {
        if self.pieces.len() <= PIECES_MAX && self.seal(sizes)? {
            return Ok(true);
        }
        if self.merge.is_none() {
            if file::free(&mut self.index)? {
                return Ok(true);
            }
            if let Some(sources) = merge::due(&self.pieces, sizes.fan_in) {
                let id = self.take_number();
                self.merge = Some(Merge::begin(&self.index, sources, id)?);
            }
        }
        if let Some(merge) = &mut self.merge {
            if let Some((merged, sources)) = merge.step(&mut self.index, sizes)? {
                self.pieces.retain(|piece| sources.iter().all(|source| source.id != piece.id));
                self.pieces.push(merged);
                self.pieces.sort_unstable_by_key(|piece| piece.id);
                self.merge = None;
            }
            return Ok(true);
        }
        self.seal(sizes)
    }

    /// Makes a piece of the stream with enough rows; returns false when there is none.
    fn seal(&mut self, sizes: Sizes) -> Result<bool, Error> {
        for backlog in seal::backlogs(&self.store, &self.sealed)? {
            let offsets: u64 = backlog.ranges.iter().map(|range| range.to - range.from).sum();
            if offsets < sizes.seal_rows as u64 {
                continue;
            }
            let id = self.take_number();
            let sealed = &mut self.sealed;
            let piece = seal::seal(&self.store, &mut self.index, &backlog, (id, sizes), sealed)?;
            self.pieces.extend(piece);
            return Ok(true);
        }
        Ok(false)
    }

    fn take_number(&mut self) -> i64 {
        self.next_piece += 1;
        self.next_piece - 1
    }

    /// Drops the pieces none of whose rows is left.
    fn drop_old(&mut self) -> Result<(), Error> {
        let mut old = Vec::new();
        for piece in &self.pieces {
            let mut is_old = true;
            for range in &piece.ranges {
                is_old = is_old && last_row(&self.store, &piece.stream, range)?.is_none();
            }
            if is_old {
                old.push(piece.id);
            }
        }
        if old.is_empty() {
            return Ok(());
        }
        // A merge under way may be of them.
        if self.merge.take().is_some() {
            tracing::debug!("a merge begins again: some of its rows were removed");
        }
        for piece in &old {
            let transaction = self.index.transaction()?;
            file::discard(&transaction, *piece)?;
            transaction.commit()?;
        }
        self.pieces.retain(|piece| !old.contains(&piece.id));
        Ok(())
    }
}

/// Checks that the store is the one that a piece was made of: its last row there is in the piece.
fn check(store: &Connection, index: &Connection, piece: &Piece, range: &Range) -> Result<(), Error> {
    let sql = "SELECT next_offset >= ? FROM sg_partitions WHERE stream = ? AND partition = ?";
    let is_known: Option<bool> = store
        .prepare_cached(sql)?
        .query_row(rusqlite::params![range.to as i64, piece.stream, range.partition], |row| row.get(0))
        .optional()?;
    let foreign = || Error::index("it belongs to another store".to_owned());
    if is_known != Some(true) {
        return Err(foreign());
    }
    let Some((position, event_id, time_ms)) = last_row(store, &piece.stream, range)? else { return Ok(()) };
    let before = piece.ranges.iter().take_while(|other| *other != range);
    let start: u64 = before.map(|other| other.to - other.from).sum();
    let local = start + place(position).1 - range.from;
    let entry = pack(hash_of(&event_id), time_ms, u32::try_from(local).map_err(|_| foreign())?);
    debug_assert_eq!(u64::from(local_of(entry)), local);
    let page = file::page_of(index, (piece.id, KINDS[0]), entry)?;
    page.entries.binary_search(&entry).map(drop).map_err(|_| foreign())
}

/// Returns position, id and time of the last row in a range.
fn last_row(store: &Connection, stream: &str, range: &Range) -> Result<Option<(i64, String, i64)>, Error> {
    let (first, last) = range.positions()?;
    let sql = format!(
        "SELECT position, event_id, event_time FROM {} WHERE position BETWEEN ? AND ? ORDER BY position DESC LIMIT 1",
        raw_table(stream)
    );
    let row = store
        .prepare_cached(&sql)?
        .query_row([first, last], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    Ok(row.optional()?)
}
