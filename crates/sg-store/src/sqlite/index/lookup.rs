//! Reads the index for one question: candidates, newest first, out of all pieces of a stream. A candidate is a position
//! whose row has the hash that was asked for; whether it has the text too, and is still there, only its row says.

use std::collections::BinaryHeap;
use std::sync::{RwLockReadGuard, TryLockError};

use rusqlite::Connection;
use sg_core::limits::{TIME_MAX_MS, TIME_MIN_MS};

use super::Shared;
use super::entry::{END, Entry, Kind, local_of, pack, parts, time_of};
use super::file;
use super::piece::{self, Piece};
use crate::sqlite::error::Error;

/// The index at one moment.
pub(crate) struct View<'a> {
    connection: Connection,
    pieces: Vec<Piece>,
    /// As long as it is held the file stays.
    _usable: RwLockReadGuard<'a, bool>,
}

/// Which entries: those of one hash, not before and before a time in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    pub(crate) hash: u64,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// Candidates, newest first.
pub(crate) struct Candidates<'v> {
    view: &'v View<'v>,
    wanted: Wanted,
    /// One for each piece that may have entries, once its turn has come.
    runs: Vec<Option<Run<'v>>>,
    /// (event time, position, number of the run); for a run that is not open yet the latest that it may hold.
    heap: BinaryHeap<(i64, i64, usize)>,
    sources: Vec<&'v Piece>,
    last: Option<i64>,
}

/// What is left of one run.
struct Run<'v> {
    piece: &'v Piece,
    lower: Entry,
    /// Entries not returned yet, ascending, and the least entry that their page could have.
    left: Vec<Entry>,
    low: Entry,
}

impl Shared {
    /// Looks at the index of a stream; returns none while there is no index to be used.
    pub(crate) fn look(&self, stream: &str) -> Result<Option<View<'_>>, Error> {
        let usable = match self.usable.try_read() {
            Ok(usable) => usable,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // It is being deleted.
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        if !*usable {
            return Ok(None);
        }
        let read = || {
            let connection = file::open_to_read(&self.path)?;
            let mut pieces = file::pieces(&connection)?;
            pieces.retain(|piece| piece.stream == stream);
            Ok((connection, pieces))
        };
        let (connection, pieces) = read().map_err(Error::of_index)?;
        Ok(Some(View { connection, pieces, _usable: usable }))
    }
}

impl View<'_> {
    /// Returns the positions whose rows are in no piece, as (first, last).
    pub(crate) fn uncovered(&self) -> Result<Vec<(i64, i64)>, Error> {
        piece::uncovered(&self.pieces).map_err(Error::of_index)
    }

    /// Returns how often each piece was merged.
    #[cfg(test)]
    pub(crate) fn levels(&self) -> Vec<u8> {
        self.pieces.iter().map(|piece| piece.level).collect()
    }

    /// Returns the positions of entries, newest first.
    pub(crate) fn candidates(&self, wanted: Wanted) -> Candidates<'_> {
        let from = wanted.from.clamp(TIME_MIN_MS, TIME_MAX_MS + 1);
        let to = wanted.to.clamp(TIME_MIN_MS, TIME_MAX_MS + 1);
        let wanted = Wanted { from, to, ..wanted };
        let touches = |piece: &&Piece| from < to && piece.times.0 < to && piece.times.1 >= from;
        let sources: Vec<&Piece> = self.pieces.iter().filter(touches).collect();
        let heap = sources
            .iter()
            .enumerate()
            .map(|(number, piece)| (piece.times.1.min(to - 1), i64::MAX, number))
            .collect();
        let runs = sources.iter().map(|_| None).collect();
        Candidates { view: self, wanted, runs, heap, sources, last: None }
    }
}

impl View<'_> {
    /// Hands out the hash and the position of every entry of a kind within the times, whatever its hash.
    pub(crate) fn each_entry(
        &self,
        wanted: Wanted,
        mut take: impl FnMut(u64, i64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let touches = |piece: &&Piece| piece.times.0 < wanted.to && piece.times.1 >= wanted.from;
        for piece in self.pieces.iter().filter(touches) {
            let mut high = END;
            while high > 0 {
                let run = (piece.id, wanted.kind);
                let page = file::page_of(&self.connection, run, high - 1).map_err(Error::of_index)?;
                for entry in page.entries.iter().rev().copied() {
                    if (wanted.from..wanted.to).contains(&time_of(entry)) {
                        let position = piece.position(local_of(entry)).map_err(Error::of_index)?;
                        take(parts(entry).0, position)?;
                    }
                }
                high = page.low;
            }
        }
        Ok(())
    }
}

impl Candidates<'_> {
    /// Returns the next position.
    pub(crate) fn next(&mut self) -> Result<Option<i64>, Error> {
        self.advance().map_err(Error::of_index)
    }

    fn advance(&mut self) -> Result<Option<i64>, Error> {
        while let Some((_, position, number)) = self.heap.pop() {
            let is_open = self.runs[number].is_some();
            let run = match &mut self.runs[number] {
                Some(run) => run,
                closed => closed.insert(Run::open(self.view, self.sources[number], self.wanted)?),
            };
            if let Some(entry) = run.next(self.view, self.wanted.kind)? {
                let position = run.piece.position(local_of(entry))?;
                self.heap.push((time_of(entry), position, number));
            }
            // One position comes out of two pieces only if two processes have worked on one file.
            if is_open && self.last != Some(position) {
                self.last = Some(position);
                return Ok(Some(position));
            }
        }
        Ok(None)
    }
}

impl<'v> Run<'v> {
    fn open(view: &View<'_>, piece: &'v Piece, wanted: Wanted) -> Result<Run<'v>, Error> {
        let upper = pack(wanted.hash, wanted.to - 1, u32::MAX);
        let lower = pack(wanted.hash, wanted.from, 0);
        let page = file::page_of(&view.connection, (piece.id, wanted.kind), upper)?;
        let mut left = page.entries;
        left.truncate(left.partition_point(|entry| *entry <= upper));
        Ok(Run { piece, lower, left, low: page.low })
    }

    fn next(&mut self, view: &View<'_>, kind: Kind) -> Result<Option<Entry>, Error> {
        loop {
            if let Some(entry) = self.left.pop() {
                return Ok(Some(entry).filter(|entry| *entry >= self.lower));
            }
            if self.low <= self.lower {
                return Ok(None);
            }
            let page = file::page_of(&view.connection, (self.piece.id, kind), self.low - 1)?;
            (self.left, self.low) = (page.entries, page.low);
        }
    }
}
