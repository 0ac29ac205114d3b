//! Pageviews by postcode and minute: posted one at a time or in batches, probed as a Spring application is.

use crate::harness::Server;

use super::{asked, assert_refused, curl, flush, metric, on_both_sides};

const SINGLE: &str = r#"curl -X POST http://localhost:8080/api/pageviews \
  -H "Content-Type: application/json" \
  -d '{"user_id":1234,"postcode":"SW19","webpage":"www.website.com/index.html","timestamp":1611662684}'"#;
const BATCH: &str = r#"curl -X POST http://localhost:8080/api/pageviews/batch \
  -H "Content-Type: application/json" \
  -d '[{"user_id":1,"postcode":"SW19","webpage":"www.a.com","timestamp":1611662684},{"user_id":2,"postcode":"EC1","webpage":"www.b.com","timestamp":1611662685}]'"#;

fn counted(server: &Server) -> Vec<String> {
    flush(server);
    let rows = server.get("/v1/rollups/pageview_aggregates").json();
    let line = |row: &serde_json::Value| {
        format!("{} {} {}", row["window_start"], row["postcode"], row["pageview_count"]).replace('"', "")
    };
    rows["data"].as_array().expect("rows").iter().map(line).collect()
}

#[test]
fn every_line_of_its_description_is_answered() {
    on_both_sides(|server| {
        assert_eq!(curl(server, SINGLE), (202, String::new()));
        assert_eq!(curl(server, BATCH), (202, String::new()));
        // Equal pageviews of one second are different pageviews.
        assert_eq!(curl(server, SINGLE), (202, String::new()));
        assert_eq!(counted(server), ["2021-01-26T12:04:00Z EC1 1", "2021-01-26T12:04:00Z SW19 3"]);
        let meter = asked(server, "curl http://localhost:8080/actuator/metrics/pageviews.produced");
        insta::assert_snapshot!(meter, @r#"{"name":"pageviews.produced","description":"Pageviews that are durable in the log","measurements":[{"statistic":"COUNT","value":4}],"availableTags":[{"tag":"endpoint","values":["batch","single"]}]}"#);
        let single = asked(
            server,
            r#"curl "http://localhost:8080/actuator/metrics/pageviews.produced?tag=endpoint:single""#,
        );
        insta::assert_snapshot!(single, @r#"{"name":"pageviews.produced","description":"Pageviews that are durable in the log","measurements":[{"statistic":"COUNT","value":2}],"availableTags":[]}"#);
        assert_eq!(metric(server, "/metrics", "events_produced_total", "stream=\"pageviews\""), 4.0);
        let health = asked(server, "curl http://localhost:8080/actuator/health");
        let health: serde_json::Value = serde_json::from_str(&health).expect("JSON");
        for part in ["db", "kafka", "kafkaStreams"] {
            assert_eq!(health["components"][part]["status"], "UP", "{health}");
        }
    });
}

#[test]
fn probes_are_answered_as_they_are_read() {
    let server = Server::start(&[]);
    insta::assert_snapshot!(server.get("/actuator/health").text(), @r#"{"status":"UP","components":{"db":{"status":"UP","details":{"store":"sqlite"}},"kafka":{"status":"UP","details":{"log":"embedded"}},"kafkaStreams":{"status":"UP","details":{"roles":["ingest","process","query","archive"]}},"livenessState":{"status":"UP"},"readinessState":{"status":"UP"},"s3":{"status":"UNKNOWN","details":{"archive":"off"}}},"groups":["liveness","readiness"]}"#);
    insta::assert_snapshot!(server.get("/actuator/health/liveness").text(), @r#"{"status":"UP"}"#);
    insta::assert_snapshot!(server.get("/actuator/health/readiness").text(), @r#"{"status":"UP"}"#);
    insta::assert_snapshot!(server.get("/actuator/metrics").text(), @r#"{"names":["pageviews.produced"]}"#);
    assert_refused(&server.get("/actuator/metrics/s3.writes"), 404, "not_found", None);
    assert_refused(
        &server.get("/actuator/metrics/pageviews.produced?tag=endpoint:both"),
        404,
        "not_found",
        None,
    );
}

#[test]
fn what_is_no_pageview_is_never_accepted() {
    let server = Server::start(&[]);
    for (body, code, field) in [
        ("{}", "missing_field", "postcode"),
        (r#"{"user_id":1,"webpage":"w","timestamp":1}"#, "missing_field", "postcode"),
        (r#"{"postcode":" "}"#, "blank_field", "postcode"),
        (r#"{"postcode":12}"#, "bad_field", "postcode"),
        (r#"{"postcode":"SW19","webpage":["w"]}"#, "bad_field", "webpage"),
        (r#"{"postcode":"SW19","webpage":true}"#, "bad_field", "webpage"),
        (r#"{"postcode":"SW19","user_id":"1234"}"#, "bad_field", "user_id"),
        (r#"{"postcode":"SW19","timestamp":"then"}"#, "bad_timestamp", "timestamp"),
    ] {
        assert_refused(&server.post("/api/pageviews", &[], body), 422, code, Some(field));
    }
    assert_refused(&server.post("/api/pageviews", &[], "{"), 400, "invalid_body", None);
    assert_refused(&server.post("/api/pageviews/batch", &[], "[]"), 400, "empty_body", None);
    assert!(counted(&server).is_empty());
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let server = Server::start(&[]);
    let good = r#"{"user_id":1,"postcode":"SW19","webpage":"w","timestamp":1611662684}"#;
    let refused = server.post("/api/pageviews/batch", &[], format!("[{good},{{\"user_id\":2}},{good}]"));
    assert_refused(&refused, 422, "all_rejected", None);
    let problem = refused.json();
    assert_eq!((&problem["accepted"], &problem["rejected"]), (&0.into(), &3.into()));
    assert_eq!(problem["errors"][0]["index"], 1);
    assert!(counted(&server).is_empty());
    // The native path tells of each event, and takes the good ones.
    let answer =
        server.post("/v1/events?stream=pageviews", &[], format!("[{good},{{\"user_id\":2}},{good}]"));
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &2.into()));
    assert_eq!(counted(&server), ["2021-01-26T12:04:00Z SW19 2"]);
}
