//! The newest batches in memory, for readers that keep up. Holds only what is durable; forgets the oldest first.

use std::collections::VecDeque;
use std::sync::Arc;

use sg_core::batch::{EventBatch, LogBatch};

/// The newest batches of all streams.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Per stream number, without holes up to the stream's end.
    streams: Vec<VecDeque<LogBatch>>,
    /// Stream number and size of every batch, oldest first.
    order: VecDeque<(u32, usize)>,
    bytes: usize,
}

impl Tail {
    /// Adds a stream's next batch.
    pub(crate) fn push(&mut self, number: u32, batch: LogBatch) {
        let bytes = batch.events.memory() + size_of::<LogBatch>();
        while self.streams.len() <= number as usize {
            self.streams.push(VecDeque::new());
        }
        self.streams[number as usize].push_back(batch);
        self.order.push_back((number, bytes));
        self.bytes += bytes;
    }

    /// Takes out the oldest batches until the rest is within the limit; the caller drops them outside its lock.
    pub(crate) fn shrink(&mut self, bytes_max: usize) -> Vec<LogBatch> {
        let mut dropped = Vec::new();
        while self.bytes > bytes_max {
            let Some((number, bytes)) = self.order.pop_front() else { break };
            self.bytes -= bytes;
            dropped.extend(self.streams[number as usize].pop_front());
        }
        dropped
    }

    /// Returns the bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether an offset before the stream's end is in memory.
    pub(crate) fn holds(&self, number: u32, offset: u64) -> bool {
        let stream = self.streams.get(number as usize);
        stream.and_then(VecDeque::front).is_some_and(|first| first.first_offset <= offset)
    }

    /// Returns the batches from an offset that is in memory, about `bytes_max` of them.
    pub(crate) fn read(&self, number: u32, from: u64, bytes_max: usize) -> Vec<LogBatch> {
        let Some(stream) = self.streams.get(number as usize) else { return Vec::new() };
        let first = stream.partition_point(|batch| batch.next_offset() <= from);
        let mut batches: Vec<LogBatch> = Vec::new();
        let mut bytes = 0;
        for batch in stream.range(first..) {
            bytes += batch.events.memory();
            batches.push(starting_at(batch.clone(), from));
            if bytes >= bytes_max {
                break;
            }
        }
        batches
    }
}

/// Returns a batch without the records before an offset.
pub(crate) fn starting_at(batch: LogBatch, from: u64) -> LogBatch {
    let skipped = from.saturating_sub(batch.first_offset) as usize;
    if skipped == 0 {
        return batch;
    }
    let mut events = EventBatch::clone(&batch.events);
    if let Some(fields) = events.fields.as_mut() {
        let (texts, numbers) =
            (fields.texts.len() / events.entries.len(), fields.numbers.len() / events.entries.len());
        fields.texts.drain(..texts * skipped);
        fields.numbers.drain(..numbers * skipped);
    }
    events.entries.drain(..skipped);
    events.refused.retain(|(index, _)| *index as usize >= skipped);
    for (index, _) in &mut events.refused {
        *index -= skipped as u32;
    }
    events.replays.retain(|(index, _)| *index as usize >= skipped);
    for (index, _) in &mut events.replays {
        *index -= skipped as u32;
    }
    events.traces.retain(|(index, _)| *index as usize >= skipped);
    for (index, _) in &mut events.traces {
        *index -= skipped as u32;
    }
    LogBatch { events: Arc::new(events), first_offset: from, ..batch }
}

#[cfg(test)]
mod tests;
