//! A real topic whose records are deleted while the archive waits for its bucket: what it had read is in files, what it
//! had not is counted as lost, and it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sg_core::batch::EventBatch;
use sg_core::plan::Arrival;
use sg_core::ports::{EventLog as _, Manifest as _, ManifestQuery};
use sg_core::time::Timestamp;
use sg_log::kafka::topics::{self, Mode, Wanted};
use sg_log::kafka::{KafkaLog, KafkaOptions, Topic};
use sg_pipeline::archiver::{ArchivedStream, Archivers, Settings};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use crate::archiver::Ground;
use crate::behind::Weighing;
use crate::owner::plan;
use crate::support::{server, unique, until};

const PATIENCE: Duration = Duration::from_secs(60);
const EVENTS: u64 = 16_000;
const FIRST_KEPT: u64 = EVENTS - 10;

async fn open(brokers: &str, topic: &str) -> Arc<KafkaLog> {
    let options = KafkaOptions {
        brokers: brokers.to_owned(),
        group: topic.to_owned(),
        topics: vec![Topic { stream: "s".into(), topic: topic.to_owned() }],
        plans: vec![plan()],
        properties: Vec::new(),
        in_flight_bytes_max: 8 << 20,
        read_bytes_max: 1 << 20,
        session_timeout: Duration::from_secs(6),
    };
    let wanted = Wanted { partitions: 1, replication: None, retention_min: Vec::new(), outputs: Vec::new() };
    topics::ensure(&options, &wanted, Mode::Change).await.expect("the topic is made");
    Arc::new(KafkaLog::open(options).expect("a log"))
}

/// Appends sixteen megabytes that hardly pack: far more than a reader fetches ahead.
async fn append(log: &KafkaLog) {
    let plan = plan();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..EVENTS / 500 {
        let mut text = || {
            let mut fill = String::new();
            for _ in 0..64 {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                fill += &format!("{dice:016x}");
            }
            format!(r#"{{"timestamp":"2025-01-01T00:00:00Z","fill":"{fill}"}}"#)
        };
        let texts: Vec<String> = (0..500).map(|_| text()).collect();
        let main = Bytes::from(texts.concat());
        let mut batch = EventBatch::new(plan.name.clone(), main.clone());
        for at in (0..main.len()).step_by(texts[0].len()) {
            let mut new_id = || format!("e{at}");
            let mut arrival =
                Arrival { received_at: Some(Timestamp(1_735_689_600_000)), new_id: &mut new_id };
            let sent = std::str::from_utf8(&main[at..at + texts[0].len()]).expect("text");
            plan.accept(sent, &mut arrival, &mut batch).expect("a sound event");
        }
        log.append(batch).await.expect("appended");
    }
}

async fn delete_records(brokers: &str, topic: &str) {
    let mut config = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> =
        config.set("bootstrap.servers", brokers).create().expect("a client");
    let mut before = TopicPartitionList::new();
    let offset = Offset::Offset(FIRST_KEPT.cast_signed());
    before.add_partition_offset(topic, 0, offset).expect("an offset");
    admin.delete_records(&before, &AdminOptions::new()).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_goes_on_when_records_expire_before_it_reads_them() {
    let Some(brokers) = server("STREAMGAUGE_TEST_KAFKA") else { return };
    let (ground, topic) = (Ground::new().await, unique("expired"));
    let log = open(&brokers, &topic).await;
    append(&log).await;
    let bucket = Arc::new(Weighing {
        inner: ground.archive.clone(),
        weights: Arc::default(),
        has_cut: Arc::default(),
        has_written: AtomicBool::new(false),
        all: Arc::new(Barrier::new(2)),
    });
    let settings = ground.settings(1_000);
    let archived = ArchivedStream { archive: bucket.clone(), ..settings.streams[0].clone() };
    let settings = Settings { log: log.clone(), streams: vec![archived], ..settings };
    let stop = CancellationToken::new();
    let archivers = tokio::spawn(Archivers::new(settings).run(stop.clone()));
    until(PATIENCE, "a file is to be written", async || bucket.has_written.load(Ordering::Relaxed)).await;
    delete_records(&brokers, &topic).await;
    until(PATIENCE, "the broker has removed them", async || {
        log.extent("s", 0).await.expect("answered").start == FIRST_KEPT
    })
    .await;
    bucket.all.wait().await;
    until(PATIENCE, "the rest is archived", async || ground.archived_to().await == EVENTS).await;
    stop.cancel();
    archivers.await.expect("it ends").expect("it ends well");
    let position = ground.store.archive_positions().await.expect("answered").remove(0);
    let files = ManifestQuery { limit: 10_000, ..ManifestQuery::default() };
    let files = ground.store.archived_files(&files).await.expect("answered");
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    assert!(position.lost > 0 && position.removed_to == FIRST_KEPT, "{position:?}");
    assert_eq!(rows + position.lost, EVENTS, "{position:?}");
    log.close().await.expect("closed");
}
