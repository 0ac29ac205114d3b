//! Holes that transactions of others leave: passed over when they are known to be holes, never before.

use std::time::{Duration, Instant};

use rdkafka::producer::{BaseProducer, Producer};
use sg_core::ports::{EventLog, LogReader};

use crate::ground::{Ground, PATIENCE, ground, read, send, until};

fn transactional(ground: &Ground) -> BaseProducer {
    let mut config = ground.config();
    config.set("transactional.id", format!("tx-{}", ground.run));
    let producer: BaseProducer = config.create().expect("a producer can be made");
    producer.init_transactions(PATIENCE).expect("the broker knows transactions");
    producer
}

fn begin(producer: &BaseProducer, topic: &str, records: usize) {
    producer.begin_transaction().expect("a transaction can begin");
    for _ in 0..records {
        send(producer, topic, (Some(br#"{"event_type":"view"}"#), None));
    }
    producer.flush(PATIENCE).expect("the broker takes records");
}

async fn pass(reader: &mut dyn LogReader, offset: u64) {
    let since = Instant::now();
    while reader.passed() < offset {
        let none = reader.next(1 << 20, Duration::from_millis(100)).await.expect("a hole is no failure");
        assert!(none.is_empty(), "aborted records do not come");
        assert!(since.elapsed() < Duration::from_secs(3), "passed {} of {offset}", reader.passed());
    }
    assert_eq!(reader.passed(), offset);
}

#[tokio::test]
async fn aborted_records_at_the_end_are_passed_over_and_later_ones_come() {
    let Some(ground) = ground() else { return };
    let (log, topics) = ground.log(&["events"]).await;
    let topic = &topics["events"].topic;
    ground.produce(topic, &[(Some(br#"{"event_type":"view"}"#), None)]);
    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    read(&mut *reader, 1).await;
    let producer = transactional(&ground);
    for round in 0..3_u64 {
        let before = 1 + round * 7;
        assert_eq!(reader.passed(), before);
        begin(&producer, topic, 5);
        producer.abort_transaction(PATIENCE).expect("a transaction can be aborted");
        // Five records and the marker.
        pass(&mut *reader, before + 6).await;
        ground.produce(topic, &[(Some(br#"{"event_type":"view"}"#), None)]);
        let batches = read(&mut *reader, 1).await;
        assert_eq!(batches[0].first_offset, before + 6, "the record behind the hole");
    }
    // Also for a reader that begins inside a hole.
    let mut inside = log.open("events", 0, 17).await.expect("it can be opened");
    assert_eq!(read(&mut *inside, 1).await[0].first_offset, 21);
    ground.clear().await;
}

#[tokio::test]
async fn an_open_transaction_is_the_end_until_it_is_decided() {
    let Some(ground) = ground() else { return };
    let (log, topics) = ground.log(&["events"]).await;
    let topic = &topics["events"].topic;
    ground.produce(topic, &[(Some(br#"{"event_type":"view"}"#), None)]);
    let producer = transactional(&ground);
    begin(&producer, topic, 3);
    ground.produce(topic, &[(Some(br#"{"event_type":"view"}"#), None)]);
    let extent = log.extent("events", 0).await.expect("a partition has an extent");
    assert_eq!((extent.start, extent.end), (0, 1), "the end is the last stable offset");
    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    read(&mut *reader, 1).await;
    for _ in 0..10 {
        let none = reader.next(1 << 20, Duration::from_millis(100)).await.expect("waiting is no failure");
        assert!(none.is_empty(), "what is not decided does not come");
        assert_eq!(reader.passed(), 1, "and is not passed over");
    }
    producer.commit_transaction(PATIENCE).expect("a transaction can be committed");
    let batches = read(&mut *reader, 4).await;
    let offsets: Vec<u64> =
        batches.iter().flat_map(|batch| (0..batch.events.len()).map(|index| batch.place(index).0)).collect();
    assert_eq!(offsets, [1, 2, 3, 4]);
    pass(&mut *reader, 6).await;
    until("the extent ends behind the marker", async || {
        log.extent("events", 0).await.expect("a partition has an extent").end == 6
    })
    .await;
    ground.clear().await;
}
