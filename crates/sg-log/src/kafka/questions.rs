//! Questions to the brokers: topics, partitions, offsets, ids. A client of its own, because a broker answers one request
//! of a connection after the other and those of the reader wait for records. Everything here blocks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sg_core::ports::{ErrorKind, Extent, PortError};
use sg_core::time::Timestamp;

use super::fault::{self, retry};
use super::listener::Listener;
use super::stats::KafkaMetrics;
use super::topic_ids::TopicIds;

/// How long one question may take.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// How long a topic that was just made may take to be known to all brokers.
const TOPIC_WAIT: Duration = Duration::from_secs(3);
/// How often is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A client that asks.
pub(super) struct Questions {
    listener: Arc<Listener>,
    ids: Arc<TopicIds>,
}

/// What the brokers know of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) partitions: u32,
    /// Copies of each record.
    pub(super) replicas: usize,
}

impl Questions {
    /// Makes the client. Reaches for no broker yet.
    pub(super) fn new(
        config: &ClientConfig,
        ids: Arc<TopicIds>,
        stats: Arc<KafkaMetrics>,
    ) -> Result<Questions, PortError> {
        let listener = Listener::new("questions", config, ids.clone(), stats)?;
        Ok(Questions { listener, ids })
    }

    /// Returns the number of brokers.
    pub(super) fn brokers(&self) -> Result<usize, PortError> {
        let metadata = self.listener.consumer().fetch_metadata(None, REQUEST_WAIT);
        let metadata = metadata.map_err(|error| unreached("ask kafka for its brokers", error))?;
        self.listener.heard_from_broker();
        Ok(metadata.brokers().len())
    }

    /// Returns the cluster's id.
    pub(super) fn cluster(&self) -> Result<String, PortError> {
        let id = self.listener.consumer().client().fetch_cluster_id(REQUEST_WAIT);
        id.ok_or_else(|| {
            let doing = "ask kafka for the cluster's id; check the brokers' address and that they run";
            PortError::new(ErrorKind::Retry, doing)
        })
    }

    /// Describes a topic; `None` when the brokers do not know it.
    pub(super) fn describe(&self, topic: &str) -> Result<Option<Described>, PortError> {
        let doing = || format!("ask kafka for the topic {topic}");
        let metadata = self.listener.consumer().fetch_metadata(Some(topic), REQUEST_WAIT);
        let metadata = metadata.map_err(|error| unreached(&doing(), error))?;
        self.listener.heard_from_broker();
        let Some(found) = metadata.topics().first() else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {
                let replicas = found.partitions().first().map_or(0, |partition| partition.replicas().len());
                let partitions = u32::try_from(found.partitions().len()).unwrap_or(u32::MAX);
                Ok((partitions > 0).then_some(Described { partitions, replicas }))
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(None),
            Some(code) => Err(retry(doing(), KafkaError::MetadataFetch(code))),
        }
    }

    /// Describes a topic that must be there; one that was just made may become known a moment later.
    pub(super) fn describe_known(&self, topic: &str) -> Result<Described, PortError> {
        let deadline = Instant::now() + TOPIC_WAIT;
        loop {
            if let Some(found) = self.describe(topic)? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(fault::unknown_topic(topic));
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// Returns what the log holds of a partition; its end is the last stable offset.
    pub(super) fn extent(&self, topic: &str, partition: u32) -> Result<Extent, PortError> {
        let doing = || format!("ask kafka what it holds of partition {partition} of the topic {topic}");
        let held = self.listener.consumer().fetch_watermarks(topic, partition.cast_signed(), REQUEST_WAIT);
        let (start, end) = held.map_err(|error| match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => fault::unknown_topic(topic),
            _ => unreached(&doing(), error),
        })?;
        self.listener.heard_from_broker();
        match (u64::try_from(start), u64::try_from(end)) {
            (Ok(start), Ok(end)) => Ok(Extent { start, end, newest: Timestamp::NEVER, is_surplus: false }),
            _ => Err(PortError::new(ErrorKind::Retry, doing())),
        }
    }

    /// Returns the id of the topic that the name stood for when this process first asked; `None` when the brokers
    /// give no ids, as those before 2.8.
    pub(super) fn topic_id(&self, topic: &str) -> Result<Option<String>, PortError> {
        let deadline = Instant::now() + TOPIC_WAIT;
        loop {
            self.describe_known(topic)?;
            self.listener.attend();
            if let Some((was, is)) = self.ids.made_again(topic) {
                return Err(fault::corrupt(format!(
                    "use the kafka topic {topic}: it was deleted and made again (id {was} became {is}); restart when \
                     it is decided what becomes of the counts of the old one"
                )));
            }
            let id = self.ids.id(topic);
            if id.is_some() || Instant::now() >= deadline {
                return Ok(id);
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
}

fn unreached(doing: &str, error: KafkaError) -> PortError {
    retry(format!("{doing}; check the brokers' address and that they run"), error)
}
