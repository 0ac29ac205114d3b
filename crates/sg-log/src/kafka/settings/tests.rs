//! Which settings reach librdkafka.

use std::time::Duration;

use super::{check, member, producer, questions, reading, session_ms};
use crate::kafka::KafkaOptions;

fn options(properties: &[(&str, &str)]) -> KafkaOptions {
    KafkaOptions {
        brokers: "one:1,two:2".into(),
        group: "counters".into(),
        topics: Vec::new(),
        plans: Vec::new(),
        properties: properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        in_flight_bytes_max: 64 << 20,
        read_bytes_max: 48 << 20,
        session_timeout: Duration::from_secs(6),
    }
}

#[test]
fn properties_win_over_defaults_under_each_of_their_names() {
    let typed =
        options(&[("queue.buffering.max.ms", "50"), ("compression.codec", "zstd"), ("fetch.min.bytes", "9")]);
    check(&typed).expect("all of them may be set");
    let config = producer(&typed);
    assert_eq!((config.get("linger.ms"), config.get("queue.buffering.max.ms")), (Some("50"), None));
    assert_eq!((config.get("compression.type"), config.get("acks")), (Some("zstd"), Some("all")));
    assert_eq!(config.get("bootstrap.servers"), Some("one:1,two:2"));
    assert_eq!(reading(&typed, 6).get("fetch.min.bytes"), Some("9"));
}

#[test]
fn what_exactness_rests_on_is_refused() {
    for name in
        super::OURS.into_iter().chain(["request.required.acks", "auto.commit.enable", "partitioner_cb"])
    {
        let refused =
            check(&options(&[(name, "x")])).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains(name), "{name}: {refused}");
    }
}

#[test]
fn partitions_share_the_memory_for_reading_ahead() {
    let kbytes =
        |partitions| reading(&options(&[]), partitions).get("queued.max.messages.kbytes").map(str::to_owned);
    assert_eq!(kbytes(6).as_deref(), Some("4096"));
    assert_eq!(kbytes(1).as_deref(), Some("24576"));
    assert_eq!(kbytes(0).as_deref(), Some("24576"));
    assert_eq!(kbytes(1_000_000).as_deref(), Some("64"), "a fetch must fit");
}

#[test]
fn only_members_take_settings_of_the_group() {
    let typed = options(&[("group.protocol", "consumer"), ("group.instance.id", "a"), ("debug", "cgrp")]);
    let member = member(&typed);
    assert_eq!(member.get("group.protocol"), Some("consumer"));
    for decided_by_broker in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"]
    {
        assert_eq!(member.get(decided_by_broker), None, "{decided_by_broker} would be refused");
    }
    for config in [reading(&typed, 1), questions(&typed), producer(&typed)] {
        assert_eq!((config.get("group.protocol"), config.get("group.instance.id")), (None, None));
    }
    assert_eq!(reading(&typed, 1).get("debug"), Some("metadata,cgrp"), "topic ids are told there");
}

#[test]
fn a_member_may_be_silent_as_long_as_its_session() {
    assert_eq!(session_ms(&options(&[])), 6_000);
    assert_eq!(session_ms(&options(&[("session.timeout.ms", "9000")])), 9_000);
    assert_eq!(session_ms(&options(&[("group.protocol", "consumer")])), 45_000);
    let member = member(&options(&[]));
    assert_eq!(
        (member.get("session.timeout.ms"), member.get("heartbeat.interval.ms")),
        (Some("6000"), Some("2000"))
    );
}
