//! Topics are made, corrected and reported on, and nothing else of them is touched.

use std::time::Duration;

use rdkafka::admin::ResourceSpecifier;
use sg_core::ports::ErrorKind;
use sg_log::kafka::Topic;
use sg_log::kafka::topics::{Mode, TopicReport, TopicState, Wanted, ensure};

use crate::ground::{Ground, ground, wait};

async fn value(ground: &Ground, topic: &str, name: &str) -> String {
    let asked = ground.admin().describe_configs(&[ResourceSpecifier::Topic(topic)], &wait()).await;
    let found = asked.expect("the broker answers").pop().expect("one was asked for").expect("it is there");
    found.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default()
}

fn wanted(partitions: u32) -> Wanted {
    Wanted { partitions, replication: None, retention_min: Vec::new(), outputs: Vec::new() }
}

fn has_note(report: &TopicReport, part: &str) -> bool {
    report.notes.iter().any(|note| note.contains(part))
}

#[tokio::test]
async fn missing_topics_are_made_and_then_right() {
    let Some(ground) = ground() else { return };
    let topic = Topic { stream: "events".into(), topic: ground.name("fresh") };
    let options = ground.options(vec![topic.clone()]);
    let check = ensure(&options, &wanted(3), Mode::Check).await.expect("the broker answers");
    assert_eq!((check[0].state, check[0].partitions), (TopicState::Missing, 0));
    let again = ensure(&options, &wanted(3), Mode::Check).await.expect("the broker answers");
    assert_eq!(again, check, "a check makes nothing");
    let long = Duration::from_secs(30 * 24 * 3_600);
    let wanted = Wanted { retention_min: vec![(topic.topic.clone(), long)], ..wanted(3) };
    let made = ensure(&options, &wanted, Mode::Change).await.expect("the broker makes topics");
    assert_eq!((made[0].state, made[0].partitions), (TopicState::Made, 3));
    assert!(has_note(&made[0], "fewer than three copies"), "{made:?}");
    let right = ensure(&options, &wanted, Mode::Change).await.expect("the broker answers");
    assert_eq!(
        (right[0].state, right[0].partitions, right[0].notes.len()),
        (TopicState::Right, 3, 0),
        "{right:?}"
    );
    assert_eq!(value(&ground, &topic.topic, "message.timestamp.type").await, "LogAppendTime");
    assert_eq!(value(&ground, &topic.topic, "retention.ms").await, long.as_millis().to_string());
    ground.delete(&topic.topic).await;
    ground.clear().await;
}

#[tokio::test]
async fn a_wrong_time_is_corrected_and_nothing_else_is_lost() {
    let Some(ground) = ground() else { return };
    let name = ground.name("old");
    let by_hand = [
        ("message.timestamp.type", "CreateTime"),
        ("retention.ms", "3600000"),
        ("retention.bytes", "1000000000"),
        ("segment.bytes", "2000000"),
        ("cleanup.policy", "compact,delete"),
        ("max.message.bytes", "2000000"),
    ];
    ground.make(&name, 2, &by_hand).await;
    let options = ground.options(vec![Topic { stream: "events".into(), topic: name.clone() }]);
    let wanted = Wanted { retention_min: vec![(name.clone(), Duration::from_secs(86_400))], ..wanted(6) };
    let check = ensure(&options, &wanted, Mode::Check).await.expect("the broker answers");
    assert_eq!((check[0].state, check[0].partitions), (TopicState::Wrong, 2));
    assert_eq!(
        value(&ground, &name, "message.timestamp.type").await,
        "CreateTime",
        "a check changes nothing"
    );
    let corrected = ensure(&options, &wanted, Mode::Change).await.expect("the broker corrects topics");
    assert_eq!((corrected[0].state, corrected[0].partitions), (TopicState::Corrected, 2));
    for part in
        ["has 2 partitions and 6 are wanted", "retention.ms is 3600000", "retention.bytes", "compacts"]
    {
        assert!(has_note(&corrected[0], part), "{part}: {corrected:?}");
    }
    assert_eq!(value(&ground, &name, "message.timestamp.type").await, "LogAppendTime");
    for (setting, kept) in &by_hand[1..] {
        assert_eq!(value(&ground, &name, setting).await, *kept, "{setting} was wiped");
    }
    let right = ensure(&options, &wanted, Mode::Change).await.expect("the broker answers");
    assert_eq!(right[0].state, TopicState::Right);
    ground.clear().await;
}

#[tokio::test]
async fn what_cannot_be_made_is_an_error() {
    let Some(ground) = ground() else { return };
    let options = ground.options(vec![Topic { stream: "events".into(), topic: ground.name("none") }]);
    let none = ensure(&options, &wanted(0), Mode::Change).await.err().map(|error| error.kind);
    assert_eq!(none, Some(ErrorKind::Invalid));
    let copies = Wanted { replication: Some(7), ..wanted(1) };
    let refused = ensure(&options, &copies, Mode::Change).await.err();
    assert!(refused.is_some(), "one broker cannot hold seven copies");
    let mut nowhere = options;
    nowhere.brokers = "127.0.0.1:9".into();
    let unreached = ensure(&nowhere, &wanted(1), Mode::Check).await.err().map(|error| error.kind);
    assert_eq!(unreached, Some(ErrorKind::Retry));
    ground.clear().await;
}

#[tokio::test]
async fn output_topics_are_made_and_left_as_they_are() {
    let Some(ground) = ground() else { return };
    let (fresh, old) = (ground.name("out"), ground.name("theirs"));
    ground.make(&old, 1, &[("cleanup.policy", "compact")]).await;
    let wanted = Wanted { outputs: vec![fresh.clone(), old.clone()], ..wanted(2) };
    let options = ground.options(Vec::new());
    let check = ensure(&options, &wanted, Mode::Check).await.expect("the broker answers");
    assert_eq!(
        check.iter().map(|report| report.state).collect::<Vec<_>>(),
        [TopicState::Missing, TopicState::Right]
    );
    let made = ensure(&options, &wanted, Mode::Change).await.expect("the broker makes topics");
    assert_eq!((made[0].state, made[0].partitions, made[1].state), (TopicState::Made, 2, TopicState::Right));
    assert_eq!(value(&ground, &fresh, "message.timestamp.type").await, "CreateTime");
    ground.delete(&fresh).await;
    ground.clear().await;
}
