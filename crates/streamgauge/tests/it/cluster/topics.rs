//! What happens to a topic behind the server's back: deleted and made again, or of another shape than is needed.

use std::time::Duration;

use super::{Cluster, turn};
use crate::harness::services::Services;
use crate::harness::witness::audit;
use crate::harness::{Server, run, until};

const PATIENCE: Duration = Duration::from_secs(90);
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

fn post(server: &Server, ids: std::ops::Range<u32>) {
    let event = |id: u32| format!("{{\"id\":\"{id}\",\"type\":\"a\",\"user_id\":\"u{}\"}}", id % 40);
    let lines: Vec<String> = ids.map(event).collect();
    let ndjson = [("content-type", "application/x-ndjson")];
    assert_eq!(server.post("/events?wait=true", &ndjson, lines.join("\n")).status, 202);
}

/// Waits until the server says on `/readyz`, in a metric and in its log that partitions stand still.
fn stands_still(server: &Server) {
    let mut told = String::new();
    until(PATIENCE, "the server says that a partition stands still", || {
        let answer = server.get("/readyz");
        told = answer.text();
        answer.status == 503 && told.contains("stands still")
    });
    let metrics = server.get("/metrics").text();
    let is_in_metrics = metrics
        .lines()
        .any(|line| line.starts_with("streamgauge_partition_stopped{") && line.ends_with(" 1"));
    assert!(is_in_metrics, "{metrics}");
    assert!(server.stderr().contains("partition stopped"), "{}", server.stderr());
}

fn total(server: &Server) -> u64 {
    let rows = server.get("/v1/rollups/hourly_aggregations").json();
    rows["data"].as_array().expect("rows").iter().filter_map(|row| row["event_count"].as_u64()).sum()
}

#[test]
fn a_topic_that_was_made_again_while_nobody_looked_is_not_counted() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let cluster = Cluster::new(services);
    let mut server = cluster.start("ingest,process,query");
    post(&server, 0..500);
    assert!(server.terminate().success());
    let topic = cluster.name.as_str();
    cluster.services.kafka_tool(TOPICS, &["--delete", "--topic", topic]);
    // The next start makes the topic; what comes then would look like new events at old offsets.
    let doors = cluster.start("ingest");
    let lines: Vec<String> = (0..2_000)
        .map(|id| format!("{{\"id\":\"n{id}\",\"type\":\"a\",\"user_id\":\"u{}\"}}", id % 40))
        .collect();
    let ndjson = [("content-type", "application/x-ndjson")];
    assert_eq!(doors.post("/events", &ndjson, lines.join("\n")).status, 202);
    let server = cluster.start("process,query");
    stands_still(&server);
    assert_eq!(total(&server), 500, "nothing of the other topic is counted");
}

#[test]
fn a_topic_that_is_made_again_under_a_running_server_stops_it() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let cluster = Cluster::new(services);
    let server = cluster.start("ingest,process,query");
    post(&server, 0..500);
    let topic = cluster.name.as_str();
    cluster.services.kafka_tool(TOPICS, &["--delete", "--topic", topic]);
    let append_time = ["--config", "message.timestamp.type=LogAppendTime"];
    cluster.services.kafka_tool(
        TOPICS,
        &[&["--create", "--topic", topic, "--partitions", "6"][..], &append_time].concat(),
    );
    stands_still(&server);
    assert_eq!(total(&server), 500);
}

#[test]
fn a_topic_without_the_brokers_times_stops_with_its_remedy() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let cluster = Cluster::new(services);
    let topic = cluster.name.as_str();
    cluster.services.kafka_tool(TOPICS, &["--create", "--topic", topic, "--partitions", "2"]);
    let door = cluster.start("ingest,process,query");
    let answer = door.post("/events", &[], "{\"id\":\"1\",\"type\":\"a\"}");
    assert_eq!(answer.status, 202);
    stands_still(&door);
    assert!(door.get("/readyz").text().contains("topics ensure"), "{}", door.get("/readyz").text());
}

#[test]
fn topics_ensure_makes_and_corrects() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let cluster = Cluster::new(services);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let config = folder.path().join("test.toml");
    std::fs::write(&config, &cluster.toml).expect("the configuration can be written");
    let config = config.display().to_string();
    let ensure = || {
        let output = run(&["topics", "ensure", "--config", &config]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let topic = cluster.name.as_str();
    cluster.services.kafka_tool(TOPICS, &["--create", "--topic", topic, "--partitions", "2"]);
    assert!(ensure().starts_with(&format!("topic {topic}: corrected, 2 partitions")), "{}", ensure());
    assert!(ensure().starts_with(&format!("topic {topic}: right, 2 partitions")), "{}", ensure());
    cluster.services.kafka_tool(TOPICS, &["--delete", "--topic", topic]);
    assert!(ensure().starts_with(&format!("topic {topic}: made, 6 partitions")), "{}", ensure());
    let server = cluster.start("ingest,process,query");
    post(&server, 0..100);
    audit(&server, &[]);
    assert_eq!(total(&server), 100);
}

#[test]
fn a_split_on_an_embedded_log_is_refused_with_what_to_do() {
    let output = run(&["serve", "--roles", "ingest", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("add process, query, or use log = \"kafka://"), "{told}");
}
