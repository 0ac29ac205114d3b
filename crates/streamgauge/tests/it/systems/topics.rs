//! Topics that other programs write and read: records as the five systems' producers make them are counted, and what the
//! doors took lies in the topic under the key that their consumers expect. Both with Kafka's own command line.

use super::{Launch, Server, builtin_named, flush, unused_name};
use crate::harness::services::Services;
use crate::harness::{PATIENCE, until};
use crate::systems::Database;

const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

/// Runs a check against a server with topics of its own.
fn with_topics(check: impl Fn(&Server, &Services, &str)) {
    let Some(services) = Services::shared() else { return };
    let name = unused_name();
    let (log, store) = (format!("kafka://{}", services.kafka()), services.database(&name));
    let launch = Launch::new().config(&builtin_named(&name)).args(&["--log", &log, "--store", &store]);
    let server = Server::ready(&launch);
    check(&server, &services, &name);
    drop(server);
    Database::Postgres { services, name }.drop_it();
}

fn produce(services: &Services, topic: &str, records: &[(&str, &str)]) {
    let lines: String = records.iter().map(|(key, value)| format!("{key}|{value}\n")).collect();
    let keyed = ["--property", "parse.key=true", "--property", "key.separator=|"];
    services.kafka_tool_fed(PRODUCER, &[&["--topic", topic][..], &keyed].concat(), &lines);
}

/// Waits until a rollup has these rows: dimension and count.
fn counted(server: &Server, rollup: &str, by: &str, measure: &str, expect: &[&str]) {
    let mut found: Vec<String> = Vec::new();
    until(3 * PATIENCE, &format!("{rollup} has {expect:?}"), || {
        flush(server);
        let answer = server.get(&format!("/v1/rollups/{rollup}")).json();
        let rows = answer["data"].as_array().expect("rows").iter();
        found =
            rows.map(|row| format!("{} {}", row[by].as_str().unwrap_or_default(), row[measure])).collect();
        found.sort();
        found == expect
    });
}

#[test]
fn what_their_producers_write_is_counted() {
    with_topics(|server, services, name| {
        produce(
            services,
            &format!("{name}.pageviews"),
            &[
                (
                    "SW19",
                    r#"{"user_id":1234,"postcode":"SW19","webpage":"www.website.com/index.html","timestamp":1611662684}"#,
                ),
                (
                    "SW19",
                    r#"{"user_id":1234,"postcode":"SW19","webpage":"www.website.com/index.html","timestamp":1611662684}"#,
                ),
                ("EC1", r#"{"user_id":2,"postcode":"EC1","webpage":"www.b.com","timestamp":1611662685}"#),
            ],
        );
        counted(server, "pageview_aggregates", "postcode", "pageview_count", &["EC1 1", "SW19 2"]);
        produce(
            services,
            &format!("{name}.stream.events"),
            &[
                (
                    "s1",
                    r#"{"event_id":"1","ts":"2025-01-01T00:00:00Z","event_type":"donation","stream_id":"s1","user_id":"u1","amount_usd":12.5}"#,
                ),
                (
                    "s1",
                    r#"{"event_id":"2","ts":"2025-01-01T00:00:01Z","event_type":"chat_message","stream_id":"s1","user_id":"u2","message_len":7}"#,
                ),
                (
                    "s1",
                    r#"{"event_id":"1","ts":"2025-01-01T00:00:00Z","event_type":"donation","stream_id":"s1","user_id":"u1","amount_usd":12.5}"#,
                ),
            ],
        );
        counted(server, "stream_metrics_minute", "stream_id", "donations_usd", &["s1 12.5"]);
        produce(
            services,
            &format!("{name}.events"),
            &[
                (
                    "test-1",
                    r#"{"sessionId":"test-1","eventType":"page_view","payload":"{\"path\":\"/home\"}","eventId":"e1","ts":1735689600000}"#,
                ),
                (
                    "u1",
                    r#"{"event_id":"e2","user_id":"u1","event_name":"signup","metadata":{},"timestamp":"2025-01-01T00:00:00Z"}"#,
                ),
                ("u1", r#"{"user_id":"u1"}"#),
            ],
        );
        counted(server, "hourly_aggregations", "event_type", "event_count", &["page_view 1", "signup 1"]);
        // What cannot be counted is told, not dropped.
        let letters = server.get("/v1/dead-letters?stream=events").json();
        assert_eq!(letters["data"][0]["reason"], "missing_event_type");
        assert_eq!(letters["data"][0]["raw"], r#"{"user_id":"u1"}"#);
    });
}

#[test]
fn what_the_doors_took_lies_under_the_keys_that_are_expected() {
    with_topics(|server, services, name| {
        let pageview = r#"{"user_id":1,"postcode":"SW19","webpage":"w","timestamp":1611662684}"#;
        let session = r#"{"sessionId":"test-1","eventType":"page_view","user_id":"u9"}"#;
        let user = r#"{"user_id":"u1","event_name":"signup"}"#;
        let nobody = r#"{"event_id":"e7","event_name":"signup"}"#;
        let stream = r#"{"event_type":"donation","stream_id":"s1","amount_usd":1}"#;
        for (path, event) in [
            ("/api/pageviews", pageview),
            ("/events", session),
            ("/events", user),
            ("/events", nobody),
            ("/v1/events?stream=stream.events", stream),
        ] {
            assert_eq!(server.post(path, &[], event).status, 202, "{path}");
        }
        for (topic, expect) in [
            ("pageviews", vec![format!("SW19|{pageview}")]),
            ("events", vec![format!("e7|{nobody}"), format!("test-1|{session}"), format!("u1|{user}")]),
            ("stream.events", vec![format!("s1|{stream}")]),
        ] {
            let topic = format!("{name}.{topic}");
            let count = expect.len().to_string();
            let keyed = ["--property", "print.key=true", "--property", "key.separator=|"];
            let what = [
                "--topic",
                topic.as_str(),
                "--from-beginning",
                "--max-messages",
                &count,
                "--timeout-ms",
                "60000",
            ];
            let read = services.kafka_tool(CONSUMER, &[&what[..], &keyed].concat());
            let mut lines: Vec<&str> = read.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, expect, "{topic}");
        }
        let described = services.kafka_tool(TOPICS, &["--describe", "--topic", &format!("{name}.events")]);
        assert!(described.contains("PartitionCount: 6"), "{described}");
    });
}
