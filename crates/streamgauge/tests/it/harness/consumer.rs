//! A plain consumer and producer, as others use them: what stands on a topic, in bytes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::until;

const WAIT: Duration = Duration::from_secs(20);

/// A record as it stands on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: HashMap<String, String>,
}

impl Record {
    /// Returns the value as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }

    /// Returns the key as text; nothing where there is none.
    pub(crate) fn key(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// Returns a header; nothing where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// A reader of one topic from its beginning.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    /// All records that came, in the order in which they came.
    pub(crate) records: Vec<Record>,
}

impl Reader {
    /// Reads all partitions of a topic that is there.
    pub(crate) fn of(brokers: &str, topic: &str) -> Reader {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "reader").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("a consumer can be made");
        let mut partitions = TopicPartitionList::new();
        until(WAIT, "the topic is there", || {
            let metadata = consumer.fetch_metadata(Some(topic), WAIT).expect("the broker answers");
            let found = metadata.topics()[0].partitions();
            for partition in found {
                partitions
                    .add_partition_offset(topic, partition.id(), Offset::Beginning)
                    .expect("a partition has a beginning");
            }
            !found.is_empty()
        });
        consumer.assign(&partitions).expect("partitions can be assigned");
        Reader { consumer, records: Vec::new() }
    }

    /// Takes what has come by now.
    pub(crate) fn take(&mut self) {
        while let Some(polled) = self.consumer.poll(Duration::from_millis(50)) {
            // A broker that is away comes back.
            let Ok(message) = polled else { continue };
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
            self.records.push(Record {
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().unwrap_or_default().to_vec(),
                headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
            });
        }
    }

    /// Takes what comes until that is enough, or for so long; whoever asks looks at what there is then.
    pub(crate) fn take_until(&mut self, deadline: Duration, is_enough: impl Fn(&[Record]) -> bool) {
        let began = Instant::now();
        self.take();
        while !is_enough(&self.records) && began.elapsed() < deadline {
            self.take();
        }
    }

    /// Waits until so many records have come, and returns all.
    pub(crate) fn wait_for(&mut self, count: usize, deadline: Duration) -> &[Record] {
        until(deadline, &format!("{count} records come"), || {
            self.take();
            self.records.len() >= count
        });
        &self.records
    }
}

/// Writes a record as others do.
pub(crate) fn produce(brokers: &str, topic: &str, key: Option<&[u8]>, value: &[u8]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a producer can be made");
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(value);
    record.key = key;
    producer.send(record).map_err(|(error, _)| error).expect("the producer has room");
    producer.flush(WAIT).expect("the broker takes records");
}
