//! What is answered while the database or the broker is away stands in the document too, and in the words that probes and
//! clients of the five systems read.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::turn;
use crate::harness::services::{Service, Services};
use crate::harness::{Launch, Server, until};

use super::document::Document;
use super::{checked, operations};

/// A door gives up soon, so that the test need not wait for it.
const CONFIG: &str = "[kafka]\nproperties = { \"delivery.timeout.ms\" = \"3000\" }";
const PATIENCE: Duration = Duration::from_secs(120);

fn status(server: &Server, path: &str) -> u16 {
    server.get(path).status
}

#[test]
fn what_is_answered_without_a_database_or_a_broker_is_in_the_document() {
    let _turn = turn();
    let Some(services) = Services::own() else { return };
    let (log, store) = (format!("kafka://{}", services.kafka()), services.database("outages"));
    let server = Server::ready(&Launch::new().config(CONFIG).args(&["--log", &log, "--store", &store]));
    let document = Document::of(&server);
    assert_eq!(server.post("/events?wait=true", &[], r#"{"event_type":"a"}"#).status, 202);

    services.crash(Service::Postgres);
    until(PATIENCE, "the database is missed", || status(&server, "/health") == 503);
    let mut unavailable = 0;
    for operation in operations(&document).iter().filter(|operation| operation.method == "GET") {
        for sent in document.examples(operation) {
            let answer = checked(&server, &document, operation, &sent);
            assert!(matches!(answer.status, 200 | 503), "{}: {}", sent.target, answer.text());
            let is_problem = answer.header("content-type") == Some("application/problem+json");
            assert!(!is_problem || answer.header("retry-after").is_some(), "{}", sent.target);
            unavailable += u32::from(answer.status == 503);
        }
    }
    assert!(unavailable >= 20, "{unavailable} operations need the database");
    assert!(server.get("/health").text().starts_with(r#"{"ok":false,"status":"DOWN","error":"#));
    assert_eq!(server.get("/actuator/health").json()["components"]["db"]["status"], "DOWN");
    assert_eq!(status(&server, "/actuator/health/liveness"), 200);
    assert_eq!(status(&server, "/actuator/health/readiness"), 503);
    assert!(server.get("/prometheus").text().contains("api_db_ok 0\n"));
    assert_eq!(
        server.post("/events", &[], r#"{"event_type":"a"}"#).status,
        202,
        "events are taken all the same"
    );

    services.resume(Service::Postgres);
    until(PATIENCE, "the database is found again", || status(&server, "/health") == 200);
    services.crash(Service::Kafka);
    until(PATIENCE, "the broker is missed", || status(&server, "/health") == 503);
    assert_eq!(server.get("/actuator/health").json()["components"]["kafka"]["status"], "DOWN");
    assert_eq!(status(&server, "/analytics/events/count"), 200, "what is counted is answered all the same");
    for operation in operations(&document).iter().filter(|operation| operation.method == "GET") {
        for sent in document.examples(operation) {
            let answer = checked(&server, &document, operation, &sent);
            let is_problem = answer.header("content-type") == Some("application/problem+json");
            // The database is well: whoever reads the answer must not look for the fault there.
            let code = if is_problem { answer.json()["code"].clone() } else { Value::Null };
            assert_ne!(code, "store_unavailable", "{}", sent.target);
        }
    }
    for operation in operations(&document).iter().filter(|operation| operation.takes_events()) {
        let sent = document.examples(operation).remove(0);
        let answer = checked(&server, &document, operation, &sent);
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (503, &"log_unavailable".into()),
            "{}",
            sent.target
        );
        assert!(answer.header("retry-after").is_some(), "{}", sent.target);
    }
}
