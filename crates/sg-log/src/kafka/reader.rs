//! Reads one partition in order. Records of our own door come back as the door decided; records of others are read by
//! the stream's plan. Stops for good rather than leave a record out.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use sg_core::batch::LogBatch;
use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, LogReader, PortError};
use tokio::time::Instant;

use super::fault::{self, Meaning};
use super::fetcher::{Fetcher, Slot};
use super::listener::take_end;
use crate::shared::lock;

mod gather;
use gather::Gather;

/// Records taken in one call: the thread belongs to others too.
const RECORDS_MAX: usize = 4_096;
/// How long a reader sleeps without looking itself.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A place in one partition.
pub(super) struct Reader {
    fetcher: Arc<Fetcher>,
    slot: Arc<Slot>,
    generation: u64,
    plan: Arc<Plan>,
    topic: Arc<str>,
    partition: u32,
    /// The offset before which no record is left.
    next: u64,
    /// Why the reader stands still for good.
    failure: Option<(ErrorKind, String)>,
}

impl Reader {
    /// Opens a partition at an offset; an earlier reader of it in this process ends. Blocks for a moment.
    pub(super) fn open(
        fetcher: Arc<Fetcher>,
        plan: Arc<Plan>,
        topic: &str,
        partition: u32,
        from: u64,
    ) -> Result<Reader, PortError> {
        let (slot, generation) = fetcher.assign(topic, partition.cast_signed(), from)?;
        let topic = Arc::from(topic);
        Ok(Reader { fetcher, slot, generation, plan, topic, partition, next: from, failure: None })
    }

    /// Takes what waits, without waiting. What was taken before a failure is returned first.
    fn take(&mut self, bytes_max: usize) -> Result<Vec<LogBatch>, PortError> {
        self.check()?;
        let mut gather = Gather::new(self.topic.clone(), self.partition);
        let polled = self.poll(bytes_max, &mut gather);
        self.fetcher.listener.attend();
        if let Some((was, is)) = self.fetcher.ids.made_again(&self.topic) {
            // Also what was just taken may be the new topic's.
            return Err(self.stop(
                ErrorKind::Corrupt,
                format!(
                    "the topic was deleted and made again (id {was} became {is}), so that its offsets mean other \
                     events; restart when it is decided what becomes of the counts of the old one"
                ),
            ));
        }
        let end = match polled {
            Ok(end) => end,
            Err((kind, why)) => {
                let error = self.stop(kind, why);
                if gather.is_empty() {
                    return Err(error);
                }
                None
            }
        };
        if end.is_some() || !gather.is_empty() {
            self.fetcher.listener.heard_from_broker();
        }
        self.next = self.next.max(gather.next_offset().unwrap_or(0)).max(end.unwrap_or(0));
        self.fetcher.stats.read.add(gather.len() as u64);
        Ok(gather.into_batch(&self.plan).into_iter().collect())
    }

    /// Polls until there is enough or nothing more. Returns the partition's end if it was seen.
    fn poll(&self, bytes_max: usize, gather: &mut Gather) -> Result<Option<u64>, (ErrorKind, String)> {
        let open = lock(&self.slot.open);
        let queue = match &open.queue {
            Some(queue) if open.generation == self.generation => queue,
            _ => return Err((ErrorKind::Retry, "another reader of this process has taken it".to_owned())),
        };
        let mut end = None;
        while gather.bytes() < bytes_max && gather.len() < RECORDS_MAX {
            match queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => self.add(&message, gather)?,
                Some(Err(KafkaError::PartitionEOF(_))) => end = take_end(),
                Some(Err(error)) => self.judge(error)?,
            }
        }
        drop(open);
        Ok(end)
    }

    fn add(&self, message: &BorrowedMessage<'_>, gather: &mut Gather) -> Result<(), (ErrorKind, String)> {
        let least = gather.next_offset().unwrap_or(self.next);
        gather.add(message, least)
    }

    fn judge(&self, error: KafkaError) -> Result<(), (ErrorKind, String)> {
        let Some(code) = error.rdkafka_error_code() else {
            return Err((ErrorKind::Retry, error.to_string()));
        };
        match fault::meaning(code) {
            Meaning::Passing => Ok(()),
            Meaning::Again => Err((ErrorKind::Retry, error.to_string())),
            Meaning::Lost(why) => Err((ErrorKind::Corrupt, format!("{why} ({error})"))),
        }
    }

    /// Fails as before, if it did.
    fn check(&self) -> Result<(), PortError> {
        match &self.failure {
            None => Ok(()),
            Some((kind, doing)) => Err(PortError::new(*kind, doing.clone())),
        }
    }

    fn stop(&mut self, kind: ErrorKind, why: String) -> PortError {
        let Reader { topic, partition, next, .. } = self;
        let doing =
            format!("read partition {partition} of the kafka topic {topic} from offset {next}: {why}");
        if kind == ErrorKind::Corrupt {
            self.fetcher.stats.stops.add(1);
        }
        self.failure = Some((kind, doing.clone()));
        PortError::new(kind, doing)
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<LogBatch>, PortError> {
        let slot = self.slot.clone();
        let deadline = Instant::now() + wait;
        loop {
            let mut grown = std::pin::pin!(slot.grown.notified());
            // Listens before it looks, so that nothing is missed in between.
            grown.as_mut().enable();
            let batches = self.take(bytes_max)?;
            let now = Instant::now();
            if !batches.is_empty() || now >= deadline {
                return Ok(batches);
            }
            // In time or not, it looks again: an empty queue is cheap, a missed bell would not be.
            drop(tokio::time::timeout_at(deadline.min(now + LOOK_EVERY), grown).await);
        }
    }

    fn passed(&self) -> u64 {
        self.next
    }

    /// A hole is no loss here: a topic has marks of transactions, and records that were aborted.
    fn lost(&mut self) -> Vec<Range<u64>> {
        Vec::new()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fetcher.unassign(&self.topic, self.partition.cast_signed(), &self.slot, self.generation);
    }
}
