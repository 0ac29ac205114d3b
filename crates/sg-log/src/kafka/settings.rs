//! From options to the settings of librdkafka's clients. Settings that exactness rests on cannot be changed.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use sg_core::ports::{ErrorKind, PortError};

use super::KafkaOptions;

/// Settings that the promises rest on, or that options of their own stand for.
const OURS: [&str; 13] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "partitioner",
    "transactional.id",
    "log.queue",
    "statistics.interval.ms",
];

/// Settings of a group's members: a consumer that joins no group refuses or ignores them.
const OF_MEMBERS: [&str; 8] = [
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

/// Memory that librdkafka takes for a record beside its value, about: the operation that carries it.
const RECORD_OVERHEAD_BYTES: u64 = 320;
/// Records read ahead per partition at least: fewer would leave the reader waiting between two fetches.
const READ_AHEAD_RECORDS_MIN: u64 = 1_000;
/// How soon a topic that was made again is noticed at the latest, also where no fetch trips over it.
const REFRESH_MS: &str = "10000";
/// How long a topic that is there may be unknown to a broker: so soon after its deletion its readers stop.
const PROPAGATION_MS: &str = "10000";
/// How long a member may stay silent under the group protocol in which the broker decides (its own default).
const BROKER_SESSION_MS: u64 = 45_000;

/// Returns the name under which librdkafka knows a setting that has several.
fn canonical(name: &str) -> &str {
    match name {
        "auto.commit.enable" => "enable.auto.commit",
        "compression.codec" => "compression.type",
        "delivery.timeout.ms" => "message.timeout.ms",
        "fetch.message.max.bytes" => "max.partition.fetch.bytes",
        "max.in.flight" => "max.in.flight.requests.per.connection",
        "message.send.max.retries" => "retries",
        "metadata.broker.list" => "bootstrap.servers",
        "partitioner_cb" => "partitioner",
        "queue.buffering.max.ms" => "linger.ms",
        "request.required.acks" => "acks",
        other => other,
    }
}

/// Refuses properties that would break a promise.
pub(super) fn check(options: &KafkaOptions) -> Result<(), PortError> {
    for (name, _) in &options.properties {
        if OURS.contains(&canonical(name)) {
            let doing = format!(
                "use the kafka property {name}: exactness rests on its value, which cannot be changed; remove it"
            );
            return Err(PortError::new(ErrorKind::Invalid, doing));
        }
    }
    Ok(())
}

/// Makes the settings of a client: what all have, its own defaults, the properties, then what cannot be changed.
fn client(
    options: &KafkaOptions,
    defaults: &[(&str, String)],
    fixed: &[(&str, &str)],
    takes: impl Fn(&str) -> bool,
) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in [
        ("client.id", "streamgauge"),
        ("reconnect.backoff.max.ms", "2000"),
        ("socket.keepalive.enable", "true"),
        ("socket.nagle.disable", "true"),
    ] {
        config.set(name, value);
    }
    for (name, value) in defaults {
        config.set(*name, value);
    }
    for (name, value) in options.properties.iter().filter(|(name, _)| takes(name)) {
        config.set(canonical(name), value);
    }
    for (name, value) in fixed {
        config.set(*name, *value);
    }
    config.set("bootstrap.servers", &options.brokers);
    config
}

/// Returns the settings of the producer. Its queue never says that it is full: room is given out before.
pub(super) fn producer(options: &KafkaOptions) -> ClientConfig {
    let bytes_max = options.in_flight_bytes_max as u64;
    let defaults = [
        ("linger.ms", "3".to_owned()),
        ("batch.size", "1000000".to_owned()),
        ("compression.type", "lz4".to_owned()),
        ("message.timeout.ms", "30000".to_owned()),
        ("queue.buffering.max.messages", (bytes_max / 64).clamp(100_000, 10_000_000).to_string()),
        ("queue.buffering.max.kbytes", (bytes_max / 512).clamp(65_536, 2_097_151).to_string()),
    ];
    let fixed = [("acks", "all"), ("enable.idempotence", "true"), ("partitioner", "murmur2_random")];
    client(options, &defaults, &fixed, |name| !OF_MEMBERS.contains(&name))
}

/// What no consumer of ours may do otherwise.
const CONSUMER_FIXED: [(&str, &str); 5] = [
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
];

/// Returns the settings of the consumer that reads, whose memory is shared by so many partitions.
pub(super) fn reading(options: &KafkaOptions, partitions: u32) -> ClientConfig {
    let share = options.read_bytes_max as u64 / u64::from(partitions.max(1));
    let defaults = [
        // The default of one second leaves a queue that ran empty waiting that long.
        ("fetch.queue.backoff.ms", "5".to_owned()),
        ("fetch.min.bytes", "1".to_owned()),
        // A partition that is opened waits for the fetch that is under way.
        ("fetch.wait.max.ms", "100".to_owned()),
        ("fetch.error.backoff.ms", "100".to_owned()),
        ("max.partition.fetch.bytes", (share / 4).clamp(64 << 10, 1 << 20).to_string()),
        ("queued.max.messages.kbytes", (share / 2 / 1024).clamp(64, 2_097_151).to_string()),
        (
            "queued.min.messages",
            (share / 2 / RECORD_OVERHEAD_BYTES).clamp(READ_AHEAD_RECORDS_MIN, 1_000_000).to_string(),
        ),
        ("check.crcs", "true".to_owned()),
        ("topic.metadata.refresh.interval.ms", REFRESH_MS.to_owned()),
        ("topic.metadata.propagation.max.ms", PROPAGATION_MS.to_owned()),
    ];
    let mut config = client(options, &defaults, &CONSUMER_FIXED, |name| !OF_MEMBERS.contains(&name));
    tell_topic_ids(options, &mut config);
    // Partitions can be given by hand only to a consumer with a group, which it does not join.
    config.set("group.id", &options.group);
    config
}

/// Returns the settings of the client that asks questions.
pub(super) fn questions(options: &KafkaOptions) -> ClientConfig {
    let defaults = [
        ("topic.metadata.refresh.interval.ms", REFRESH_MS.to_owned()),
        ("topic.metadata.propagation.max.ms", PROPAGATION_MS.to_owned()),
    ];
    let mut config = client(options, &defaults, &CONSUMER_FIXED, |name| !OF_MEMBERS.contains(&name));
    tell_topic_ids(options, &mut config);
    config
}

/// Lets a client tell the ids of topics, which it does only there: see `topic_ids`.
fn tell_topic_ids(options: &KafkaOptions, config: &mut ClientConfig) {
    let typed = options.properties.iter().find(|(name, _)| name == "debug");
    config.set("debug", typed.map_or("metadata".to_owned(), |(_, value)| format!("metadata,{value}")));
    config.set_log_level(RDKafkaLogLevel::Debug);
}

/// Returns the settings of the consumer that is a member of the group and reads nothing.
pub(super) fn member(options: &KafkaOptions) -> ClientConfig {
    let session_ms = options.session_timeout.as_millis();
    let mut defaults = vec![
        ("max.poll.interval.ms", session_ms.max(300_000).to_string()),
        ("queued.min.messages", "1".to_owned()),
        ("queued.max.messages.kbytes", "64".to_owned()),
        ("topic.metadata.refresh.interval.ms", "30000".to_owned()),
    ];
    if !broker_decides(options) {
        defaults.extend([
            ("partition.assignment.strategy", "cooperative-sticky".to_owned()),
            ("session.timeout.ms", session_ms.to_string()),
            ("heartbeat.interval.ms", (session_ms / 3).clamp(1, 3_000).to_string()),
        ]);
    }
    let mut config = client(options, &defaults, &CONSUMER_FIXED, |_| true);
    config.set("group.id", &options.group);
    config
}

/// Returns the settings of the client that makes and checks topics.
pub(super) fn admin(options: &KafkaOptions) -> ClientConfig {
    client(options, &[], &[], |name| !OF_MEMBERS.contains(&name))
}

/// Returns whether the group's protocol is the one in which the broker assigns partitions and times members out.
fn broker_decides(options: &KafkaOptions) -> bool {
    let is_set =
        |(name, value): &(String, String)| name == "group.protocol" && value.eq_ignore_ascii_case("consumer");
    options.properties.iter().any(is_set)
}

/// Returns how long a member may be silent before its partitions are given to others.
pub(super) fn session_ms(options: &KafkaOptions) -> u64 {
    if broker_decides(options) {
        return BROKER_SESSION_MS.max(options.session_timeout.as_millis() as u64);
    }
    let typed = options.properties.iter().find(|(name, _)| name == "session.timeout.ms");
    typed.and_then(|(_, value)| value.parse().ok()).unwrap_or(options.session_timeout.as_millis() as u64)
}

#[cfg(test)]
mod tests;
