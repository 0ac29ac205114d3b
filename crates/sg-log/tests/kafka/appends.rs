//! Appends when there is no room, no topic, or no end in sight.

use std::time::Duration;

use sg_core::ports::{ErrorKind, EventLog};
use sg_core::testing::log_suite::sample;
use sg_log::kafka::{KafkaLog, Topic};

use crate::ground::{ground, open, pause};

#[tokio::test]
async fn a_batch_without_room_is_refused_whole() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 1).await;
    let mut options = ground.options(vec![topic]);
    // Records wait for company so long that the second batch finds the first on its way.
    options.properties = vec![("linger.ms".into(), "3000".into())];
    options.in_flight_bytes_max = 100_000;
    let log = open(options);
    let first = async { log.append(sample("events", 1, 200)).await };
    let second = async {
        pause(Duration::from_millis(200)).await;
        let refused = log.append(sample("events", 2, 200)).await;
        assert!(log.stats().in_flight_bytes.get() > 50_000, "{}", log.stats().in_flight_bytes.get());
        let small = log.append(sample("events", 3, 1)).await;
        (refused, small)
    };
    let (first, (refused, small)) = tokio::join!(first, second);
    assert_eq!(first.expect("there was room")[0].next_offset, 200);
    assert_eq!(refused.err().map(|error| error.kind), Some(ErrorKind::Retry));
    assert!(small.is_ok(), "there was room for one: {small:?}");
    let extent = log.extent("events", 0).await.expect("a partition has an extent");
    assert_eq!(extent.end, 201, "nothing of the refused batch was written");
    assert_eq!(log.stats().appends_full.get(), 1);
    let too_large = log.append(sample("events", 4, 2_000)).await.err().map(|error| error.kind);
    assert_eq!(too_large, Some(ErrorKind::Invalid), "a batch that can never have room");
    assert!(log.append(sample("events", 5, 200)).await.is_ok(), "room comes back");
    let mut text = String::new();
    log.stats().render(&mut text);
    assert!(text.contains("streamgauge_kafka_records_appended_total 401"), "{text}");
    ground.clear().await;
}

#[tokio::test]
async fn what_cannot_be_delivered_in_time_may_be_sent_again() {
    let Some(ground) = ground() else { return };
    let topic = Topic { stream: "events".into(), topic: "nowhere".into() };
    let mut options = ground.options(vec![topic]);
    options.brokers = "127.0.0.1:9".into();
    options.properties = vec![("message.timeout.ms".into(), "1500".into())];
    let log = open(options);
    for count in [1, 2_000] {
        let failed = log.append(sample("events", 1, count)).await.err();
        assert_eq!(failed.as_ref().map(|error| error.kind), Some(ErrorKind::Retry), "{failed:?}");
    }
    assert_eq!(log.stats().delivery_failures.get(), 2_001);
    assert_eq!(log.stats().in_flight_bytes.get(), 0);
    assert!(log.stats().outages.get() <= 2, "told once by each client");
}

#[tokio::test]
async fn closing_waits_for_what_is_on_its_way() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 3).await;
    let mut options = ground.options(vec![topic]);
    options.properties = vec![("linger.ms".into(), "1000".into())];
    let log = open(options);
    let append = async { log.append(sample("events", 1, 1_000)).await };
    let close = async {
        pause(Duration::from_millis(300)).await;
        log.close().await
    };
    let (appended, closed) = tokio::join!(append, close);
    let appended = appended.expect("what was taken is durable");
    assert_eq!(appended.iter().map(|range| range.next_offset - range.first_offset).sum::<u64>(), 1_000);
    closed.expect("the log closes");
    let refused = log.append(sample("events", 2, 1)).await.err().map(|error| error.kind);
    assert_eq!(refused, Some(ErrorKind::Closed));
    ground.clear().await;
}

#[tokio::test]
async fn options_that_cannot_be_are_refused() {
    let Some(ground) = ground() else { return };
    let topic = |stream: &str, topic: &str| Topic { stream: stream.into(), topic: topic.into() };
    let base = ground.options(vec![topic("events", "events")]);
    let check = |name: &str, value: &str| {
        let mut options = base.clone();
        options.properties = vec![(name.into(), value.into())];
        let error = KafkaLog::open(options).err();
        assert_eq!(
            error.as_ref().map(|error| error.kind),
            Some(ErrorKind::Invalid),
            "{name}={value}: {error:?}"
        );
    };
    for (name, value) in [
        ("acks", "1"),
        ("request.required.acks", "1"),
        ("enable.idempotence", "false"),
        ("isolation.level", "read_uncommitted"),
        ("enable.auto.commit", "true"),
        ("auto.commit.enable", "true"),
        ("auto.offset.reset", "earliest"),
        ("partitioner", "random"),
        ("group.id", "other"),
        ("bootstrap.servers", "other:1"),
        ("transactional.id", "x"),
        ("no.such.setting", "x"),
        ("linger.ms", "soon"),
    ] {
        check(name, value);
    }
    for topics in
        [vec![topic("events", "a"), topic("events", "b")], vec![topic("events", "a"), topic("others", "a")]]
    {
        let mut options = base.clone();
        options.topics = topics;
        assert_eq!(KafkaLog::open(options).err().map(|error| error.kind), Some(ErrorKind::Invalid));
    }
    let log = open(base);
    let unknown = log.append(sample("others", 1, 1)).await.err().map(|error| error.kind);
    assert_eq!(unknown, Some(ErrorKind::Invalid), "a stream without a topic");
}
