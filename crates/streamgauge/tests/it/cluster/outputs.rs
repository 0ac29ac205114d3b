//! Topics that others read: closed windows, late events and dead letters, as a plain consumer finds them.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{Cluster, turn};
use crate::harness::consumer::{Reader, Record, produce};
use crate::harness::dice::{self, Dice};
use crate::harness::http::Client;
use crate::harness::services::{Service, Services};
use crate::harness::witness::audit;
use crate::harness::{Launch, Server, pause, run, say, until};

const PATIENCE: Duration = Duration::from_secs(90);
/// Enough that telling them takes several rounds.
const TYPES: u64 = 2_500;
const LINES: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

/// The configuration that ships, on topics that no other test has; a quiet stream counts as idle sooner.
fn shipped(services: &Services, name: &str, store: &str) -> String {
    let output = run(&["config", "init"]);
    let mut toml = String::from_utf8(output.stdout).expect("it is text");
    for topic in [
        "events",
        "pageviews",
        "stream.events",
        "pageview-aggregates",
        "late-pageview-aggregates",
        "events-dlq",
        "events.DLQ",
        "stream.events-dlq",
    ] {
        for (before, after) in
            [("topic        = ", ""), ("topic = ", ""), ("late   = ", ""), ("[", ""), (", ", "]")]
        {
            toml = toml.replace(
                &format!("{before}\"{topic}\"{after}"),
                &format!("{before}\"{name}-{topic}\"{after}"),
            );
        }
    }
    toml = toml.replace("log      = \"embedded:\"", &format!("log = \"kafka://{}\"", services.kafka()));
    toml = toml.replace("store    = \"sqlite:\"", &format!("store = \"{store}\""));
    toml = toml.replace("\"streamgauge\"  #", &format!("\"{name}\"  #"));
    toml.replace("partitions      = 6", "partitions      = 2")
        .replace("answer       = \"empty\"", "answer       = \"empty\"\nidle_timeout = \"1s\"")
}

fn unique() -> String {
    format!("o{}_{:x}", std::process::id(), dice::seed("outputs"))
}

#[test]
fn what_ships_is_on_its_topics_with_postgres() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let name = unique();
    let store = services.database(&name);
    three_topics(&services, &name, &store);
    services.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
}

#[test]
fn what_ships_is_on_its_topics_with_sqlite() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    three_topics(&services, &unique(), "sqlite:");
}

fn three_topics(services: &Services, name: &str, store: &str) {
    let toml = shipped(services, name, store);
    let server = Server::ready(&Launch::new().config(&toml));
    let brokers = services.kafka();
    let reader = |topic: &str| Reader::of(brokers, &format!("{name}-{topic}"));

    let view = |timestamp: i64| {
        format!(
            r#"{{"user_id":1234,"postcode":"SW19","webpage":"www.website.com/index.html","timestamp":{timestamp}}}"#
        )
    };
    let views: Vec<String> = (0..42).map(|_| view(1_611_662_684)).collect();
    assert_eq!(server.post("/api/pageviews/batch", &[], format!("[{}]", views.join(","))).status, 202);
    let mut aggregates = reader("pageview-aggregates");
    let closed = aggregates.wait_for(1, PATIENCE)[0].clone();
    assert_eq!(
        closed.text(),
        r#"{"postcode":"SW19","window_start":"2021-01-26T12:04:00","pageview_count":42}"#
    );
    assert_eq!(
        (closed.key().as_str(), closed.header("kind"), closed.header("revision")),
        ("SW19", "closed", "0")
    );
    assert_eq!(closed.header("window_start"), "2021-01-26T12:04:00Z");

    let now = jiff::Timestamp::now().as_second();
    assert_eq!(server.post("/api/pageviews?wait=true", &[], view(now)).status, 202);
    let late = view(1_611_662_685);
    assert_eq!(server.post("/api/pageviews?wait=true", &[], &late).status, 202);
    let mut late_reader = reader("late-pageview-aggregates");
    let told = late_reader.wait_for(1, PATIENCE)[0].clone();
    assert_eq!((told.text(), told.key()), (late, "SW19".to_owned()));
    assert_eq!(
        (told.header("rollup"), told.header("window_start"), told.header("stream")),
        ("pageview_aggregates", "2021-01-26T12:04:00Z", "pageviews")
    );

    let bad = b"{\"user_id\": \xff no JSON".as_slice();
    produce(brokers, &format!("{name}-events"), Some(b"the key"), bad);
    produce(brokers, &format!("{name}-events"), None, b"[]");
    let mut places = Vec::new();
    for topic in ["events-dlq", "events.DLQ"] {
        let mut letters = reader(topic);
        letters.wait_for(2, PATIENCE);
        letters.take();
        assert_eq!(letters.records.len(), 2, "only the bad records, each once: {:?}", letters.records);
        let letter =
            letters.records.iter().find(|letter| letter.value == bad).expect("as it was sent").clone();
        assert_eq!(letter.key.as_deref(), Some(&b"the key"[..]));
        assert_eq!((letter.header("reason"), letter.header("stream")), ("invalid_json", "events"));
        assert_eq!(letter.header("topic"), format!("{name}-events"));
        assert!(!letter.header("detail").is_empty() && !letter.header("received_at").is_empty());
        let place = format!("{name}-events-{}-{}", letter.header("partition"), letter.header("offset"));
        assert_eq!(letter.header("event_id"), place, "it was sent without an id");
        let other = letters.records.iter().find(|letter| letter.value == b"[]").expect("the other");
        assert_eq!((other.key.clone(), other.header("reason")), (None, "not_an_object"));
        places.push(place);
    }
    assert_eq!(places[0], places[1]);
    audit(&server, &[]);
    late_reader.take();
    aggregates.take();
    assert_eq!((late_reader.records.len(), aggregates.records.len()), (1, 1), "each once");
    let metrics = server.get("/metrics").text();
    let waits = "streamgauge_outbox_rows{stream=\"pageviews\",topic=\"\"} 0";
    assert!(metrics.contains(waits), "{metrics}");
}

/// A cluster whose windows of two seconds close at once, and the topic of its closed windows.
fn closing(services: Services) -> (Cluster, String) {
    let mut cluster = Cluster::new(services);
    let topic = format!("{}-closed", cluster.name);
    cluster.toml = cluster
        .toml
        .replace(
            "idle_timeout = \"2s\"",
            &format!("idle_timeout = \"1s\"\noutputs = {{ closed = \"{topic}\" }}"),
        )
        .replace("window = \"1h\"", "window = \"2s\"")
        .replace("pane = \"15m\"", "keep = \"400d\"")
        .replace("grace = \"30s\"", "grace = \"0s\"");
    (cluster, topic)
}

/// Returns the newest record of each window and key, by revision.
fn newest(records: &[Record]) -> BTreeMap<(String, String), (u64, Value)> {
    let mut newest: BTreeMap<(String, String), (u64, Value)> = BTreeMap::new();
    for record in records {
        let key = (record.header("window_start").to_owned(), record.key());
        let revision: u64 = record.header("revision").parse().expect("a number");
        let value = serde_json::from_slice(&record.value).expect("the value is JSON");
        if newest.get(&key).is_none_or(|(known, _)| *known <= revision) {
            newest.insert(key, (revision, value));
        }
    }
    newest
}

/// Returns all final rows as the API shows them.
fn final_rows(server: &Server) -> BTreeMap<(String, String), (u64, Value)> {
    let mut rows = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/rollups/hourly_aggregations?limit=10000{cursor}")).json();
        for row in page["data"].as_array().expect("rows").iter().filter(|row| row["is_final"] == true) {
            let text = |name: &str| row[name].as_str().expect("a text").to_owned();
            let revision = row["revision"].as_u64().expect("a number");
            rows.insert((text("window_start"), text("event_type")), (revision, row.clone()));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

fn batch(round: u64, types: u64, now: i64) -> String {
    let event = |nth: u64| {
        let time = now - (nth % 7) as i64;
        format!(r#"{{"id":"{round}-{nth}","type":"t{}","user_id":"u{}","ts":{time}}}"#, nth % types, nth % 11)
    };
    (0..types * 3).map(event).collect::<Vec<_>>().join("\n")
}

/// Posts until it is taken, at whichever door is open by then.
fn post(door: &Server, body: &str) {
    let mut client = Client::new(door.address());
    until(PATIENCE, "the events are taken", || {
        client.post("/events", &LINES, body.as_bytes()).is_ok_and(|answer| answer.status == 202)
    });
}

#[test]
fn a_processor_that_is_killed_while_it_sends_loses_no_window() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let (cluster, topic) = closing(services);
    let mut dice = Dice::new(dice::seed("killed senders"));
    let door = cluster.start("ingest,query");
    let mut processor = cluster.start("process");
    let kills = dice::number("SG_SENDER_KILLS", 20);
    let mut left = 0;
    for round in 0..kills {
        post(&door, &batch(round, TYPES, jiff::Timestamp::now().as_second()));
        until(PATIENCE, "windows close and are being told", || waiting(&door) > 0);
        pause(dice.time_below(400));
        left += u64::from(waiting(&door) > 0);
        processor.kill9();
        processor = cluster.start("process");
    }
    audit(&door, &[]);
    let mut reader = Reader::of(cluster.services.kafka(), &topic);
    let mut rows = BTreeMap::new();
    until(PATIENCE, "all windows are final and on the topic", || {
        rows = final_rows(&door);
        let total: u64 = rows.values().filter_map(|(_, row)| row["event_count"].as_u64()).sum();
        total == kills * TYPES * 3 && waiting(&door) == 0
    });
    reader.take_until(PATIENCE, |records| newest(records) == rows);
    let told = newest(&reader.records);
    say(&format!("{kills} kills, {left} amid rows, {} cells, {} records", rows.len(), reader.records.len()));
    assert!(left > 0, "no process was killed while rows waited");
    assert_same(&told, &rows);
}

#[test]
fn two_processors_send_every_window_once() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let (cluster, topic) = closing(services);
    let door = cluster.start("ingest,query");
    let mut processors = [cluster.start("process"), cluster.start("process")];
    let mut reader = Reader::of(cluster.services.kafka(), &topic);
    let settled = || {
        until(PATIENCE, "everything is told", || {
            let is_final = final_rows(&door).len() == count(&door);
            is_final && waiting(&door) == 0
        });
    };
    for round in 0..8 {
        post(&door, &batch(round, 200, jiff::Timestamp::now().as_second()));
        pause(Duration::from_millis(400));
    }
    audit(&door, &[]);
    settled();
    let sent = |metric: &str| -> Vec<u64> {
        processors.iter().map(|one| super::counted(std::slice::from_ref(one), metric)).collect()
    };
    let records = sent("streamgauge_output_records_total");
    reader.take_until(PATIENCE, |taken| taken.len() as u64 >= records.iter().sum());
    assert_eq!(records.iter().sum::<u64>(), reader.records.len() as u64);
    assert!(records.contains(&0), "one process sends for the stream: {records:?}");
    let rows: u64 = ["streamgauge_windows_closed_total", "streamgauge_rollup_corrections_total"]
        .iter()
        .flat_map(|metric| sent(metric))
        .sum();
    assert_eq!(rows, reader.records.len() as u64, "each row of the outbox once");
    // The other one takes over.
    let sender = usize::from(records[0] == 0);
    processors[sender].kill9();
    post(&door, &batch(100, 50, jiff::Timestamp::now().as_second()));
    audit(&door, &[]);
    settled();
    let rows = final_rows(&door);
    reader.take_until(PATIENCE, |records| newest(records) == rows);
    assert_same(&newest(&reader.records), &rows);
}

/// Returns how many rows of the outbox wait.
fn waiting(server: &Server) -> u64 {
    let text = server.get("/metrics").text();
    let name = "streamgauge_outbox_rows{stream=\"events\",topic=\"\"} ";
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok());
    found.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

/// Returns how many seconds the first of them has waited.
fn waited(server: &Server) -> f64 {
    let text = server.get("/metrics").text();
    let name = "streamgauge_outbox_oldest_age_seconds{stream=\"events\",topic=\"\"} ";
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok());
    found.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

/// Returns the number of rows, final or not.
fn count(server: &Server) -> usize {
    let page = server.get("/v1/rollups/hourly_aggregations?limit=10000").json();
    assert!(page["next_cursor"].is_null(), "all rows are on one page");
    page["data"].as_array().expect("rows").len()
}

#[test]
fn windows_that_were_not_told_when_the_broker_went_are_told_when_it_is_back() {
    let _turn = turn();
    let Some(services) = Services::own() else { return };
    let (cluster, topic) = closing(services);
    let door = cluster.start("query");
    let server = cluster.start("ingest,process");
    let mut rounds = 0;
    let mut is_caught = false;
    while !is_caught {
        assert!(rounds < 10, "rows were always told before they could be caught");
        post(&server, &batch(rounds, TYPES, jiff::Timestamp::now().as_second()));
        until(PATIENCE, "windows close and are being told", || waiting(&door) > 0);
        server.signal(Signal::STOP);
        is_caught = waiting(&door) > 0;
        if is_caught {
            cluster.services.crash(Service::Kafka);
        }
        server.signal(Signal::CONT);
        rounds += 1;
    }
    until(PATIENCE, "rows wait for the broker", || waited(&door) > 5.0);
    assert!(waiting(&door) > 0 && server.get("/livez").status == 200);
    cluster.services.resume(Service::Kafka);
    let mut rows = BTreeMap::new();
    until(PATIENCE, "everything is final and told", || {
        rows = final_rows(&door);
        let total: u64 = rows.values().filter_map(|(_, row)| row["event_count"].as_u64()).sum();
        total == rounds * TYPES * 3 && waiting(&door) == 0
    });
    let mut reader = Reader::of(cluster.services.kafka(), &topic);
    reader.take_until(PATIENCE, |records| newest(records) == rows);
    assert_same(&newest(&reader.records), &rows);
}

/// The newest record of each cell says what the store says.
#[track_caller]
fn assert_same(
    told: &BTreeMap<(String, String), (u64, Value)>,
    rows: &BTreeMap<(String, String), (u64, Value)>,
) {
    let lacks: Vec<_> = rows.keys().filter(|key| !told.contains_key(*key)).collect();
    let others: Vec<_> = told.keys().filter(|key| !rows.contains_key(*key)).collect();
    assert!(lacks.is_empty() && others.is_empty(), "not told: {lacks:?}; told and not there: {others:?}");
    for (key, row) in rows {
        assert_eq!(&told[key], row, "{key:?}");
    }
}
