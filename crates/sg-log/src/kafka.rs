//! The log on Apache Kafka: one topic a stream, its partitions shared by all processes of a group.
//!
//! In reading order:
//! - [`KafkaLog`] here: the handle and the port that the rest of the program uses.
//! - `settings`: which settings of librdkafka are ours, which the operator's.
//! - `header`: the format of what stands beside an event's bytes.
//! - `producer`: appends; `Ok` means that all in-sync replicas have the whole batch.
//! - `fetcher`, `reader`: one consumer that joins no group, one queue for each partition that is read.
//! - `topic_ids`: how a topic that was deleted and made again is noticed.
//! - `membership`: Kafka's group decides who works on which partition.
//! - `outputs`: the topics that others read.
//! - [`topics`]: making and checking topics.
//!
//! Invariants: offsets come from the store, never from the group; no setting can change what exactness rests on; a
//! reader that may have missed a record stops and says so.
//!
//! Deliberately absent: transactions of our own, Kafka's own schemas, creating topics by accident, trimming (Kafka's
//! retention does it).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sg_core::batch::EventBatch;
use sg_core::plan::Plan;
use sg_core::ports::{Appended, ErrorKind, EventLog, Extent, LogReader, Membership, PortError};
use tokio::sync::OnceCell;

use crate::shared::lock;

mod fault;
mod fetcher;
mod header;
mod listener;
mod membership;
mod outputs;
mod producer;
mod questions;
mod reader;
mod settings;
mod stats;
mod topic_ids;
pub mod topics;

use fault::invalid;
use fetcher::Fetcher;
use membership::Member;
pub use outputs::KafkaOutputs;
use producer::Sender;
use questions::Questions;
use reader::Reader;
pub use stats::KafkaMetrics;
use topic_ids::TopicIds;

/// How long a number of partitions is believed.
const PARTITIONS_KNOWN_FOR: Duration = Duration::from_secs(10);

/// A stream and the topic that holds its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The stream's name.
    pub stream: String,
    /// The topic's name.
    pub topic: String,
}

/// How the log is reached.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Addresses of brokers, `host:port`, parted by commas.
    pub brokers: String,
    /// The name under which processes share the partitions.
    pub group: String,
    /// The streams' topics; each stream has one, each topic one stream.
    pub topics: Vec<Topic>,
    /// How events of each stream are read, for records that others wrote.
    pub plans: Vec<Arc<Plan>>,
    /// Settings of librdkafka, passed through unchanged; those that exactness rests on are refused.
    pub properties: Vec<(String, String)>,
    /// Memory for records on their way to the brokers.
    pub in_flight_bytes_max: usize,
    /// Memory for records read ahead, over all partitions.
    pub read_bytes_max: usize,
    /// How long a process may be silent before its partitions are given to others.
    pub session_timeout: Duration,
}

/// An event log on Kafka. A cheap handle: clones are the same log.
#[derive(Clone)]
pub struct KafkaLog {
    handle: Arc<Handle>,
}

struct Handle {
    options: KafkaOptions,
    sender: Arc<Sender>,
    questions: Arc<Questions>,
    ids: Arc<TopicIds>,
    /// Made when the number of partitions is known, which share its memory.
    fetcher: OnceCell<Arc<Fetcher>>,
    /// By topic, with when it was asked.
    partitions: Mutex<HashMap<String, (u32, Instant)>>,
    cluster: OnceCell<String>,
    stats: Arc<KafkaMetrics>,
}

impl KafkaLog {
    /// Prepares the log. Reaches for no broker yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for options that cannot be.
    pub fn open(options: KafkaOptions) -> Result<KafkaLog, PortError> {
        settings::check(&options)?;
        check_topics(&options)?;
        let stats = Arc::new(KafkaMetrics::default());
        let sender = Sender::new(settings::producer(&options), options.in_flight_bytes_max, stats.clone())?;
        let ids = Arc::<TopicIds>::default();
        let questions = Questions::new(&settings::questions(&options), ids.clone(), stats.clone())?;
        let handle = Handle {
            options,
            sender: Arc::new(sender),
            questions: Arc::new(questions),
            ids,
            fetcher: OnceCell::new(),
            partitions: Mutex::default(),
            cluster: OnceCell::new(),
            stats,
        };
        Ok(KafkaLog { handle: Arc::new(handle) })
    }

    /// Returns the counters of this log.
    pub fn stats(&self) -> &KafkaMetrics {
        &self.handle.stats
    }

    /// Returns the consumer that reads; asks for all topics' partitions the first time.
    async fn fetcher(&self) -> Result<&Arc<Fetcher>, PortError> {
        let handle = &self.handle;
        let make = || async {
            let topics: Vec<String> = handle.options.topics.iter().map(|topic| topic.topic.clone()).collect();
            let partitions = self.ask("ask kafka for its topics", move |questions| {
                let count = |topic: &String| Ok(questions.describe_known(topic)?.partitions);
                topics.iter().map(count).sum::<Result<u32, PortError>>()
            });
            let config = settings::reading(&handle.options, partitions.await?);
            Fetcher::new(&config, handle.ids.clone(), handle.stats.clone())
        };
        handle.fetcher.get_or_try_init(make).await
    }

    /// Asks the brokers something, on a thread that may wait.
    async fn ask<T: Send + 'static>(
        &self,
        doing: &str,
        question: impl FnOnce(&Questions) -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, PortError> {
        let questions = self.handle.questions.clone();
        blocking(doing, move || question(&questions)).await
    }

    fn topic(&self, stream: &str) -> Result<&str, PortError> {
        let found = self.handle.options.topics.iter().find(|topic| topic.stream == stream);
        found
            .map(|topic| topic.topic.as_str())
            .ok_or_else(|| invalid(format!("use the stream {stream} on kafka: it has no topic")))
    }

    fn plan(&self, stream: &str) -> Result<Arc<Plan>, PortError> {
        let found = self.handle.options.plans.iter().find(|plan| &*plan.name == stream);
        found.cloned().ok_or_else(|| invalid(format!("read the stream {stream} on kafka: it has no plan")))
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn append(&self, batch: EventBatch) -> Result<Vec<Appended>, PortError> {
        let topic = self.topic(&batch.stream)?.to_owned();
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.handle.sender.append(&topic, batch).await
    }

    async fn join(&self, streams: &[String]) -> Result<Box<dyn Membership>, PortError> {
        let mut topics = HashMap::new();
        for stream in streams {
            topics.insert(self.topic(stream)?.to_owned(), stream.clone());
        }
        let options = &self.handle.options;
        let told_within = Duration::from_millis(settings::session_ms(options));
        let member =
            Member::join(&settings::member(options), topics, told_within, self.handle.stats.clone())?;
        Ok(Box::new(member))
    }

    async fn open(&self, stream: &str, partition: u32, from: u64) -> Result<Box<dyn LogReader>, PortError> {
        let (topic, plan) = (self.topic(stream)?.to_owned(), self.plan(stream)?);
        // Before anything is read it must be known which topic the name stands for.
        self.identity(stream).await?;
        let Extent { start, end, .. } = self.extent(stream, partition).await?;
        if from < start || from > end {
            return Err(invalid(format!(
                "read partition {partition} of the kafka topic {topic} from offset {from}: it holds {start} to {end}"
            )));
        }
        let fetcher = self.fetcher().await?.clone();
        let open = move || Reader::open(fetcher, plan, &topic, partition, from);
        Ok(Box::new(blocking("open a kafka partition", open).await?))
    }

    async fn extent(&self, stream: &str, partition: u32) -> Result<Extent, PortError> {
        let topic = self.topic(stream)?.to_owned();
        self.ask("ask kafka for offsets", move |questions| questions.extent(&topic, partition)).await
    }

    async fn partitions(&self, stream: &str) -> Result<u32, PortError> {
        let topic = self.topic(stream)?.to_owned();
        if let Some((count, asked)) = lock(&self.handle.partitions).get(&topic)
            && asked.elapsed() < PARTITIONS_KNOWN_FOR
        {
            return Ok(*count);
        }
        let asked = topic.clone();
        let described = self.ask("ask kafka for a topic", move |questions| questions.describe_known(&asked));
        let count = described.await?.partitions;
        lock(&self.handle.partitions).insert(topic, (count, Instant::now()));
        Ok(count)
    }

    async fn identity(&self, stream: &str) -> Result<String, PortError> {
        let topic = self.topic(stream)?.to_owned();
        let ask = || self.ask("ask kafka for the cluster's id", Questions::cluster);
        let cluster = self.handle.cluster.get_or_try_init(ask).await?;
        let asked = topic.clone();
        let id = self.ask("ask kafka for a topic's id", move |questions| questions.topic_id(&asked)).await?;
        Ok(format!("kafka {cluster} {topic} {}", id.as_deref().unwrap_or("-")))
    }

    async fn trim(&self, _needed: &[(String, u32, u64)]) -> Result<(), PortError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), PortError> {
        let sender = self.handle.sender.clone();
        blocking("close the kafka log", move || sender.close()).await
    }
}

/// Runs work that waits for brokers on a thread that may wait.
async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| PortError::from_source(ErrorKind::Retry, doing, error))?
}

fn check_topics(options: &KafkaOptions) -> Result<(), PortError> {
    for (index, topic) in options.topics.iter().enumerate() {
        let is_twice = |other: &Topic| other.stream == topic.stream || other.topic == topic.topic;
        if options.topics[..index].iter().any(is_twice) {
            return Err(invalid(format!(
                "use the kafka topic {} for the stream {}: each stream has one topic and each topic one stream; name \
                 another",
                topic.topic, topic.stream
            )));
        }
    }
    Ok(())
}
