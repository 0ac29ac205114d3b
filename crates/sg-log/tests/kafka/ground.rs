//! A broker and topics to stand on: each test makes its own and deletes them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext};
use sg_core::batch::LogBatch;
use sg_core::definition::{Dedup, RawTable, Stream};
use sg_core::output::Outputs;
use sg_core::plan::Plan;
use sg_core::ports::{LogReader, PortError};
use sg_log::kafka::{KafkaLog, KafkaOptions, Topic};

/// How long a test waits for what must come: only a failing one waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A broker, and the topics that a test made on it.
pub(crate) struct Ground {
    pub(crate) brokers: String,
    pub(crate) run: String,
    admin: AdminClient<DefaultClientContext>,
    made: std::sync::Mutex<Vec<String>>,
}

/// Returns the broker, or `None` where there is none: then the test is skipped, unless this is CI.
pub(crate) fn ground() -> Option<Ground> {
    let Ok(brokers) = std::env::var("STREAMGAUGE_TEST_KAFKA") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "in CI STREAMGAUGE_TEST_KAFKA names a broker");
        skipped();
        return None;
    };
    Some(Ground::on(brokers))
}

#[expect(clippy::print_stderr, reason = "a test that does not run must say so")]
fn skipped() {
    eprintln!("skipped: STREAMGAUGE_TEST_KAFKA names no broker");
}

impl Ground {
    pub(crate) fn on(brokers: String) -> Ground {
        let run = format!("{:08x}", RandomState::new().hash_one(0) as u32);
        let config = config(&brokers);
        let admin = AdminClient::from_config(&config).expect("an admin client can be made");
        Ground { brokers, run, admin, made: std::sync::Mutex::default() }
    }

    /// Returns the settings of a client of the test's own.
    pub(crate) fn config(&self) -> ClientConfig {
        config(&self.brokers)
    }

    pub(crate) fn admin(&self) -> &AdminClient<DefaultClientContext> {
        &self.admin
    }

    /// Returns a topic's name that no other test has.
    pub(crate) fn name(&self, stream: &str) -> String {
        let number = self.made.lock().expect("no test panicked here").len();
        format!("t-{}-{number}-{stream}", self.run)
    }

    /// Makes a topic whose records carry the broker's time.
    pub(crate) async fn topic(&self, stream: &str, partitions: i32) -> Topic {
        let topic = self.name(stream);
        self.make(&topic, partitions, &[("message.timestamp.type", "LogAppendTime")]).await;
        Topic { stream: stream.to_owned(), topic }
    }

    /// Makes a topic with settings.
    pub(crate) async fn make(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.made.lock().expect("no test panicked here").push(topic.to_owned());
        assert!(self.try_make(topic, partitions, settings).await, "the topic {topic} can be made");
    }

    /// Makes a topic, unless its name is still taken.
    pub(crate) async fn try_make(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> bool {
        let new = settings
            .iter()
            .fold(NewTopic::new(topic, partitions, TopicReplication::Fixed(1)), |new, (name, value)| {
                new.set(name, value)
            });
        self.admin.create_topics(&[new], &wait()).await.expect("the broker answers")[0].is_ok()
    }

    /// Writes records as others do, in order, to one partition: value, and the value of a header of our name.
    pub(crate) fn produce(&self, topic: &str, records: &[(Option<&[u8]>, Option<&str>)]) {
        let producer: BaseProducer = self.config().create().expect("a producer can be made");
        for record in records {
            send(&producer, topic, *record);
        }
        producer.flush(PATIENCE).expect("the broker takes records");
    }

    /// Deletes a topic now.
    pub(crate) async fn delete(&self, topic: &str) {
        let deleted = self.admin.delete_topics(&[topic], &wait()).await.expect("the broker answers");
        assert!(deleted[0].is_ok(), "{deleted:?}");
    }

    /// Deletes the topics of the test.
    pub(crate) async fn clear(self) {
        let made = self.made.lock().expect("no test panicked here").clone();
        let names: Vec<&str> = made.iter().map(String::as_str).collect();
        if !names.is_empty() {
            drop(self.admin.delete_topics(&names, &wait()).await);
        }
    }

    /// Returns options for streams without rollups.
    pub(crate) fn options(&self, topics: Vec<Topic>) -> KafkaOptions {
        let plans = topics.iter().map(|topic| plan(&topic.stream)).collect();
        KafkaOptions {
            brokers: self.brokers.clone(),
            group: format!("g-{}", self.run),
            topics,
            plans,
            properties: Vec::new(),
            in_flight_bytes_max: 64 << 20,
            read_bytes_max: 64 << 20,
            session_timeout: Duration::from_secs(6),
        }
    }

    /// Opens a log on topics of one partition each, one for each stream.
    pub(crate) async fn log(&self, streams: &[&str]) -> (KafkaLog, HashMap<String, Topic>) {
        let mut topics = Vec::new();
        for stream in streams {
            topics.push(self.topic(stream, 1).await);
        }
        let named = topics.iter().map(|topic| (topic.stream.clone(), topic.clone())).collect();
        (open(self.options(topics)), named)
    }
}

/// Reads until so many records came, or panics.
pub(crate) async fn read(reader: &mut dyn LogReader, count: usize) -> Vec<LogBatch> {
    let mut batches = Vec::new();
    let mut came = 0;
    while came < count {
        let more = reader.next(1 << 20, PATIENCE).await.expect("records can be read");
        assert!(!more.is_empty(), "only {came} of {count} records came");
        came += more.iter().map(|batch| batch.events.len()).sum::<usize>();
        batches.extend(more);
    }
    batches
}

/// Reads until the reader fails; panics when it does not. Returns the failure and the offsets read before.
pub(crate) async fn read_to_failure(reader: &mut dyn LogReader) -> (PortError, Vec<u64>) {
    let deadline = Instant::now() + PATIENCE;
    let mut offsets = Vec::new();
    while Instant::now() < deadline {
        match reader.next(1 << 20, Duration::from_millis(200)).await {
            Ok(batches) => {
                for batch in batches {
                    offsets.extend((0..batch.events.len()).map(|index| batch.place(index).0));
                }
            }
            Err(error) => return (error, offsets),
        }
    }
    panic!("the reader did not fail and read up to {:?}", offsets.last())
}

/// Lets time pass: the one place where these tests do so.
pub(crate) async fn pause(time: Duration) {
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}

/// Waits until a condition holds, or panics.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        pause(Duration::from_millis(20)).await;
    }
}

/// Opens a log that must open.
pub(crate) fn open(options: KafkaOptions) -> KafkaLog {
    KafkaLog::open(options).expect("the log opens")
}

/// Returns the plan of a stream with a raw table, so that its fields are read, and without rollups.
pub(crate) fn plan(stream: &str) -> Arc<Plan> {
    let stream = Stream {
        name: stream.to_owned(),
        default_type: String::new(),
        fields: Default::default(),
        derive_id: false,
        partition_by: vec!["user_id".to_owned()],
        require: Vec::new(),
        types: Vec::new(),
        raw_table: Some(RawTable { name: stream.to_owned(), keep: Duration::MAX, rows_max: None }),
        dedup: Dedup { records: 1_000_000, horizon: Duration::from_secs(86_400) },
        max_future: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(30),
        outputs: Outputs::default(),
        letters: Default::default(),
    };
    Arc::new(Plan::new(stream, &[]))
}

/// Hands one record to a producer.
pub(crate) fn send<C: ProducerContext<NoCustomPartitioner, DeliveryOpaque = ()>>(
    producer: &BaseProducer<C>,
    topic: &str,
    (value, header): (Option<&[u8]>, Option<&str>),
) {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(0);
    record.payload = value;
    if let Some(header) = header {
        let other = Header { key: "trace", value: Some("x") };
        let ours = Header { key: "streamgauge", value: Some(header) };
        record = record.headers(OwnedHeaders::new().insert(other).insert(ours));
    }
    producer.send(record).map_err(|(error, _)| error).expect("the producer has room");
}

pub(crate) fn wait() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)))
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}
