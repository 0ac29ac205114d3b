//! The one consumer of the process that reads. It joins no group: partitions are given to it by hand, and each is read
//! from a queue of its own. Flow control is librdkafka's: a queue that nobody empties is not filled.
//!
//! Verified in librdkafka 2.12: a queue that the application forwards (also to nowhere, as `split_partition_queue`
//! does) is not forwarded again when its fetches start, and what an earlier assignment left in it is dropped when it
//! is polled, because its version is older.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use sg_core::ports::{ErrorKind, PortError};
use tokio::sync::Notify;

use super::fault;
use super::listener::{Context, Listener};
use super::stats::KafkaMetrics;
use super::topic_ids::TopicIds;
use crate::shared::lock;

/// The consumer and the partitions that are read.
pub(super) struct Fetcher {
    pub(super) listener: Arc<Listener>,
    pub(super) ids: Arc<TopicIds>,
    pub(super) stats: Arc<KafkaMetrics>,
    /// By topic and partition. A slot stays when its reader ends: there are as many as partitions.
    slots: Mutex<HashMap<(String, i32), Arc<Slot>>>,
    generations: AtomicU64,
}

/// A partition that is being read, or was. A newer reader takes it from an older one.
pub(super) struct Slot {
    pub(super) open: Mutex<Open>,
    /// Rung when records, the end, or an error wait in the queue.
    pub(super) grown: Arc<Notify>,
}

/// Who reads a partition.
pub(super) struct Open {
    /// The number of the reader that may poll.
    pub(super) generation: u64,
    pub(super) queue: Option<PartitionQueue<Context>>,
}

impl Fetcher {
    /// Makes the consumer.
    pub(super) fn new(
        config: &ClientConfig,
        ids: Arc<TopicIds>,
        stats: Arc<KafkaMetrics>,
    ) -> Result<Arc<Fetcher>, PortError> {
        let listener = Listener::new("reader", config, ids.clone(), stats.clone())?;
        Ok(Arc::new(Fetcher {
            listener,
            ids,
            stats,
            slots: Mutex::default(),
            generations: AtomicU64::new(1),
        }))
    }

    /// Begins to fetch a partition at an offset; an earlier reader of it ends. Blocks for a moment.
    pub(super) fn assign(
        &self,
        topic: &str,
        partition: i32,
        from: u64,
    ) -> Result<(Arc<Slot>, u64), PortError> {
        let doing = || format!("read partition {partition} of the kafka topic {topic}");
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let slot = {
            let mut slots = lock(&self.slots);
            slots.entry((topic.to_owned(), partition)).or_insert_with(|| Arc::new(Slot::new())).clone()
        };
        let mut open = lock(&slot.open);
        if open.queue.take().is_some() {
            self.forget(topic, partition).map_err(|error| fault::retry(doing(), error))?;
        }
        let mut queue = self
            .listener
            .consumer()
            .split_partition_queue(topic, partition)
            .ok_or_else(|| PortError::new(ErrorKind::Retry, doing()))?;
        let grown = slot.grown.clone();
        queue.set_nonempty_callback(move || grown.notify_one());
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, offset)
            .and_then(|()| self.listener.consumer().incremental_assign(&list))
            .map_err(|error| fault::retry(doing(), error))?;
        *open = Open { generation, queue: Some(queue) };
        drop(open);
        Ok((slot, generation))
    }

    /// Ends the fetching of a partition, unless another reader has taken it meanwhile. Blocks for a moment.
    pub(super) fn unassign(&self, topic: &str, partition: i32, slot: &Slot, generation: u64) {
        let mut open = lock(&slot.open);
        if open.generation != generation || open.queue.take().is_none() {
            return;
        }
        if let Err(error) = self.forget(topic, partition) {
            tracing::debug!(topic, partition, %error, "a partition that is no longer read could not be given back");
        }
    }

    fn forget(&self, topic: &str, partition: i32) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(topic, partition);
        self.listener.consumer().incremental_unassign(&list)
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // Their queues hold the consumer, which the listener is to close.
        lock(&self.slots).clear();
    }
}

impl Slot {
    fn new() -> Slot {
        Slot { open: Mutex::new(Open { generation: 0, queue: None }), grown: Arc::new(Notify::new()) }
    }
}
