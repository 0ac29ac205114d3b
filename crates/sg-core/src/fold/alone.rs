//! What single events give to rollups, without the state of any partition: for events that were counted and are to be
//! counted again, or not any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::batch::{LogBatch, Times};
use crate::cell::{Value, push_dimension};
use crate::definition::Rollup;
use crate::erase::{Doomed, Gift};
use crate::plan::{Plan, RollupPlan};
use crate::query::StoredEvent;
use crate::time::Timestamp;
use crate::window;

use super::{Fold, Record, given, meets};

/// The cells of a rollup, by pane, with the dimensions as cells under construction keep them.
#[derive(Debug, Clone, Default)]
pub struct Wanted(BTreeMap<Timestamp, BTreeSet<Vec<u8>>>);

impl Wanted {
    /// Adds a cell.
    pub fn add(&mut self, pane: Timestamp, dimensions: &[String]) {
        let mut key = Vec::new();
        dimensions.iter().for_each(|dimension| push_dimension(&mut key, dimension.as_bytes()));
        self.0.entry(pane).or_default().insert(key);
    }

    /// Returns whether a cell is among them.
    pub(super) fn has(&self, pane: Timestamp, key: &[u8]) -> bool {
        self.0.get(&pane).is_some_and(|keys| keys.contains(key))
    }
}

/// Returns a plan of one rollup alone, whose fields decide which events fit it.
pub fn plan_of(plan: &Plan, rollup: &Rollup) -> Arc<Plan> {
    let stream = crate::definition::Stream { raw_table: None, ..plan.stream.clone() };
    Arc::new(Plan::new(stream, std::slice::from_ref(rollup)))
}

/// Returns what stored events of one partition, by offset ascending, gave to each of the plans of single rollups.
pub fn gifts(alone: &[Arc<Plan>], events: &[StoredEvent]) -> Vec<Doomed> {
    let mut doomed: Vec<Doomed> = events
        .iter()
        .map(|event| Doomed {
            partition: event.partition,
            offset: event.offset,
            event_id: event.event_id.clone(),
            event_time: event.event_time,
            received_at: event.received_at,
            gave: Vec::with_capacity(alone.len()),
        })
        .collect();
    for plan in alone {
        let records = plan.as_records(events);
        let mut read = crate::batch::EventBatch::clone(&records.events);
        plan.read_back(&mut read);
        for (index, one) in doomed.iter_mut().enumerate() {
            let fits = read.refusal(index).is_none();
            let gift = || gift(&plan.rollups[0], plan, &read, (index, one.event_time));
            one.gave.push(fits.then(gift));
        }
    }
    doomed
}

fn gift(
    planned: &RollupPlan,
    plan: &Plan,
    batch: &crate::batch::EventBatch,
    (index, event_time): (usize, Timestamp),
) -> Gift {
    let (texts, numbers) = match &batch.fields {
        Some(fields) => {
            (&fields.texts[index * plan.text_slots()..], &fields.numbers[index * plan.number_slots()..])
        }
        None => (&[][..], &[][..]),
    };
    let value = |measure: &crate::plan::MeasurePlan| {
        let mut value = Value::empty(&measure.function);
        if meets(&measure.filter, batch, texts) {
            value.add(given(&measure.takes, batch, texts, numbers));
        }
        value
    };
    Gift {
        pane: window::start_of(event_time, planned.rollup.pane_ms),
        dimensions: planned.dimensions.iter().map(|slot| batch.text(texts[*slot]).to_owned()).collect(),
        values: planned.measures.iter().map(value).collect(),
    }
}

impl Fold {
    /// Makes a fold that folds again only what comes to these cells of its one rollup.
    pub fn only(mut self, wanted: Wanted) -> Fold {
        if let Some(again) = &mut self.again {
            again.wanted = Some(wanted);
        }
        self
    }

    /// Folds counted events of its one rollup again: each counts, for it did.
    pub fn recount(&mut self, batch: &LogBatch) {
        let events = self.read_again(batch);
        let Some(fields) = &events.fields else { return };
        for index in (0..events.len()).filter(|index| events.refusal(*index).is_none()) {
            let (offset, appended_at) = batch.place(index);
            let entry = &events.entries[index];
            let Times { received_at, event_time, .. } = entry.times(appended_at);
            let record = Record { batch: &events, fields, index, offset, event_time, received_at };
            for at in 0..self.rollups.len() {
                self.feed(at, &record);
            }
        }
        self.pass_to(batch.next_offset());
    }

    /// Takes the counted events that were folded again since the last call, under a plan that reads what a raw table keeps.
    pub fn take_raw(&mut self) -> Vec<crate::flush::RawRows> {
        self.raw_bytes = 0;
        std::mem::take(&mut self.raw)
    }
}
