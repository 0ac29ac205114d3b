//! Merges pieces into one, a step at a time: new rows do not wait for a merge, they are sealed between its steps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use rusqlite::Connection;

use super::Sizes;
use super::entry::{END, Entry, KINDS, local_of, moved};
use super::file::{self, RunWriter};
use super::page::Page;
use super::piece::{self, Piece};
use crate::sqlite::error::Error;

/// Pages of one step: some milliseconds.
const PAGES_PER_STEP: usize = 64;

/// A merge under way. What it has written is garbage until the end.
pub(crate) struct Merge {
    sources: Vec<Piece>,
    /// Where the places of each source's ranges begin, and how far they move, ascending.
    shifts: Vec<Vec<(u64, i64)>>,
    target: Piece,
    /// How many runs are finished.
    runs_done: usize,
    cursors: Vec<Cursor>,
    /// The least entry of each cursor that has one, with its number.
    heap: BinaryHeap<Reverse<(Entry, usize)>>,
    /// `None` between two runs.
    writer: Option<RunWriter>,
}

/// Where a merge stands in one run.
struct Cursor {
    page: Page,
    at: usize,
}

/// Returns the oldest pieces that are to be merged, if there are enough of one stream and level.
pub(crate) fn due(pieces: &[Piece], fan_in: usize) -> Option<Vec<Piece>> {
    for first in pieces {
        let alike = pieces.iter().filter(|piece| piece.stream == first.stream && piece.level == first.level);
        let group: Vec<Piece> = alike.take(fan_in).cloned().collect();
        // A place must fit its bits; pieces of rows that lie so far apart stay as they are.
        let span: u64 = target_of(&group, 0).span();
        if group.len() == fan_in && span <= u64::from(u32::MAX) {
            return Some(group);
        }
    }
    None
}

fn target_of(sources: &[Piece], id: i64) -> Piece {
    Piece {
        id,
        stream: sources.first().map(|source| source.stream.clone()).unwrap_or_default(),
        level: sources.iter().map(|source| source.level).max().unwrap_or(0) + 1,
        times: (
            sources.iter().map(|source| source.times.0).min().unwrap_or(i64::MAX),
            sources.iter().map(|source| source.times.1).max().unwrap_or(i64::MIN),
        ),
        ranges: piece::joined(sources.iter().flat_map(|source| source.ranges.iter().copied())),
    }
}

/// Returns where the places of a source's ranges begin and how far they move in the target.
fn shifts_of(source: &Piece, target: &Piece) -> Vec<(u64, i64)> {
    let mut shifts = Vec::with_capacity(source.ranges.len());
    let mut start = 0;
    for range in &source.ranges {
        let mut target_start = 0;
        for wide in &target.ranges {
            if wide.partition == range.partition && (wide.from..wide.to).contains(&range.from) {
                shifts.push((start, (target_start + range.from - wide.from) as i64 - start as i64));
            }
            target_start += wide.to - wide.from;
        }
        start += range.to - range.from;
    }
    shifts
}

impl Merge {
    /// Begins to merge pieces of one stream and level.
    pub(crate) fn begin(index: &Connection, sources: Vec<Piece>, id: i64) -> Result<Merge, Error> {
        let target = target_of(&sources, id);
        file::begin_piece(index, id)?;
        let shifts = sources.iter().map(|source| shifts_of(source, &target)).collect();
        let heap = BinaryHeap::with_capacity(sources.len());
        Ok(Merge { sources, shifts, target, runs_done: 0, cursors: Vec::new(), heap, writer: None })
    }

    /// Goes on for a few milliseconds; returns the merged piece and those in whose place it is, once it is published.
    pub(crate) fn step(
        &mut self,
        index: &mut Connection,
        sizes: Sizes,
    ) -> Result<Option<(Piece, Vec<Piece>)>, Error> {
        let transaction = index.transaction()?;
        let Some(kind) = KINDS.get(self.runs_done) else {
            file::publish(&transaction, &self.target, &self.sources)?;
            transaction.commit()?;
            return Ok(Some((self.target.clone(), std::mem::take(&mut self.sources))));
        };
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                self.open_run(&transaction)?;
                RunWriter::new((self.target.id, *kind), sizes.page_entries)
            }
        };
        let mut pages = 0;
        while pages < PAGES_PER_STEP {
            let Some(mut least) = self.heap.peek_mut() else {
                writer.finish(&transaction)?;
                self.runs_done += 1;
                transaction.commit()?;
                return Ok(None);
            };
            let Reverse((entry, number)) = *least;
            pages += usize::from(writer.push(&transaction, entry)?);
            let run = (self.sources[number].id, *kind);
            match self.cursors[number].next(&transaction, run, &self.shifts[number])? {
                Some(next) => *least = Reverse((next, number)),
                None => drop(PeekMut::pop(least)),
            }
        }
        self.writer = Some(writer);
        transaction.commit()?;
        Ok(None)
    }

    fn open_run(&mut self, index: &Connection) -> Result<(), Error> {
        let kind = KINDS[self.runs_done];
        self.cursors.clear();
        for (number, source) in self.sources.iter().enumerate() {
            let run = (source.id, kind);
            let mut cursor = Cursor { page: file::page_of(index, run, 0)?, at: 0 };
            if let Some(entry) = cursor.next(index, run, &self.shifts[number])? {
                self.heap.push(Reverse((entry, number)));
            }
            self.cursors.push(cursor);
        }
        Ok(())
    }
}

impl Cursor {
    /// Returns the run's next entry, with its place in the target.
    fn next(
        &mut self,
        index: &Connection,
        run: (i64, super::entry::Kind),
        shifts: &[(u64, i64)],
    ) -> Result<Option<Entry>, Error> {
        while self.at == self.page.entries.len() {
            if self.page.high == END {
                return Ok(None);
            }
            *self = Cursor { page: file::page_of(index, run, self.page.high)?, at: 0 };
        }
        let entry = self.page.entries[self.at];
        self.at += 1;
        let local = local_of(entry);
        let after = shifts.partition_point(|(start, _)| *start <= u64::from(local));
        let moved_by = after.checked_sub(1).map_or(0, |at| shifts[at].1);
        let place = u32::try_from(i64::from(local) + moved_by)
            .map_err(|_| Error::index(format!("piece {} has no place {local}", run.0)))?;
        Ok(Some(moved(entry, place)))
    }
}
