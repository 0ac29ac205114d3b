//! Records of dead letters and late events that the old log no longer holds, made again from what the old store kept
//! of them: so they have a place in the new log, where they were in the old one, and can be listed, shown and sent again.

use std::ops::Range;

use sg_core::batch::{EventBatch, LogBatch, Span, key_hash};
use sg_core::plan::Plan;
use sg_core::ports::PortError;
use sg_core::query::StoredDeadLetter;
use sg_core::time::Timestamp;

use super::Old;
use super::late::LateRows;

/// Records of one batch: some hundred MiB at the very worst.
const RECORDS_MAX: usize = 500;

/// The records in the order of their old offsets.
pub(super) struct Forerunners<'a> {
    plan: &'a Plan,
    /// The next offset that the log holds.
    until: u64,
    letters: &'a [StoredDeadLetter],
    late: Vec<LateRows>,
}

/// What the old store kept of a record.
struct Kept {
    offset: u64,
    id: String,
    /// `None` where it was not kept: it is read from the event again.
    kind: Option<String>,
    /// When it happened, if that was decided.
    event_time: Option<Timestamp>,
    received_at: Timestamp,
    raw: Vec<u8>,
}

impl Forerunners<'_> {
    pub(super) fn of(old: &Old) -> Forerunners<'_> {
        Forerunners { plan: &old.plan, until: old.extent.start, letters: &old.letters, late: old.late_rows() }
    }

    /// Goes on with those of later offsets, which the log has lost: what is left before is the log's own.
    pub(super) async fn turn_to(&mut self, lost: Range<u64>) -> Result<(), PortError> {
        let held = self.letters.partition_point(|letter| letter.offset < lost.start);
        self.letters = &self.letters[held..];
        for rows in &mut self.late {
            while let Some(offset) = rows.peek().await?.map(|late| late.offset).filter(|at| *at < lost.start)
            {
                rows.take(offset).await?;
            }
        }
        self.until = lost.end;
        Ok(())
    }

    /// Returns the next records, at their old offsets; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<LogBatch>, PortError> {
        let mut batch = EventBatch::new(self.plan.name.clone(), Vec::new().into());
        let mut places = Vec::new();
        while places.len() < RECORDS_MAX
            && let Some(kept) = self.kept().await?
        {
            places.push((kept.offset, kept.received_at));
            add(self.plan, &kept, &mut batch);
        }
        let Some((first_offset, appended_at)) = places.first().copied() else { return Ok(None) };
        (batch.fields, batch.refused) = (None, Vec::new());
        Ok(Some(LogBatch { events: batch.into(), first_offset, appended_at, places: Some(places) }))
    }

    async fn kept(&mut self) -> Result<Option<Kept>, PortError> {
        let until = self.until;
        let mut least = self.letters.first().map(|letter| letter.offset).filter(|offset| *offset < until);
        for rows in &mut self.late {
            let offset = rows.peek().await?.map(|late| late.offset).filter(|offset| *offset < until);
            least = least.into_iter().chain(offset).min();
        }
        let Some(offset) = least else { return Ok(None) };
        let mut kept = None;
        if let Some((letter, rest)) = self.letters.split_first().filter(|(letter, _)| letter.offset == offset)
        {
            self.letters = rest;
            kept = Some(Kept {
                offset,
                id: letter.event_id.clone(),
                kind: Some(letter.event_type.clone()),
                event_time: None,
                received_at: letter.received_at,
                raw: letter.raw.clone(),
            });
        }
        for rows in &mut self.late {
            // An event that several rollups diverted is one record.
            if let Some(late) = rows.take(offset).await? {
                kept = Some(Kept {
                    offset,
                    id: late.event_id,
                    kind: None,
                    event_time: Some(late.event_time),
                    received_at: late.received_at,
                    raw: late.raw,
                });
            }
        }
        Ok(kept)
    }
}

fn add(plan: &Plan, kept: &Kept, batch: &mut EventBatch) {
    plan.take_foreign(&kept.raw, &|| kept.id.clone(), batch);
    let text = std::str::from_utf8(&kept.raw).unwrap_or_default();
    let key = plan.key_of(text, &kept.id);
    let id = batch.push_side(kept.id.as_bytes());
    let kind = kept.kind.as_ref().map(|kind| batch.push_side(kind.as_bytes()));
    let Some(entry) = batch.entries.last_mut() else { return };
    entry.id = id;
    entry.kind = kind.unwrap_or(entry.kind);
    entry.key_hash = key_hash(key.as_bytes());
    entry.key = Span::NONE;
    entry.event_time = kept.event_time.or(entry.event_time);
    entry.received_at = Some(kept.received_at);
}
