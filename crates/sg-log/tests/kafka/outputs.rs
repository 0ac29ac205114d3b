//! Topics that others read: what arrives, and what a topic refuses.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use sg_core::output::OutputRecord;
use sg_core::ports::OutputTopics as _;
use sg_log::kafka::KafkaOutputs;

use crate::ground::{Ground, PATIENCE, ground};

fn record(topic: &str, key: Option<&str>, value: Vec<u8>) -> OutputRecord {
    OutputRecord {
        topic: topic.to_owned(),
        key: key.map(|key| key.as_bytes().to_vec()),
        value,
        headers: vec![("kind", b"closed".to_vec()), ("detail", "naïve".into())],
    }
}

/// Key, value and headers.
type Found = (Option<Vec<u8>>, Vec<u8>, Vec<(String, Vec<u8>)>);

/// Reads so many records of a topic of one partition.
fn read(ground: &Ground, topic: &str, count: usize) -> Vec<Found> {
    let consumer: BaseConsumer =
        ground.config().set("group.id", "none").create().expect("a consumer can be made");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning).expect("it has a beginning");
    consumer.assign(&partitions).expect("it can be assigned");
    let mut found = Vec::new();
    while found.len() < count {
        let message = consumer.poll(PATIENCE).expect("records come").expect("records can be read");
        let headers = message.headers().expect("headers").iter();
        let headers = headers.map(|one| (one.key.to_owned(), one.value.unwrap_or_default().to_vec()));
        found.push((
            message.key().map(<[u8]>::to_vec),
            message.payload().unwrap_or_default().to_vec(),
            headers.collect(),
        ));
    }
    assert!(consumer.poll(Duration::from_millis(300)).is_none(), "and no more");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_as_they_are_in_their_order() {
    let Some(ground) = ground() else { return };
    let topic = ground.name("out");
    ground.make(&topic, 1, &[]).await;
    let outputs = KafkaOutputs::open(&ground.options(Vec::new())).expect("a producer");
    let records: Vec<OutputRecord> =
        (0..2_000).map(|nth| record(&topic, Some("k"), format!("{nth}").into_bytes())).collect();
    assert_eq!(outputs.produce(&records).await.expect("the broker is there"), []);
    let odd = [record(&topic, None, b"\xff\0".to_vec()), record(&topic, Some(""), Vec::new())];
    assert_eq!(outputs.produce(&odd).await.expect("the broker is there"), []);
    let found = read(&ground, &topic, 2_002);
    let order: Vec<String> =
        found[..2_000].iter().map(|(_, value, _)| String::from_utf8_lossy(value).into_owned()).collect();
    assert_eq!(order, (0..2_000).map(|nth| nth.to_string()).collect::<Vec<_>>());
    let headers =
        vec![("kind".to_owned(), b"closed".to_vec()), ("detail".to_owned(), "naïve".as_bytes().to_vec())];
    assert_eq!(found[0], (Some(b"k".to_vec()), b"0".to_vec(), headers.clone()));
    assert_eq!(found[2_000], (None, b"\xff\0".to_vec(), headers.clone()));
    assert_eq!(found[2_001], (Some(Vec::new()), Vec::new(), headers));
    ground.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_too_large_is_refused_not_what_stands_beside_it() {
    let Some(ground) = ground() else { return };
    let topic = ground.name("small");
    ground.make(&topic, 1, &[("max.message.bytes", "2000"), ("compression.type", "uncompressed")]).await;
    let mut options = ground.options(Vec::new());
    options.properties.push(("compression.type".to_owned(), "none".to_owned()));
    let outputs = KafkaOutputs::open(&options).expect("a producer");
    let records: Vec<OutputRecord> = (0..30)
        .map(|nth| record(&topic, Some("k"), vec![b'x'; if nth % 10 == 3 { 5_000 } else { 300 }]))
        .collect();
    let refused = outputs.produce(&records).await.expect("the broker is there");
    assert!(refused.iter().all(|refused| refused.is_too_large), "{refused:?}");
    assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [3, 13, 23]);
    assert_eq!(read(&ground, &topic, 27).len(), 27);
    // Larger than the client takes at all.
    let huge = [record(&topic, None, vec![0; 2 << 20])];
    assert!(outputs.produce(&huge).await.expect("it is refused here")[0].is_too_large);
    ground.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_refuses_a_record_takes_the_others() {
    let Some(ground) = ground() else { return };
    let (topic, other) = (ground.name("compacted"), ground.name("other"));
    ground.make(&topic, 1, &[("cleanup.policy", "compact")]).await;
    ground.make(&other, 1, &[]).await;
    let outputs = KafkaOutputs::open(&ground.options(Vec::new())).expect("a producer");
    // A compacted topic takes no record without a key.
    let records: Vec<OutputRecord> = (0..6)
        .map(|nth| {
            record(if nth == 5 { &other } else { &topic }, (nth != 2).then_some("k"), vec![b'0' + nth])
        })
        .collect();
    let refused = outputs.produce(&records).await.expect("the broker is there");
    let missing = [record(&ground.name("never-made"), None, Vec::new()), record(&other, None, b"6".to_vec())];
    let unknown = outputs.produce(&missing).await.expect("the broker is there");
    assert_eq!(unknown.iter().map(|one| (one.index, one.is_too_large)).collect::<Vec<_>>(), [(0, false)]);
    let indexes: Vec<(usize, bool)> = refused.iter().map(|one| (one.index, one.is_too_large)).collect();
    assert_eq!(indexes, [(2, false)], "{refused:?}");
    let taken: BTreeSet<Vec<u8>> = read(&ground, &topic, 4).into_iter().map(|(_, value, _)| value).collect();
    assert_eq!(taken, [b"0", b"1", b"3", b"4"].map(|value| value.to_vec()).into_iter().collect());
    assert_eq!(read(&ground, &other, 2).len(), 2);
    ground.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_it_is_not_known_what_arrived() {
    let Some(ground) = ground() else { return };
    let mut options = ground.options(Vec::new());
    options.brokers = "127.0.0.1:1".to_owned();
    options.properties.push(("message.timeout.ms".to_owned(), "500".to_owned()));
    let outputs = KafkaOutputs::open(&options).expect("a producer");
    let error = outputs.produce(&[record("any", None, Vec::new())]).await.expect_err("nobody answers");
    assert_eq!(error.kind, sg_core::ports::ErrorKind::Retry);
}
