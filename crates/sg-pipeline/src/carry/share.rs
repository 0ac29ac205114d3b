//! What one partition of the new side gets, and the flushes that bring it there. A flush that fails is not tried again:
//! it may have been written, and one that covers no record would be written twice.

use std::sync::Arc;

use sg_core::batch::{EventBatch, Times};
use sg_core::definition::Dedup;
use sg_core::flush::{
    DeadLetter, Flush, LateEvent, Ledger, LevelBases, PartitionClock, RawRow, RawRows, Replay, RollupDelta,
};
use sg_core::judge::Judge;
use sg_core::plan::Plan;
use sg_core::ports::{Claim, ErrorKind, FlushOutcome, PortError};
use sg_core::query::{CellRow, StoredDeadLetter, StoredLate};
use sg_core::reason::Code;
use sg_core::time::Timestamp;
use sg_core::timing::Timing;

use super::heads::Found;
use super::{Fault, Old, Target};

/// One partition of the new side.
pub(super) struct Share {
    pub(super) partition: u32,
    pub(super) epoch: i64,
    /// How far back a duplicate is known here.
    window: Dedup,
    /// The offset that flushes have reached.
    written: u64,
    /// The offset behind the last record that was folded before.
    next: u64,
    /// R there.
    r: Timestamp,
    /// Where the duplicate window stands; it begins with the first record of the old one.
    judge: Option<Judge>,
    rollups: Vec<RollupDelta>,
    raw: Vec<RawRows>,
    /// Rows of the batch at hand.
    rows: Vec<RawRow>,
    letters: Vec<DeadLetter>,
    /// Letters that have been replayed.
    replays: Vec<Replay>,
}

impl Share {
    /// Takes a partition that nobody has had.
    pub(super) async fn claim(
        old: &Old,
        target: &Target,
        (partition, of): (u32, u32),
        (identity, start): (&str, u64),
    ) -> Result<Share, Fault> {
        let claim = Claim {
            plan: old.plan.clone(),
            partition,
            owner: target.owner.clone(),
            log_identity: identity.to_owned(),
            start,
        };
        let checkpoint = target.writer.claim(&claim).await?;
        let share = Share {
            partition,
            epoch: checkpoint.epoch,
            window: old.plan.stream.dedup.shared_by(of),
            written: start,
            next: start,
            r: Timestamp::NEVER,
            judge: None,
            rollups: fresh(old),
            raw: Vec::new(),
            rows: Vec::new(),
            letters: Vec::new(),
            replays: Vec::new(),
        };
        if (checkpoint.first_offset, checkpoint.next_offset) != (start, start) {
            return Err(share.taken(&old.plan.name).into());
        }
        Ok(share)
    }

    /// Moves on behind a record that was folded before, as the judge of a server that folded it here would have.
    pub(super) fn pass(&mut self, found: Found, is_in_window: bool) {
        self.next = found.offset + 1;
        self.r = self.r.max(found.appended_at);
        if is_in_window {
            let judge = self.judge.get_or_insert_with(|| Judge::new(self.window, 0, found.offset, self.r));
            judge.advance(found.offset, self.r);
        }
    }

    /// Adds a whole cell of the rollup at a place in the plan.
    pub(super) fn add_cell(&mut self, at: usize, cell: &CellRow) {
        let delta = &mut self.rollups[at];
        delta.folded += cell.events;
        delta.cells.put(cell.pane, &cell.dimensions, (cell.events, cell.late_count), &cell.values);
    }

    /// Adds the moves of levels whose cells are gone, of the rollup at a place in the plan.
    pub(super) fn add_bases(&mut self, at: usize, bases: LevelBases) {
        self.rollups[at].bases.extend(bases);
    }

    /// Adds the raw row of a record of the batch at hand, with its new offset and the old log's time of it.
    pub(super) fn add_row(
        &mut self,
        events: &EventBatch,
        index: usize,
        (offset, appended_at): (u64, Timestamp),
    ) {
        let entry = &events.entries[index];
        let Times { received_at, event_time, .. } = entry.times(appended_at);
        self.rows.push(RawRow { index: index as u32, offset, event_time, received_at });
    }

    /// Says that no more rows of the batch at hand follow.
    pub(super) fn gather(&mut self, events: &Arc<EventBatch>) {
        if !self.rows.is_empty() {
            self.raw.push(RawRows { batch: events.clone(), rows: std::mem::take(&mut self.rows) });
        }
    }

    /// Adds a dead letter at its new place.
    pub(super) fn add_letter(&mut self, letter: &StoredDeadLetter, offset: u64) -> Result<(), PortError> {
        let code = Code::ALL.into_iter().find(|code| code.as_str() == letter.reason).ok_or_else(|| {
            let doing = format!(
                "importing a dead letter of {}: its reason {:?} is not known to this binary: run a newer streamgauge",
                letter.stream, letter.reason
            );
            PortError::new(ErrorKind::Invalid, doing)
        })?;
        if letter.replayed_at.is_some() {
            // The record that stands for it has a new place too, which nothing asks for: it is counted.
            let letter = (self.partition, offset);
            self.replays.push(Replay { offset, letter, is_counted: false });
        }
        self.letters.push(DeadLetter {
            offset,
            code,
            field: letter.field.clone(),
            detail: letter.detail.clone(),
            event_id: letter.event_id.clone(),
            event_type: letter.event_type.clone(),
            received_at: letter.received_at,
            key: None,
            raw: letter.raw.clone(),
            replay_of: None,
        });
        Ok(())
    }

    /// Adds an event that the rollup at a place in the plan diverted.
    pub(super) fn add_late(&mut self, at: usize, late: StoredLate, offset: u64) {
        let delta = &mut self.rollups[at];
        delta.folded += 1;
        delta.late.push(LateEvent {
            offset,
            event_id: late.event_id,
            event_time: late.event_time,
            received_at: late.received_at,
            window_start: late.window_start,
            dimensions: late.dimensions,
            key: None,
            raw: late.raw,
        });
    }

    /// Writes what was added.
    pub(super) async fn flush(
        &mut self,
        old: &Old,
        target: &Target,
        (m, ledger): (Timestamp, Ledger),
    ) -> Result<(), Fault> {
        let marks = |plan: &Arc<Plan>| Flush {
            plan: plan.clone(),
            partition: self.partition,
            epoch: self.epoch,
            base: self.written,
            end: self.next,
            clock: PartitionClock { m, r: self.r },
            dedup_from: self.judge.as_ref().map_or((self.next, self.r), Judge::from),
            ledger: Ledger::default(),
            rollups: Vec::new(),
            raw: Vec::new(),
            dead_letters: Vec::new(),
            replays: Vec::new(),
            timing: Timing::default(),
        };
        let (raw, dead_letters) = (std::mem::take(&mut self.raw), std::mem::take(&mut self.letters));
        let replays = std::mem::take(&mut self.replays);
        let rollups = std::mem::replace(&mut self.rollups, fresh(old));
        self.write(Flush { ledger, rollups, dead_letters, replays, ..marks(&old.plan) }, target).await?;
        if !raw.is_empty() {
            self.write(Flush { base: self.next, raw, ..marks(&old.raw_plan) }, target).await?;
        }
        self.written = self.next;
        Ok(())
    }

    async fn write(&self, flush: Flush, target: &Target) -> Result<(), Fault> {
        let stream = flush.plan.name.clone();
        match target.writer.flush(Arc::new(flush)).await? {
            FlushOutcome::Done => Ok(()),
            // Nothing that is brought is a record to be counted.
            FlushOutcome::Missed { .. } | FlushOutcome::Repeated { .. } => Err(self.taken(&stream).into()),
            FlushOutcome::Refused { detail } => {
                let doing =
                    format!("importing {stream}: the new store cannot hold what the old one holds: {detail}");
                Err(PortError::new(ErrorKind::Invalid, doing).into())
            }
        }
    }

    /// Returns the fault of a partition that somebody else works on.
    pub(super) fn taken(&self, stream: &str) -> PortError {
        let doing = format!(
            "importing partition {} of {stream}: another process works on it; stop all servers of the new side",
            self.partition
        );
        PortError::new(ErrorKind::Invalid, doing)
    }
}

fn fresh(old: &Old) -> Vec<RollupDelta> {
    old.plan.rollups.iter().map(|_| RollupDelta::default()).collect()
}
