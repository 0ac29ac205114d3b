//! The events of a delete, as many at once as are held: a step is what one transaction takes, a chunk those steps whose cells
//! are made again together. Takes none of them.

use std::sync::Arc;

use sg_core::erase::{Doomed, Gift};
use sg_core::fold::gifts;
use sg_core::limits::DELETED_AT_ONCE;
use sg_core::plan::Plan;
use sg_core::ports::{Picking, PortError};
use sg_core::query::StoredEvent;

use super::source::Source;

/// Steps of a chunk: the records of its windows are read once for all of them.
pub(super) const STEPS_AT_ONCE: usize = 32;
/// Bytes of what the events of a chunk gave; less where only few have much to give.
const EVENTS_BYTES_MAX: usize = 64 << 20;

/// Steps whose cells are made again together.
pub(super) struct Chunk {
    pub(super) steps: Vec<Step>,
}

/// What one transaction takes.
pub(super) struct Step {
    pub(super) events: Vec<Doomed>,
    /// Whether it is known how it ended.
    pub(super) is_settled: bool,
}

impl Chunk {
    /// Returns its first and its last steps, of which it has two at least.
    pub(super) fn halves(mut self) -> [Chunk; 2] {
        let last = self.steps.split_off(self.steps.len() / 2);
        [self, Chunk { steps: last }]
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Doomed> {
        self.steps.iter().flat_map(|step| &step.events)
    }
}

/// The events of a source, chunk by chunk.
pub(super) struct Chunks {
    source: Source,
    /// A plan for each rollup.
    alone: Vec<Arc<Plan>>,
    waiting: Vec<StoredEvent>,
    is_over: bool,
}

impl Chunks {
    pub(super) fn of(source: Source, alone: &[Arc<Plan>]) -> Chunks {
        Chunks { source, alone: alone.to_vec(), waiting: Vec::new(), is_over: false }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the next chunk, until there are no more events.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, PortError> {
        let (mut steps, mut bytes) = (Vec::new(), 0);
        while steps.len() < STEPS_AT_ONCE && bytes < EVENTS_BYTES_MAX {
            let Some(events) = self.next_step().await? else { break };
            let events = gifts(&self.alone, &events);
            bytes += events.iter().map(memory).sum::<usize>();
            steps.push(Step { events, is_settled: false });
        }
        Ok((!steps.is_empty()).then_some(Chunk { steps }))
    }

    async fn next_step(&mut self) -> Result<Option<Vec<StoredEvent>>, PortError> {
        while !self.is_over && self.waiting.len() < DELETED_AT_ONCE {
            match self.source.next().await? {
                Some(events) => self.waiting.extend(events.into_iter().map(|(event, _)| event)),
                None => self.is_over = true,
            }
        }
        let count = self.waiting.len().min(DELETED_AT_ONCE);
        let rest = self.waiting.split_off(count);
        let events = std::mem::replace(&mut self.waiting, rest);
        Ok((!events.is_empty()).then_some(events))
    }
}

/// Returns about how many bytes an event takes with what it gave.
fn memory(event: &Doomed) -> usize {
    let of_gift = |gift: &Gift| {
        let texts: usize = gift.dimensions.iter().map(|text| size_of::<String>() + text.len()).sum();
        let values = gift.values.iter().map(|value| size_of_val(value) + value.memory());
        texts + values.sum::<usize>()
    };
    let gifts: usize =
        event.gave.iter().map(|gave| size_of_val(gave) + gave.as_ref().map_or(0, of_gift)).sum();
    size_of::<Doomed>() + event.event_id.len() + gifts
}
