//! `consume`: reads a topic once, from the beginning to the end, and does nothing with it: what reading from Kafka costs
//! a client that is well tuned. With `--parse` it also reads each event's JSON. Prints one line of JSON.
//! For a topic that nobody writes to meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use controls::keyed::KeyedEvent;
use controls::usage;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the broker may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a topic once, as fast as it comes.
#[derive(Parser)]
struct Arguments {
    /// The brokers, as host:port.
    #[arg(long)]
    brokers: String,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// Read each event's JSON as well.
    #[arg(long)]
    parse: bool,
}

/// The figures of a run, as they are printed; time and CPU time count from the first record on.
#[derive(Serialize)]
struct Report {
    records: u64,
    not_events: u64,
    seconds: f64,
    records_per_s: u64,
    records_per_cpu_s: u64,
    memory_mib: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("group.id", "controls")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // By default a full queue is looked at again only after a second.
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.min.bytes", "100000")
        .set("fetch.message.max.bytes", "8000000")
        .set("queued.min.messages", "200000")
        .set("queued.max.messages.kbytes", "65536")
        .create()
        .context("making a consumer")?;
    let partitions = assign_all(&consumer, &arguments.topic)?;
    let (mut ended, mut records, mut not_events) = (0, 0_u64, 0);
    let mut start = None;
    while ended < partitions {
        match consumer.poll(ANSWER_TIMEOUT) {
            Some(Ok(message)) => {
                start.get_or_insert_with(|| (Instant::now(), usage::cpu_time()));
                records += 1;
                if arguments.parse && !is_event(message.payload()) {
                    not_events += 1;
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error).context("reading"),
            None => bail!("the broker sends nothing more, but this is not the end: {records} records"),
        }
    }
    let (start, cpu) = start.context("the topic is empty")?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), usage::cpu_time() - cpu);
    let report = Report {
        records,
        not_events,
        seconds,
        records_per_s: (records as f64 / seconds) as u64,
        records_per_cpu_s: (records as f64 / cpu.as_secs_f64()) as u64,
        memory_mib: usage::memory_mib()?,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Takes every partition from its beginning; returns how many there are.
fn assign_all(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<usize> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_TIMEOUT).context("looking for the topic")?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    ensure!(!partitions.is_empty(), "the topic {topic} is not there");
    let mut list = TopicPartitionList::new();
    for partition in &partitions {
        list.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&list).context("taking the partitions")?;
    Ok(partitions.len())
}

/// Reads an event, and keeps the compiler from leaving that out.
fn is_event(payload: Option<&[u8]>) -> bool {
    let event = payload.and_then(|payload| serde_json::from_slice::<KeyedEvent<'_>>(payload).ok());
    std::hint::black_box(event).is_some()
}
