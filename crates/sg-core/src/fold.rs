//! The heart: gives every record of a partition its fate and its cells. Pure: no clock, no I/O, and no state
//! that is not a function of the checkpoint and the records since.

mod again;
mod alone;
mod lost;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::batch::{EventBatch, Fields, LogBatch, MISSING, Span, Times};
use crate::cell::{Given, Value, push_dimension};
use crate::definition::LatePolicy;
use crate::event::Canonical;
use crate::flush::{
    Checkpoint, DeadLetter, Flush, LateEvent, Ledger, PartitionClock, RawRow, RawRows, Replay, RollupDelta,
};
use crate::judge::{Fingerprint, Judge, Verdict};
use crate::plan::{Filter, Plan, Takes};
use crate::reason::{Code, Refusal};
use crate::time::Timestamp;
use crate::timing::Timing;
use crate::window;

use again::{Again, Place};
pub use again::{Beginning, Fates, Stretch, Tally, complete_after};
pub use alone::{Wanted, gifts, plan_of};
use lost::Lost;

/// Folds the records of one partition, from a checkpoint on, into what the next flush writes.
#[derive(Debug)]
pub struct Fold {
    plan: Arc<Plan>,
    partition: u32,
    epoch: i64,
    judge: Judge,
    clock: PartitionClock,
    base: u64,
    next_offset: u64,
    ledger: Ledger,
    lost: Lost,
    rollups: Vec<RollupDelta>,
    raw: Vec<RawRows>,
    /// Memory of the batches that `raw` holds, and of the events that late ones and dead letters hold.
    raw_bytes: usize,
    dead_letters: Vec<DeadLetter>,
    /// Records that the store refused: they become dead letters instead.
    refused_by_store: BTreeMap<u64, Refusal>,
    replays: Vec<Replay>,
    /// Replays of letters that others have replayed already: they are duplicates, however far back the others lie.
    repeated: BTreeSet<u64>,
    timing: Timing,
    /// The rollup with the shortest windows.
    shortest: Option<usize>,
    /// Set when records are folded again.
    again: Option<Box<Again>>,
    scratch: Scratch,
}

/// Buffers that live from batch to batch.
#[derive(Debug, Default)]
struct Scratch {
    fingerprints: Vec<Fingerprint>,
    key: Vec<u8>,
    /// Each rollup's values of no events.
    empty: Vec<Vec<Value>>,
}

/// Memory of a dead letter or late event beside the event itself, about.
const LETTER_OVERHEAD_BYTES: usize = 256;
/// Records whose cache misses are taken together.
const TOUCH_AHEAD: usize = 64;

/// One record as the fold sees it.
struct Record<'a> {
    batch: &'a EventBatch,
    fields: &'a Fields,
    index: usize,
    offset: u64,
    event_time: Timestamp,
    received_at: Timestamp,
}

impl Fold {
    /// Resumes at a checkpoint. The judge is empty until [`Fold::remember`] has seen the duplicate window again.
    /// `partitions` is how many the stream has: they share its duplicate window's records.
    pub fn resume(
        plan: Arc<Plan>,
        (partition, partitions): (u32, u32),
        checkpoint: &Checkpoint,
        seed: u64,
    ) -> Fold {
        let (from, r_at_from) = checkpoint.dedup_from;
        // Invariant: the window begins no later than the records to be judged.
        let from = from.min(checkpoint.next_offset);
        let empty = plan
            .rollups
            .iter()
            .map(|planned| planned.measures.iter().map(|measure| Value::empty(&measure.function)).collect());
        Fold {
            partition,
            epoch: checkpoint.epoch,
            judge: Judge::new(plan.stream.dedup.shared_by(partitions), seed, from, r_at_from),
            clock: checkpoint.clock,
            base: checkpoint.next_offset,
            next_offset: checkpoint.next_offset,
            ledger: Ledger::default(),
            lost: Lost::from(checkpoint.next_offset),
            rollups: plan.rollups.iter().map(|_| RollupDelta::default()).collect(),
            raw: Vec::new(),
            raw_bytes: 0,
            dead_letters: Vec::new(),
            refused_by_store: BTreeMap::new(),
            replays: Vec::new(),
            repeated: BTreeSet::new(),
            timing: Timing::default(),
            shortest: (0..plan.rollups.len()).min_by_key(|at| plan.rollups[*at].rollup.window_ms),
            again: None,
            scratch: Scratch { empty: empty.collect(), ..Scratch::default() },
            plan,
        }
    }

    /// Marks a record that the store refused as bad data; it becomes a dead letter when it is folded.
    pub fn refuse(&mut self, offset: u64, refusal: Refusal) {
        self.refused_by_store.insert(offset, refusal);
    }

    /// Marks a replay of a letter that the store has counted before; it becomes a duplicate when it is folded.
    pub fn repeat(&mut self, offset: u64) {
        self.repeated.insert(offset);
    }

    /// Shows the judge records of the duplicate window that were folded before the checkpoint, without counting them.
    /// `dead` are the offsets of dead letters among them, ascending. Returns the R reached.
    pub fn remember(&mut self, batch: &LogBatch, dead: &[u64], r_before: Timestamp) -> Timestamp {
        let mut r = r_before;
        for index in 0..batch.events.len() {
            let (offset, appended_at) = batch.place(index);
            if offset >= self.next_offset {
                break;
            }
            // A reader may begin inside a batch.
            if offset < self.judge.from().0 {
                continue;
            }
            r = r.max(appended_at);
            self.judge.advance(offset, r);
            if dead.binary_search(&offset).is_err() {
                let entry = &batch.events.entries[index];
                let fingerprint = self.judge.fingerprint(entry.key_hash, batch.events.bytes(entry.id));
                self.judge.judge(fingerprint, entry.content, offset);
            }
        }
        r
    }

    /// Folds a batch's records up to the offset `until`. Records before the fold's next offset are passed over:
    /// a reader may begin inside a batch.
    pub fn batch(&mut self, batch: &LogBatch, until: u64) {
        let place_of = |wanted: u64| (0..batch.events.len()).find(|index| batch.place(*index).0 >= wanted);
        let Some(first) = place_of(self.next_offset) else { return };
        let stop = if until < batch.next_offset() {
            place_of(until).unwrap_or(batch.events.len())
        } else {
            batch.events.len()
        };
        let read_back;
        let events: &Arc<EventBatch> = if self.again.is_some() {
            read_back = self.read_again(batch);
            &read_back
        } else if batch.events.fields.is_some() {
            &batch.events
        } else {
            let mut copy = EventBatch::clone(&batch.events);
            self.plan.read_back(&mut copy);
            read_back = Arc::new(copy);
            &read_back
        };
        let Some(fields) = &events.fields else { return };
        let mut raw = Vec::new();
        let mut start = first;
        while start < stop {
            let end = stop.min(start + TOUCH_AHEAD);
            self.touch(events, start..end);
            for index in start..end {
                let fingerprint = self.scratch.fingerprints[index - start];
                if let Some(row) = self.record(batch, events, fields, (index, fingerprint)) {
                    raw.push(row);
                }
            }
            start = end;
        }
        self.next_offset = batch.next_offset().min(until).max(self.next_offset);
        if self.plan.raw.is_some() && !raw.is_empty() {
            self.raw_bytes += events.memory();
            self.raw.push(RawRows { batch: events.clone(), rows: raw });
        }
    }

    fn touch(&mut self, events: &EventBatch, range: Range<usize>) {
        self.scratch.fingerprints.clear();
        for entry in &events.entries[range] {
            self.scratch.fingerprints.push(self.judge.fingerprint(entry.key_hash, events.bytes(entry.id)));
        }
        self.judge.touch(&self.scratch.fingerprints);
    }

    /// Gives one record its fate; returns its row for the raw table when it is counted.
    fn record(
        &mut self,
        place: &LogBatch,
        events: &EventBatch,
        fields: &Fields,
        (index, fingerprint): (usize, Fingerprint),
    ) -> Option<RawRow> {
        let (offset, appended_at) = place.place(index);
        let entry = &events.entries[index];
        let Times { received_at, arrived_at: arrived, event_time } = entry.times(appended_at);
        let record = Record { batch: events, fields, index, offset, event_time, received_at };
        self.ledger.processed += 1;
        self.clock.r = self.clock.r.max(appended_at);
        self.judge.advance(offset, self.clock.r);

        if self.again.is_some() {
            let is_counted = self.record_again(&record, arrived, fingerprint)?;
            let keeps = is_counted && self.plan.raw.is_some();
            return keeps.then_some(RawRow { index: index as u32, offset, event_time, received_at });
        }
        self.timing.arrived(received_at);
        if event_time > arrived.plus(self.plan.stream.max_future) {
            let detail = format!("{event_time} lies ahead of the time of arrival, {arrived}");
            let name = self.plan.name_of(Canonical::Timestamp).to_owned();
            self.dead_letter(&record, &Refusal::new(Code::FutureTimestamp, name, detail));
            return None;
        }
        let refusal = events.refusal(index).or_else(|| self.refused_by_store.get(&offset)).cloned();
        if refusal.as_ref().is_none_or(|refusal| is_readable(refusal.code)) {
            self.clock.m = self.clock.m.max(event_time.min(arrived));
        }
        if let Some(refusal) = refusal {
            self.dead_letter(&record, &refusal);
            return None;
        }
        let verdict = match self.judge.judge(fingerprint, entry.content, offset) {
            Verdict::New if self.repeated.contains(&offset) => Verdict::Duplicate { conflict: false },
            verdict => verdict,
        };
        if let Some(letter) = events.replay_of(index) {
            self.replays.push(Replay { offset, letter, is_counted: verdict == Verdict::New });
        }
        if let Verdict::Duplicate { conflict } = verdict {
            self.ledger.duplicate += 1;
            self.ledger.id_conflict += u64::from(conflict);
            return None;
        }
        self.ledger.counted += 1;
        for at in 0..self.rollups.len() {
            self.feed(at, &record);
        }
        Some(RawRow { index: index as u32, offset, event_time, received_at })
    }

    fn feed(&mut self, at: usize, record: &Record<'_>) {
        let planned = &self.plan.rollups[at];
        let rollup = &planned.rollup;
        let delta = &mut self.rollups[at];
        let end = window::end_of(record.event_time, rollup.window_ms);
        let is_late = window::is_late(self.clock.m, end, rollup.grace_ms);
        delta.folded += 1;
        if self.shortest == Some(at) {
            self.timing.lateness.add(self.clock.m.0.saturating_sub(end.0), 1);
        }
        let row = &record.fields.texts[record.index * self.plan.text_slots()..];
        if is_late && rollup.late == LatePolicy::Divert {
            if let Some(again) = &mut self.again {
                again.tally.diverted += 1;
                return;
            }
            self.raw_bytes += LETTER_OVERHEAD_BYTES + record.batch.entries[record.index].raw.len();
            delta.late.push(record.late_event(&self.plan, at, Timestamp(end.0 - rollup.window_ms), row));
            return;
        }
        let start = Timestamp(end.0 - rollup.window_ms);
        let place = self.again.as_mut().map_or(Place::Cell, |again| again.place(start, end));
        if place == Place::Nowhere || (place == Place::Base && !rollup.has_levels()) {
            return;
        }
        let key = &mut self.scratch.key;
        key.clear();
        for slot in &planned.dimensions {
            push_dimension(key, record.batch.bytes(row[*slot]));
        }
        let pane = window::start_of(record.event_time, rollup.pane_ms);
        let (pane, cells) = match &mut self.again {
            Some(again) if !again.wants(pane, key) => return,
            Some(again) if place == Place::Base => (Timestamp::NEVER, &mut again.bases),
            _ => (pane, &mut delta.cells),
        };
        let values = cells.add(pane, key, is_late, &self.scratch.empty[at]);
        let numbers = &record.fields.numbers[record.index * self.plan.number_slots()..];
        let mut grown = 0;
        for (value, measure) in values.iter_mut().zip(&planned.measures) {
            let is_kept = place == Place::Cell || matches!(value, Value::Level(_));
            if !is_kept || !meets(&measure.filter, record.batch, row) {
                continue;
            }
            let before = value.memory();
            value.add(given(&measure.takes, record.batch, row, numbers));
            grown += value.memory().saturating_sub(before);
        }
        if grown > 0 {
            cells.grown(grown);
        }
    }

    fn dead_letter(&mut self, record: &Record<'_>, refusal: &Refusal) {
        let entry = &record.batch.entries[record.index];
        self.ledger.dead_lettered += 1;
        self.raw_bytes += LETTER_OVERHEAD_BYTES + entry.raw.len() + refusal.detail.len();
        self.dead_letters.push(DeadLetter {
            offset: record.offset,
            code: refusal.code,
            field: refusal.field.clone(),
            detail: refusal.detail.clone(),
            event_id: record.batch.text(entry.id).to_owned(),
            event_type: record.batch.text(entry.kind).to_owned(),
            received_at: record.received_at,
            key: record.key(&self.plan),
            raw: record.batch.bytes(entry.raw).to_vec(),
            replay_of: record.batch.replay_of(record.index),
        });
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns the number of records since the last flush.
    pub fn pending(&self) -> u64 {
        self.ledger.processed
    }

    /// Returns the epoch of the claim under which this fold works.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Returns about how many bytes the next flush holds in memory.
    pub fn pending_bytes(&self) -> usize {
        let cells: usize = self.rollups.iter().map(|delta| delta.cells.memory()).sum();
        self.raw_bytes + cells
    }

    /// Returns the offset at which the next flush begins.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Moves on behind holes of the log: no record before `offset` is left to come.
    pub fn pass_to(&mut self, offset: u64) {
        self.next_offset = self.next_offset.max(offset);
    }

    /// Takes note of offsets whose records the log has lost, ascending: they count as skipped once the fold is past them.
    /// What is told twice, as by a reader that is opened again, counts once.
    pub fn lose(&mut self, offsets: Range<u64>) {
        self.lost.add(offsets);
    }

    /// Returns how many of the offsets since the last flush were skipped, since the log has lost their records.
    pub fn skipped(&self) -> u64 {
        self.lost.count(self.base..self.next_offset)
    }

    /// Returns the offset after the last record folded.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Returns how many bytes the duplicate window takes.
    pub fn judge_memory(&self) -> usize {
        self.judge.memory()
    }

    /// Returns the first offset of the duplicate window, and R there.
    pub fn dedup_from(&self) -> (u64, Timestamp) {
        self.judge.from()
    }

    /// Moves the duplicate window of a quiet partition on to the log's own time.
    pub fn pass_time(&mut self, log_time: Timestamp) {
        self.judge.pass_time(self.next_offset, log_time);
    }

    /// Takes what has been folded since the last call; `None` when that is nothing.
    pub fn take(&mut self) -> Option<Flush> {
        if self.next_offset == self.base {
            return None;
        }
        let fresh = self.plan.rollups.iter().map(|_| RollupDelta::default()).collect();
        let ledger = Ledger { skipped: self.skipped(), ..std::mem::take(&mut self.ledger) };
        self.lost.forget(self.next_offset);
        let flush = Flush {
            plan: self.plan.clone(),
            partition: self.partition,
            epoch: self.epoch,
            base: self.base,
            end: self.next_offset,
            clock: self.clock,
            dedup_from: self.judge.from(),
            ledger,
            rollups: std::mem::replace(&mut self.rollups, fresh),
            raw: std::mem::take(&mut self.raw),
            dead_letters: std::mem::take(&mut self.dead_letters),
            replays: std::mem::take(&mut self.replays),
            timing: std::mem::take(&mut self.timing),
        };
        self.base = self.next_offset;
        self.raw_bytes = 0;
        Some(flush)
    }
}

impl Record<'_> {
    /// Returns the key that the record has in a log that places records by it.
    fn key(&self, plan: &Plan) -> Option<Vec<u8>> {
        let entry = &self.batch.entries[self.index];
        if !entry.key.is_none() {
            return Some(self.batch.bytes(entry.key).to_vec());
        }
        // A log does not keep the key of what a door accepted, but it follows from the event.
        entry.received_at?;
        Some(plan.key_of(self.batch.text(entry.raw), self.batch.text(entry.id)).into_bytes())
    }

    fn late_event(&self, plan: &Plan, rollup: usize, window_start: Timestamp, row: &[Span]) -> LateEvent {
        let entry = &self.batch.entries[self.index];
        let planned = &plan.rollups[rollup];
        LateEvent {
            offset: self.offset,
            event_id: self.batch.text(entry.id).to_owned(),
            event_time: self.event_time,
            received_at: self.received_at,
            window_start,
            dimensions: planned
                .dimensions
                .iter()
                .map(|slot| self.batch.text(row[*slot]).to_owned())
                .collect(),
            key: self.key(plan),
            raw: self.batch.bytes(entry.raw).to_vec(),
        }
    }
}

fn meets(filter: &Filter, batch: &EventBatch, row: &[Span]) -> bool {
    filter.iter().all(|(slot, wanted)| {
        let text = batch.bytes(row[*slot]);
        wanted.iter().any(|value| value == text)
    })
}

/// Returns what a record gives a measure.
fn given<'b>(takes: &Takes, batch: &'b EventBatch, row: &[Span], numbers: &[i128]) -> Given<'b> {
    match takes {
        Takes::Event => Given::Event,
        Takes::Number(slot) if numbers[*slot] == MISSING => Given::Event,
        Takes::Number(slot) => Given::Number(numbers[*slot]),
        Takes::Text(slot) if row[*slot].is_none() => Given::Event,
        Takes::Text(slot) => Given::Text(batch.text(row[*slot])),
        Takes::Step { up, down } => {
            Given::Step(i64::from(meets(up, batch, row)) - i64::from(meets(down, batch, row)))
        }
    }
}

/// Returns whether a refused record could still be parsed, so that its time moves the partition's clock.
fn is_readable(code: Code) -> bool {
    !matches!(code, Code::InvalidJson | Code::NotAnObject | Code::BadTimestamp | Code::TimestampOutOfRange)
}

#[cfg(test)]
mod tests;
