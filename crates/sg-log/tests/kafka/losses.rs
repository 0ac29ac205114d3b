//! Records that are gone, and topics that are not what they were: the partition stops and says why.

use std::time::{Duration, Instant};

use rdkafka::{Offset, TopicPartitionList};
use sg_core::ports::{ErrorKind, EventLog};
use sg_core::testing::log_suite::sample;
use sg_log::kafka::{KafkaLog, Topic};

use crate::ground::{Ground, ground, open, read, read_to_failure, until, wait};

async fn delete_records(ground: &Ground, topic: &str, before: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(before)).expect("an offset can be said");
    ground.admin().delete_records(&list, &wait()).await.expect("the broker deletes records");
}

async fn fill(log: &KafkaLog, count: usize) {
    let mut left = count;
    while left > 0 {
        let batch = left.min(5_000);
        log.append(sample("events", 1, batch)).await.expect("the log takes records");
        left -= batch;
    }
}

#[tokio::test]
async fn records_deleted_before_they_are_read_stop_the_partition() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 1).await;
    let mut options = ground.options(vec![topic.clone()]);
    // Little is read ahead, so that most is still with the broker when it is deleted.
    options.read_bytes_max = 1;
    let log = open(options);
    fill(&log, 100_000).await;
    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    read(&mut *reader, 1).await;
    delete_records(&ground, &topic.topic, 99_000).await;
    let (error, before) = read_to_failure(&mut *reader).await;
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    let last = before.last().copied().unwrap_or_default();
    assert!(last < 99_000 && reader.passed() < 99_000, "nothing is passed over: {last}");
    assert!(error.to_string().contains("does not hold that offset"), "{error}");
    assert_eq!(log.stats().stops.get(), 1);
    let refused = log.open("events", 0, 5).await.err().map(|error| error.kind);
    assert_eq!(refused, Some(ErrorKind::Invalid));
    assert_eq!(log.extent("events", 0).await.expect("a partition has an extent").start, 99_000);
    ground.clear().await;
}

#[tokio::test]
async fn a_deleted_topic_stops_its_readers() {
    let Some(ground) = ground() else { return };
    let (log, topics) = ground.log(&["events"]).await;
    fill(&log, 10).await;
    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    read(&mut *reader, 10).await;
    let since = Instant::now();
    ground.delete(&topics["events"].topic).await;
    let (error, before) = read_to_failure(&mut *reader).await;
    assert_eq!((error.kind, before.len()), (ErrorKind::Corrupt, 0), "{error}");
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    let unknown = log.extent("events", 0).await.err().map(|error| error.kind);
    assert_eq!(unknown, Some(ErrorKind::Corrupt));
    ground.clear().await;
}

/// Makes a topic again under the same name with so many records, as fast as the broker allows.
async fn make_again(ground: &Ground, topic: &Topic, records: usize) {
    ground.delete(&topic.topic).await;
    let settings = [("message.timestamp.type", "LogAppendTime")];
    until("the name is free", async || ground.try_make(&topic.topic, 1, &settings).await).await;
    let log = open(ground.options(vec![topic.clone()]));
    fill(&log, records).await;
    log.close().await.expect("the log closes");
}

#[tokio::test]
async fn a_topic_made_again_under_a_reader_stops_it() {
    let Some(ground) = ground() else { return };
    // The new topic is shorter than the place of the reader, and longer: then nothing else would notice.
    for records in [3, 30_000] {
        let topic = ground.topic("events", 1).await;
        let log = open(ground.options(vec![topic.clone()]));
        fill(&log, 1_000).await;
        let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
        read(&mut *reader, 1_000).await;
        make_again(&ground, &topic, records).await;
        let (error, after) = read_to_failure(&mut *reader).await;
        assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
        assert!(after.is_empty(), "records of the new topic were taken for the old one's: {after:?}");
        let refused = log.open("events", 0, 0).await.err().map(|error| error.kind);
        assert_eq!(refused, Some(ErrorKind::Corrupt), "also for readers to come");
        let unknown = log.identity("events").await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(unknown.contains("deleted and made again"), "{unknown}");
    }
    ground.clear().await;
}

/// A reader that is reading while its topic is replaced by a longer one: not one record of the new one comes.
#[tokio::test]
async fn a_topic_made_again_under_a_busy_reader_gives_no_record() {
    let Some(ground) = ground() else { return };
    for _ in 0..3 {
        let topic = ground.topic("events", 1).await;
        let log = open(ground.options(vec![topic.clone()]));
        fill(&log, 1_000).await;
        let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
        read(&mut *reader, 1_000).await;
        let (read, ()) = tokio::join!(read_to_failure(&mut *reader), make_again(&ground, &topic, 20_000));
        assert_eq!(read.0.kind, ErrorKind::Corrupt, "{}", read.0);
        assert!(read.1.is_empty(), "records of the new topic came: {:?}", read.1);
    }
    ground.clear().await;
}

#[tokio::test]
async fn a_topic_made_again_between_runs_is_another_log() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 1).await;
    let log = open(ground.options(vec![topic.clone()]));
    let before = log.identity("events").await.expect("a log has an identity");
    log.close().await.expect("the log closes");
    drop(log);
    make_again(&ground, &topic, 3).await;
    let log = open(ground.options(vec![topic]));
    let after = log.identity("events").await.expect("a log has an identity");
    assert_ne!(before, after);
    ground.clear().await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_named_with_the_remedy() {
    let Some(ground) = ground() else { return };
    let topic = Topic { stream: "events".into(), topic: ground.name("nowhere") };
    let log = open(ground.options(vec![topic]));
    let error = log.partitions("events").await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("streamgauge topics ensure"), "{error}");
    ground.clear().await;
}
