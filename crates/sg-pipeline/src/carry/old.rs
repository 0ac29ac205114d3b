//! The old side: whether its log, its store and the configuration belong together, and its records in order. Reads
//! only.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use sg_core::batch::{EventBatch, LogBatch};
use sg_core::definition::LatePolicy;
use sg_core::plan::Plan;
use sg_core::ports::{
    Extent, LogReader, PartitionStatus, PortError, RollupStatus, StatusDetail, StoreStatus,
};
use sg_core::query::{DeadLetterQuery, EventScan, StoredDeadLetter};
use sg_core::time::Timestamp;

use super::forerunners::Forerunners;
use super::late::{LateRows, Shelf};
use super::{Doing, Fault, Source, Tell};

/// Rows of raw events that are looked at in one question: some hundred MiB at the very worst.
const ROWS_MAX: usize = 500;
/// Bytes read of the log at once.
const READ_BYTES_MAX: usize = 4 << 20;

/// What the old side holds.
pub struct Looked {
    /// One for each plan, in their order.
    pub streams: Vec<Old>,
    /// What is not configured and stays where it is, a sentence each.
    pub left_behind: Vec<String>,
}

/// What the old side holds of one stream.
pub struct Old {
    pub(super) source: Source,
    pub(super) plan: Arc<Plan>,
    /// The same stream without rollups: its rows are read back whatever the rollups make of them.
    pub(super) raw_plan: Arc<Plan>,
    pub(super) extent: Extent,
    /// Where folding stands; `None` when it never began.
    pub(super) known: Option<PartitionStatus>,
    pub(super) watermark: Timestamp,
    /// One for each rollup of the plan, in its order; none when folding never began.
    rollups: Vec<RollupStatus>,
    /// The records that have a raw row.
    pub(super) counted: Counted,
    /// Rows of raw events in all.
    raw_rows: u64,
    /// Dead letters, ascending by offset.
    pub(super) letters: Vec<StoredDeadLetter>,
    /// One for each rollup of the plan.
    late: Vec<Shelf>,
}

/// Looks at the old side. Changes nothing.
///
/// # Errors
/// [`Fault::Refused`] when log, store and configuration do not belong together, with the remedy.
pub async fn look(source: &Source, plans: &[Arc<Plan>], tell: Tell<'_>) -> Result<Looked, Fault> {
    let status = source.store.status(StatusDetail::Marks).await?;
    let mut streams = Vec::new();
    for plan in plans {
        streams.push(Old::look(source, plan, &status, tell).await?);
    }
    let mut left_behind = Vec::new();
    let others =
        status.partitions.iter().filter(|known| plans.iter().all(|plan| *plan.name != *known.stream));
    left_behind.extend(others.map(|known| format!("the stream {} is not configured", known.stream)));
    let is_planned =
        |name: &str| plans.iter().flat_map(|plan| &plan.rollups).any(|planned| planned.rollup.name == name);
    let others = status.rollups.iter().filter(|rollup| !is_planned(&rollup.name));
    left_behind.extend(others.map(|rollup| format!("the rollup {} is not configured", rollup.name)));
    Ok(Looked { streams, left_behind })
}

impl Old {
    async fn look(
        source: &Source,
        plan: &Arc<Plan>,
        status: &StoreStatus,
        tell: Tell<'_>,
    ) -> Result<Old, Fault> {
        let stream = &*plan.name;
        let extent = source.log.extent(stream, 0).await?;
        let identity = source.log.identity(stream).await?;
        let known = known(stream, status, (&identity, extent))?;
        let rollups = if known.is_some() { rollups(plan, status)? } else { Vec::new() };
        let is_stream = |of: &&(String, Timestamp)| of.0 == stream;
        let mut old = Old {
            source: source.clone(),
            plan: plan.clone(),
            raw_plan: Arc::new(Plan::new(plan.stream.clone(), &[])),
            extent,
            watermark: status.watermarks.iter().find(is_stream).map_or(Timestamp::NEVER, |(_, at)| *at),
            rollups,
            counted: Counted::over(
                extent.start..known.as_ref().map_or(extent.start, |known| known.next_offset),
            ),
            raw_rows: 0,
            known,
            letters: Vec::new(),
            late: Vec::new(),
        };
        if old.known.is_none() {
            return Ok(old);
        }
        let query =
            DeadLetterQuery { stream: Some(stream.to_owned()), limit: usize::MAX, ..Default::default() };
        old.letters = source.store.dead_letters(&query).await?;
        old.letters.sort_by_key(|letter| letter.offset);
        for planned in &plan.rollups {
            old.late.push(match planned.rollup.late {
                LatePolicy::Divert => Shelf::look(&*source.store, &planned.rollup.name).await?,
                LatePolicy::Correct => Shelf::default(),
            });
        }
        if plan.raw.is_some() {
            old.look_at_rows(tell).await?;
        }
        Ok(old)
    }

    /// Notes which records have a raw row: what was a duplicate has none, and its first copy may be gone.
    async fn look_at_rows(&mut self, tell: Tell<'_>) -> Result<(), PortError> {
        let mut from = 0;
        loop {
            let scan = EventScan {
                stream: self.plan.name.to_string(),
                partition: 0,
                from,
                to: self.next_offset(),
                times: Timestamp::ALWAYS,
                limit: ROWS_MAX,
            };
            let page = self.source.store.scan_events(&scan).await?;
            self.raw_rows += page.len() as u64;
            page.iter().for_each(|row| self.counted.insert(row.offset));
            tell(&self.plan.name, Doing::Looking, self.raw_rows);
            match page.last().filter(|_| page.len() == ROWS_MAX) {
                Some(last) => from = last.offset + 1,
                None => return Ok(()),
            }
        }
    }

    /// Returns the first offset that was not folded.
    pub(super) fn next_offset(&self) -> u64 {
        self.known.as_ref().map_or(self.extent.start, |known| known.next_offset)
    }

    /// Returns the first offset of the duplicate window.
    pub(super) fn window_from(&self) -> u64 {
        self.known.as_ref().map_or(self.extent.start, |known| known.dedup_from.0)
    }

    /// Returns the diverted events of every rollup of the plan, from the oldest on.
    pub(super) fn late_rows(&self) -> Vec<LateRows> {
        self.late.iter().map(|shelf| shelf.rows(self.source.store.clone())).collect()
    }

    /// Returns all records before an offset, from those that are made again on.
    pub(super) async fn records(&self, until: u64) -> Result<Records<'_>, PortError> {
        let from = self.extent.start;
        let reader = self.source.log.open(&self.plan.name, 0, from).await?;
        Ok(Records {
            forerunners: Forerunners::of(self),
            is_again: true,
            reader,
            range: from..until,
            lost: VecDeque::new(),
            waiting: Vec::new(),
        })
    }

    /// Returns a piece's events with the fields of raw rows read, where it has such rows.
    pub(super) fn readable(&self, piece: &Piece) -> Arc<EventBatch> {
        let has_row = |index: usize| self.counted.contains(piece.batch.place(index).0);
        if !piece.range.clone().any(has_row) {
            return piece.batch.events.clone();
        }
        let mut copy = EventBatch::clone(&piece.batch.events);
        // What stands there was read for the whole plan.
        copy.fields = None;
        self.raw_plan.read_back(&mut copy);
        Arc::new(copy)
    }

    /// Says what of the stream cannot come along.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if self.window_from() < self.extent.start {
            let (from, start) = (self.window_from(), self.extent.start);
            sentences.push(format!(
                "the duplicate window from offset {from} to {start}, which the old log has lost: what comes again from \
                 there is counted again"
            ));
        }
        let skipped = self.known.as_ref().map_or(0, |known| known.ledger.skipped);
        if skipped > 0 {
            sentences.push(format!("the records of {skipped} offsets, which the old log had lost to damage"));
        }
        let rows_gone = self.raw_rows - self.counted.len();
        if rows_gone > 0 {
            sentences.push(format!("{rows_gone} raw rows of records that the old log no longer holds"));
        }
        for (rollup, shelf) in self.rollups.iter().zip(&self.late) {
            let name = &rollup.name;
            if rollup.removed_before > Timestamp::NEVER {
                let (before, removed) = (rollup.removed_before, rollup.removed);
                sentences.push(format!(
                    "{name}: that retention has removed windows before {before}, with {removed} events: they are in the \
                     new ledger no more, and what still comes for them makes a cell"
                ));
            }
            if let Some(from) = rollup.complete_from {
                sentences.push(format!("{name}: that its windows are complete from {from} on only"));
            }
            let lane_gone = rollup.diverted.saturating_sub(shelf.total);
            if lane_gone > 0 {
                sentences.push(format!(
                    "{name}: {lane_gone} diverted events that the old late lane no longer holds"
                ));
            }
            let others = rollup.expired + rollup.unfit + rollup.deleted;
            if others > 0 {
                sentences.push(format!("{name}: {others} expired, unfit or deleted events of its ledger"));
            }
        }
        sentences
    }
}

/// Returns where folding stands, if that fits the log.
fn known(
    stream: &str,
    status: &StoreStatus,
    (identity, extent): (&str, Extent),
) -> Result<Option<PartitionStatus>, Fault> {
    let refuse = |why: String| {
        let remedy = "bring back the log that belongs to this store, or start the old server once more with `serve \
                      --salvage` if the log has lost its end";
        Err(Fault::Refused(format!("importing {stream}: {why}; {remedy}")))
    };
    let mut rows = status.partitions.iter().filter(|known| known.stream == stream);
    let Some(known) = rows.next() else { return Ok(None) };
    if known.partition != 0 || rows.next().is_some() {
        return refuse("the old store counts several partitions, which an embedded log has not".to_owned());
    }
    if known.log_identity != identity {
        return refuse(format!(
            "the old store counts the log {:?}, this one is {identity:?}",
            known.log_identity
        ));
    }
    if !(extent.start..=extent.end).contains(&known.next_offset) {
        let (start, end, at) = (extent.start, extent.end, known.next_offset);
        return refuse(format!("the old store stands at offset {at}, the log holds {start} to {end} only"));
    }
    Ok(Some(known.clone()))
}

/// Returns the rollups of a plan as the old store counts them, if it counts them by the same definitions.
fn rollups(plan: &Plan, status: &StoreStatus) -> Result<Vec<RollupStatus>, Fault> {
    let mut found = Vec::new();
    for planned in &plan.rollups {
        let name = &planned.rollup.name;
        match status.rollups.iter().find(|known| known.name == *name) {
            Some(known) if known.definition == planned.rollup.hash() => found.push(known.clone()),
            Some(_) => {
                return Err(Fault::Refused(format!(
                    "importing {}: the rollup {name} was counted under another definition: import with the \
                     configuration of the old server, and change it afterwards",
                    plan.name
                )));
            }
            None => {
                return Err(Fault::Refused(format!(
                    "importing {}: the old server does not count the rollup {name}: import without it, and add it \
                     afterwards",
                    plan.name
                )));
            }
        }
    }
    Ok(found)
}

/// The old records in order; where the log has lost some, those that are made again.
pub(super) struct Records<'a> {
    forerunners: Forerunners<'a>,
    /// Whether more of those may be next.
    is_again: bool,
    reader: Box<dyn LogReader>,
    range: Range<u64>,
    /// Offsets whose records the log has lost.
    lost: VecDeque<Range<u64>>,
    /// Read already, the next one last.
    waiting: Vec<LogBatch>,
}

/// Some old records.
pub(super) struct Piece {
    pub(super) batch: LogBatch,
    /// Those of the batch that count: it may reach beyond what was asked for.
    pub(super) range: Range<usize>,
    /// Whether they were made again.
    pub(super) is_again: bool,
}

impl Records<'_> {
    /// Returns the next records; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, PortError> {
        loop {
            if self.is_again {
                if let Some(batch) = self.forerunners.next().await? {
                    return Ok(Some(Piece { range: 0..batch.events.len(), batch, is_again: true }));
                }
                self.is_again = false;
            }
            while self.waiting.is_empty() && self.reader.passed() < self.range.end {
                self.waiting = self.reader.next(READ_BYTES_MAX, Duration::ZERO).await?;
                self.waiting.reverse();
                self.lost.extend(self.reader.lost());
            }
            let (next, end) = (self.waiting.last().map(|batch| batch.first_offset), self.range.end);
            let is_next = |lost: &&Range<u64>| lost.start < end && next.is_none_or(|next| lost.end <= next);
            let Some(lost) = self.lost.front().filter(is_next).cloned() else { break };
            self.lost.pop_front();
            self.forerunners.turn_to(lost.start..lost.end.min(end)).await?;
            self.is_again = true;
        }
        let Some(batch) = self.waiting.pop() else { return Ok(None) };
        let is_before =
            |offset: u64| (0..batch.events.len()).take_while(|at| batch.place(*at).0 < offset).count();
        let range = is_before(self.range.start)..is_before(self.range.end);
        Ok(Some(Piece { batch, range, is_again: false }))
    }
}

/// A set of offsets: one bit for each record that the log holds.
#[derive(Debug)]
pub(super) struct Counted {
    range: Range<u64>,
    bits: Vec<u64>,
}

impl Counted {
    fn over(range: Range<u64>) -> Counted {
        let words = (range.end - range.start).div_ceil(64);
        Counted { bits: vec![0; usize::try_from(words).unwrap_or(usize::MAX)], range }
    }

    fn place(&self, offset: u64) -> Option<(usize, u64)> {
        let at = offset - self.range.contains(&offset).then_some(self.range.start)?;
        Some((usize::try_from(at / 64).ok()?, 1 << (at % 64)))
    }

    fn insert(&mut self, offset: u64) {
        if let Some((word, bit)) = self.place(offset) {
            self.bits[word] |= bit;
        }
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> u64 {
        self.bits.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Returns whether an offset is in the set.
    pub(super) fn contains(&self, offset: u64) -> bool {
        self.place(offset).is_some_and(|(word, bit)| self.bits[word] & bit != 0)
    }
}
