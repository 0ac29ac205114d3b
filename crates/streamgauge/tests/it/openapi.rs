//! The document at `/openapi.json` is true: it has every path that the server has and no other, every example in it is
//! answered as it says, and nothing that is sent instead brings a 5xx. Nothing here knows a path by name but for the
//! stream that never ends.

mod document;
mod outages;
pub(crate) mod routes;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::http::{Answer, connect};
use crate::harness::{Launch, Server};
use crate::systems::on_both_sides;

use document::{Document, Operation, Sent};

/// Answers that do not end: they are read line by line.
const ENDLESS: [&str; 2] = ["/metrics/stream", "/v1/stream"];

/// Sends a request and checks that its answer is one that the document has for the operation.
fn checked(server: &Server, document: &Document, operation: &Operation, sent: &Sent) -> Answer {
    let headers: Vec<(&str, &str)> =
        sent.content_type.iter().map(|kind| ("content-type", kind.as_str())).collect();
    let answer = server.client().request(&operation.method, &sent.target, &headers, sent.body.as_bytes());
    let answer = answer.unwrap_or_else(|error| panic!("{} {}: {error}", operation.method, sent.target));
    let said =
        format!("{} {} {}: {} {}", operation.method, sent.target, sent.body, answer.status, answer.text());
    let found = document.response(operation, answer.status);
    let response = found.unwrap_or_else(|| panic!("this status is not in the document: {said}"));
    let Some(content) = response.get("content") else {
        assert!(answer.body.is_empty(), "no body is in the document: {said}");
        return answer;
    };
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let schema = &content[kind]["schema"];
    assert!(schema.is_object(), "{kind:?} is not in the document: {said}");
    match kind {
        "application/json" | "application/problem+json" => {
            let faults = document.faults(schema, &answer.json());
            assert!(faults.is_empty(), "{faults:#?}: {said}");
        }
        "application/x-ndjson" => {
            for line in answer.text().lines() {
                serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
        _ => assert!(!answer.body.is_empty(), "{said}"),
    }
    answer
}

/// Sends an example that must be answered with success.
fn well_answered(server: &Server, document: &Document, operation: &Operation, sent: &Sent) {
    let answer = checked(server, document, operation, sent);
    let is_well = if operation.misses() { answer.status == 404 } else { answer.status < 300 };
    assert!(is_well, "{} {}: {}", operation.method, sent.target, answer.text());
}

fn operations(document: &Document) -> Vec<Operation> {
    let mut operations = document.operations();
    operations.retain(|operation| !ENDLESS.contains(&operation.path.as_str()));
    // Made by the way, a key would shut out everything that follows; the tests of keys make it.
    operations
        .retain(|operation| (operation.method.as_str(), operation.path.as_str()) != ("POST", "/v1/keys"));
    // What is asked for has been sent before.
    operations.sort_by_key(|operation| operation.method != "POST");
    operations
}

#[test]
fn every_example_is_answered_as_the_document_says() {
    on_both_sides(|server| {
        let document = Document::of(server);
        for operation in &operations(&document) {
            for sent in document.examples(operation) {
                well_answered(server, &document, operation, &sent);
            }
            assert_eq!(server.post("/v1/flush", &[], "").status, 200);
        }
        for operation in &operations(&document) {
            for sent in document.every_choice(operation) {
                well_answered(server, &document, operation, &sent);
            }
        }
    });
}

#[test]
fn the_document_itself_is_openapi() {
    let server = Server::start(&[]);
    let document = Document::of(&server);
    assert_eq!(document.text("/openapi"), "3.1.0");
    assert!(server.get("/v1/status").json()["version"] == document.text("/info/version"));
    let mut ids: Vec<String> = Vec::new();
    for operation in document.operations() {
        let place = format!("{} {}", operation.method, operation.path);
        for member in ["summary", "operationId"] {
            assert!(operation.value[member].is_string(), "{place} has no {member}");
        }
        assert!(operation.value["x-role"].is_null(), "{place}: nobody needs to know how it is made");
        ids.push(operation.value["operationId"].to_string());
        let tags = operation.value["tags"].as_array().expect("tags");
        for tag in tags {
            assert!(document.has_tag(tag), "{place}: the tag {tag} is not described");
        }
        document.assert_parameters(&operation);
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operationId stands twice");
    document.assert_references();
}

/// What no question means is refused as one, and what is only strange is answered: never with a 5xx.
#[test]
fn wrong_parameters_are_refused_with_a_problem() {
    on_both_sides(|server| {
        let document = Document::of(server);
        let mut refused = 0;
        for operation in &operations(&document) {
            for sent in document.wrong(operation) {
                let answer = checked(server, &document, operation, &sent);
                let said =
                    format!("{} {}: {} {}", operation.method, sent.target, answer.status, answer.text());
                assert!((400..500).contains(&answer.status), "{said}");
                assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{said}");
                refused += 1;
            }
            for sent in document.strange(operation) {
                let answer = checked(server, &document, operation, &sent);
                assert!(answer.status < 500, "{} {}: {}", operation.method, sent.target, answer.text());
            }
        }
        assert!(refused > 100, "{refused} wrong requests were made");
    });
}

#[test]
fn wrong_bodies_and_places_are_refused_with_a_problem() {
    on_both_sides(|server| {
        let document = Document::of(server);
        for operation in operations(&document).iter().filter(|operation| operation.takes_events()) {
            for (kind, body, status) in [
                ("application/json", "{", 400),
                ("application/json", "", 400),
                ("application/json", "[1", 400),
                ("application/json", "{\"timestamp\":\"soon\",\"event_type\":\"a\",\"postcode\":\"a\"}", 422),
                ("application/json", "[1,2]", 422),
                ("text/html", "{}", 415),
            ] {
                let sent = Sent {
                    target: operation.path.clone(),
                    content_type: Some(kind.to_owned()),
                    body: body.to_owned(),
                };
                let answer = checked(server, &document, operation, &sent);
                assert_eq!(answer.status, status, "{} {kind} {body}: {}", operation.path, answer.text());
            }
        }
        for (method, path, status) in [
            ("GET", "/v1/rollups/nowhere", 404),
            ("GET", "/v1/nowhere", 404),
            ("GET", "/v1/flush", 405),
            ("POST", "/v1/events?stream=nowhere", 404),
        ] {
            let answer = server.client().request(method, path, &[], b"").expect("an answer");
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(document.problem_faults(&answer.json()), Vec::<String>::new(), "{path}");
        }
    });
}

/// What the document says that may be sent is taken, and nothing else: member by member, for every kind of JSON value.
#[test]
fn what_a_body_may_be_is_what_is_taken() {
    let server = Server::start(&[]);
    let document = Document::of(&server);
    let (mut taken, mut refused) = (0, 0);
    for operation in operations(&document).iter().filter(|operation| operation.takes_events()) {
        let (schema, variants) = document.variants(operation);
        for body in variants {
            let is_allowed = document.faults(&schema, &body).is_empty();
            let sent = Sent {
                target: operation.path.clone(),
                content_type: Some("application/json".to_owned()),
                body: body.to_string(),
            };
            let answer = checked(&server, &document, operation, &sent);
            assert_eq!(answer.status == 202, is_allowed, "{} {body}: {}", operation.path, answer.text());
            if is_allowed { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 30 && refused > 30, "{taken} taken, {refused} refused");
}

#[test]
fn the_stream_that_never_ends_sends_what_the_document_says() {
    on_both_sides(|server| {
        let document = Document::of(server);
        let all = document.operations();
        for path in ENDLESS {
            let operation = all.iter().find(|known| known.path == path).expect("it is in the document");
            let content = &document.response(operation, 200).expect("200")["content"]["text/event-stream"];
            let stream = watch(server, path);
            let lines = stream.lines().map(|line| line.expect("the server goes on"));
            let head: Vec<String> = lines.take_while(|line| !line.starts_with("data:")).collect();
            assert!(head.iter().any(|line| line == "content-type: text/event-stream"), "{head:?}");
            let seen = server.client().get("/v1/status").expect("others are served meanwhile");
            assert_eq!(seen.status, 200);
            let data = first_data(server, path);
            assert_eq!(document.faults(&content["x-data"], &data), Vec::<String>::new(), "{path}");
        }
    });
}

fn watch(server: &Server, path: &str) -> BufReader<TcpStream> {
    let mut stream = connect(server.address()).expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).expect("the server reads");
    stream
}

fn first_data(server: &Server, path: &str) -> Value {
    let mut lines = watch(server, path).lines().map(|line| line.expect("the server goes on"));
    let data = lines.find_map(|line| line.strip_prefix("data:").map(str::to_owned)).expect("data");
    serde_json::from_str(&data).expect("JSON")
}

/// Other streams have other paths and other examples, and those are accepted too.
#[test]
fn another_configuration_has_another_document() {
    let toml = r#"
        [[stream]]
        name = "orders"
        paths = ["/orders", "/events"]
        require = ["customer", "amount"]
        types = { amount = "number" }
        answer = "empty"
        [[rollup]]
        name = "sales"
        stream = "orders"
        window = "1m"
        by = ["customer"]
        [[rollup.measure]]
        name = "n"
        fn = "count"
    "#;
    let server = Server::start_with(toml, &[]);
    let document = Document::of(&server);
    assert!(!document.operations().iter().any(|known| known.path.starts_with("/api/pageviews")));
    let all = document.operations();
    let takers: Vec<&Operation> = all.iter().filter(|known| known.takes_events()).collect();
    let paths: Vec<&str> = takers.iter().map(|known| known.path.as_str()).collect();
    assert_eq!(paths, ["/v1/events", "/events", "/orders"]);
    for operation in takers {
        for sent in document.examples(operation) {
            well_answered(&server, &document, operation, &sent);
        }
    }
    let rows = all.iter().find(|known| known.path == "/v1/rollups/{name}").expect("it is there");
    for sent in document.examples(rows) {
        assert!(sent.target.starts_with("/v1/rollups/sales"), "{}", sent.target);
        well_answered(&server, &document, rows, &sent);
    }
    for name in ["pageviews", "stream-metrics"] {
        let path = crate::systems::pipeline(name);
        let server = Server::ready(&Launch::new().args(&["--config", &path]));
        let document = Document::of(&server);
        for operation in document.operations().iter().filter(|known| known.takes_events()) {
            for sent in document.examples(operation) {
                well_answered(&server, &document, operation, &sent);
            }
        }
    }
}
