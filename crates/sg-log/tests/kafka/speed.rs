//! How fast reading and appending are, beside a plain consumer of the same records in the same run. By hand:
//! `cargo test --release -p sg-log --features kafka --test kafka -- --ignored --nocapture speed`.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};
use sg_core::ports::EventLog;
use sg_core::testing::log_suite::sample;
use sg_log::kafka::{KafkaLog, Topic};

use crate::ground::{Ground, PATIENCE, ground, open};

const PARTITIONS: i32 = 6;

fn records() -> usize {
    std::env::var("STREAMGAUGE_TEST_RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000_000)
}

/// Seconds of CPU that this process has taken.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

#[expect(clippy::print_stdout, reason = "the figures are what this is for")]
fn say(what: &str, count: usize, since: (Instant, f64)) -> f64 {
    let (seconds, cpu_seconds) = (since.0.elapsed().as_secs_f64(), cpu() - since.1);
    let (rate, each) = (count as f64 / seconds, cpu_seconds * 1e6 / count as f64);
    println!("{what}: {rate:.0} records/s, {each:.2} µs of CPU a record, {seconds:.1} s");
    rate
}

/// 125 bytes, as the controls have them.
fn event(number: usize) -> String {
    let text = format!(
        r#"{{"event_id":"e{number:011}","event_type":"page_view","user_id":"user-{:04}","timestamp":{},"page":"/a/b""#,
        number % 1_000,
        1_735_689_600_000_u64 + number as u64,
    );
    format!("{text}{}}}", " ".repeat(124_usize.saturating_sub(text.len())))
}

fn fill(ground: &Ground, topic: &str, count: usize, is_own: bool) {
    let mut config = ground.config();
    config.set("linger.ms", "20").set("batch.size", "1000000").set("queue.buffering.max.kbytes", "200000");
    let producer: BaseProducer = config.create().expect("a producer can be made");
    for number in 0..count {
        let value = event(number);
        let header = format!("1\t1735689700000\t1735689600000\t{number:016x}\t9\tpage_viewe{number:011}");
        loop {
            let mut record =
                BaseRecord::<(), str>::to(topic).payload(&value).partition(number as i32 % PARTITIONS);
            if is_own {
                let header = rdkafka::message::Header { key: "streamgauge", value: Some(&header) };
                record = record.headers(rdkafka::message::OwnedHeaders::new_with_capacity(1).insert(header));
            }
            if producer.send(record).is_ok() {
                break;
            }
            producer.poll(Duration::from_millis(5));
        }
        if number % 1_024 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE).expect("the broker takes records");
}

/// A plain loop over one consumer, which touches headers and values and keeps nothing.
fn plain(ground: &Ground, topic: &str, count: usize) -> f64 {
    let mut config = ground.config();
    config
        .set("group.id", "plain")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "200000")
        .set("queued.max.messages.kbytes", "65536");
    let consumer: BaseConsumer = config.create().expect("a consumer can be made");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset can be said");
    }
    let since = (Instant::now(), cpu());
    consumer.assign(&list).expect("partitions can be assigned");
    let (mut came, mut bytes) = (0, 0);
    while came < count {
        if let Some(message) = consumer.poll(PATIENCE) {
            bytes += message.expect("records can be read").payload().map_or(0, <[u8]>::len);
            came += 1;
        }
    }
    assert!(bytes > 100 * count);
    say("plain consumer", count, since)
}

async fn ours(log: &KafkaLog, what: &str, count: usize) -> f64 {
    let since = (Instant::now(), cpu());
    let mut reading = Vec::new();
    for partition in 0..PARTITIONS as u32 {
        let mut reader = log.open("events", partition, 0).await.expect("it can be opened");
        let count = (count + PARTITIONS as usize - 1 - partition as usize) / PARTITIONS as usize;
        reading.push(tokio::spawn(async move {
            let mut came = 0;
            while came < count {
                for batch in reader.next(1 << 20, PATIENCE).await.expect("records can be read") {
                    came += batch.events.len();
                }
            }
        }));
    }
    for reading in reading {
        reading.await.expect("it reads to the end");
    }
    say(what, count, since)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and means something only in a release build on a quiet machine"]
async fn reading_beside_a_plain_consumer() {
    let Some(ground) = ground() else { return };
    let count = records();
    for (what, is_own) in [("records of others", false), ("records of ours", true)] {
        let topic = ground.topic("events", PARTITIONS).await;
        fill(&ground, &topic.topic, count, is_own);
        for _ in 0..2 {
            let plain = plain(&ground, &topic.topic, count);
            let log = open(ground.options(vec![topic.clone()]));
            let ours = ours(&log, what, count).await;
            ratio(what, ours / plain);
        }
        ground.delete(&topic.topic).await;
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what this is for")]
fn ratio(what: &str, ratio: f64) {
    println!("{what}: {ratio:.2} of the plain consumer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "means something only in a release build on a quiet machine"]
async fn appending_batches_of_a_thousand() {
    let Some(ground) = ground() else { return };
    let topic = Topic { ..ground.topic("events", PARTITIONS).await };
    let log = open(ground.options(vec![topic]));
    let batches = records() / 5_000;
    for at_once in [1, 8] {
        let since = (Instant::now(), cpu());
        let mut appending = Vec::new();
        for lane in 0..at_once {
            let log = log.clone();
            appending.push(tokio::spawn(async move {
                let mut waits = Vec::new();
                for number in 0..batches / at_once {
                    let batch = sample("events", (lane * 1_000 + number) as u64, 1_000);
                    let since = Instant::now();
                    log.append(batch).await.expect("the log takes records");
                    waits.push(since.elapsed());
                }
                waits
            }));
        }
        let mut waits = Vec::new();
        for appending in appending {
            waits.extend(appending.await.expect("it appends to the end"));
        }
        waits.sort();
        say(
            &format!("{at_once} at once, half within {:?}", waits[waits.len() / 2]),
            batches / at_once * at_once * 1_000,
            since,
        );
    }
    ground.clear().await;
}
