//! `fill`: writes made-up JSON events into a topic that is there, as any other producer would: the key is a field of
//! the event, no headers, every write acknowledged. Prints one line of JSON with what the broker has taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use controls::keyed::{EVENT_BYTES, KeyedEvents};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events between two looks at what the broker has answered.
const EVENTS_PER_POLL: u64 = 1_024;
/// How long the broker may take for what is on its way.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Writes made-up JSON events of 125 bytes into a topic.
#[derive(Parser)]
struct Arguments {
    /// The brokers, as host:port.
    #[arg(long)]
    brokers: String,
    /// The topic; it must be there.
    #[arg(long)]
    topic: String,
    /// How many.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
}

/// The figures of a run, as they are printed.
#[derive(Serialize)]
struct Report {
    events: u64,
    bytes: u64,
    seconds: f64,
    events_per_s: u64,
}

/// What became of the writes.
#[derive(Default)]
struct Deliveries {
    done: AtomicU64,
    failed: AtomicU64,
}

/// Counts what the broker answered.
struct Counting(Arc<Deliveries>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        let count = if result.is_ok() { &self.0.done } else { &self.0.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let deliveries = Arc::new(Deliveries::default());
    let producer: BaseProducer<Counting> = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "500000")
        .create_with_context(Counting(deliveries.clone()))
        .context("making a producer")?;
    let metadata = producer.client().fetch_metadata(Some(&arguments.topic), ANSWER_TIMEOUT)?;
    let is_there = metadata.topics().iter().all(|topic| topic.error().is_none());
    ensure!(is_there, "the topic {} is not there: make it first", arguments.topic);

    let start = Instant::now();
    let since_1970 = wall_clock()?;
    // Each run has ids of its own.
    let seed = since_1970.as_nanos() as u64;
    let mut events = KeyedEvents::before(since_1970.as_millis() as i64, arguments.events, seed);
    for number in 0..arguments.events {
        let (key, value) = events.next_event();
        send(&producer, BaseRecord::to(&arguments.topic).key(key).payload(value))?;
        if number % EVENTS_PER_POLL == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(ANSWER_TIMEOUT).context("waiting for the last writes")?;
    let (done, failed) = (deliveries.done.load(Ordering::Relaxed), deliveries.failed.load(Ordering::Relaxed));
    ensure!(done == arguments.events, "{done} of {} events were taken, {failed} refused", arguments.events);
    let seconds = start.elapsed().as_secs_f64();
    let events_per_s = (done as f64 / seconds) as u64;
    let report = Report { events: done, bytes: done * EVENT_BYTES as u64, seconds, events_per_s };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Hands a record to the producer, and waits while its queue is full.
fn send(producer: &BaseProducer<Counting>, record: BaseRecord<'_, str, [u8]>) -> anyhow::Result<()> {
    let mut refused = producer.send(record);
    loop {
        match refused {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                producer.poll(Duration::from_millis(5));
                refused = producer.send(record);
            }
            Err((error, _)) => bail!("writing an event: {error}"),
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the generator dates its events by the wall clock; nothing is decided by it"
)]
fn wall_clock() -> anyhow::Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")
}
