//! Traces of what is asked for and of what is done by hand: questions to the store, cuts of the archive, rebuilds, deletes and
//! exports; and which request an error belongs to.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::{EVENTS, of, post, traced};
use crate::harness::collector::{Collector, attribute};
use crate::harness::{Launch, Server};
use crate::keys::GIVEN;

/// Sends events and waits until queries see them.
fn seen(server: &Server) {
    assert_eq!(server.post("/v1/events?wait=true", &[], EVENTS).status, 202);
}

/// Checks that a span stands right below another.
fn assert_below(child: &Span, parent: &Span) {
    assert_eq!(child.trace_id, parent.trace_id, "{child:?}\n{parent:?}");
    assert_eq!(child.parent_span_id, parent.span_id, "{child:?}\n{parent:?}");
    let is_inside = parent.start_time_unix_nano <= child.start_time_unix_nano
        && child.end_time_unix_nano <= parent.end_time_unix_nano;
    assert!(is_inside, "{child:?}\n{parent:?}");
}

#[test]
fn a_question_stands_below_its_request() {
    let collector = Collector::start();
    let mut server = traced(&collector, &[]);
    seen(&server);
    let path = "/v1/rollups/hourly_aggregations?event_type=secret-type";
    let parent = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    let answer = server.client().request("GET", path, &parent, b"").expect("an answer");
    assert_eq!((answer.status, answer.json()["data"].as_array().map(Vec::len)), (200, Some(1)));
    assert_eq!(server.get("/v1/events?user_id=secret-user").status, 200);
    assert_eq!(server.get("/v1/status").status, 200);

    let request = collector.named("GET /v1/rollups/{name}", 1).remove(0);
    assert_eq!(request.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(
        (of(&request, "http.route"), of(&request, "http.response.status_code")),
        ("/v1/rollups/{name}".to_owned(), "200".to_owned())
    );
    let cells = collector.named("cells hourly_aggregations", 1).remove(0);
    assert_below(&cells, &request);
    assert_eq!([request.kind(), cells.kind()], [SpanKind::Server, SpanKind::Client]);
    assert_eq!(of(&cells, "db.system.name"), "sqlite");
    assert_eq!(of(&cells, "db.collection.name"), "hourly_aggregations");
    assert_eq!(of(&cells, "db.response.returned_rows"), "1");
    let events = collector.named("events events", 1).remove(0);
    assert_below(&events, &collector.named("GET /v1/events", 1)[0]);
    assert_eq!(of(&events, "db.response.returned_rows"), "1");

    server.terminate();
    let looked_on: Vec<Span> =
        collector.spans().into_iter().filter(|span| span.name.contains("/v1/status")).collect();
    assert!(looked_on.is_empty(), "{looked_on:?}");
    let all = format!("{:?}", collector.exports());
    assert!(!all.contains("secret"), "what is asked for is in no span: {all}");
}

#[test]
fn a_question_of_a_request_that_is_not_kept_has_no_span() {
    let collector = Collector::start();
    let mut server = traced(&collector, &[]);
    let parent = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")];
    let answer = server.client().request("GET", "/v1/rollups/hourly_aggregations", &parent, b"");
    assert_eq!(answer.expect("an answer").status, 200);
    server.terminate();
    assert!(collector.spans().is_empty(), "{:?}", collector.spans());
}

#[test]
fn an_error_names_its_request_and_who_is_kept_out_has_no_span() {
    let collector = Collector::start();
    let mut server = traced(&collector, &[("STREAMGAUGE_ADMIN_KEY", GIVEN)]);
    assert_eq!(server.get("/v1/rollups/nothing").status, 401);
    let by_key = [("x-api-key", GIVEN)];
    let answer = server.client().request("GET", "/v1/rollups/nothing", &by_key, b"").expect("an answer");
    assert_eq!(answer.status, 404);
    let span = collector.named("GET /v1/rollups/{name}", 1).remove(0);
    assert_eq!(of(&span, "error.type"), "unknown_rollup");
    assert_eq!(Some(of(&span, "streamgauge.request_id").as_str()), answer.json()["request_id"].as_str());
    server.terminate();
    assert_eq!(collector.spans().len(), 1, "{:?}", collector.spans());
}

#[test]
fn a_cut_of_the_archive_links_to_the_requests_in_it() {
    let collector = Collector::start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let archive = format!("file:{}", folder.path().display());
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())];
    let launch = Launch::new().args(&["--archive", &archive]).variables(&variables);
    let mut server = Server::ready(&launch);
    post(&server, &[]);
    post(&server, &[]);
    let appends = collector.named("append events", 2);
    // What waits for a file is written when the server stops.
    assert_eq!(server.terminate().code(), Some(0), "{}", server.stderr());
    let cut = collector.named("archive events", 1).remove(0);
    let links: Vec<&[u8]> = cut.links.iter().map(|link| link.span_id.as_slice()).collect();
    assert_eq!(links.len(), 2, "{cut:?}");
    for append in &appends {
        assert!(links.contains(&append.span_id.as_slice()), "{append:?}\n{cut:?}");
    }
    let first = appends.iter().find(|append| append.span_id == cut.parent_span_id);
    assert!(first.is_some_and(|append| append.trace_id == cut.trace_id), "{cut:?}");
    assert_eq!(of(&cut, "messaging.destination.name"), "events");
    assert_eq!(of(&cut, "messaging.destination.partition.id"), "0");
    assert_eq!(of(&cut, "streamgauge.offset.first"), "0");
    assert_eq!(of(&cut, "messaging.batch.message_count"), "4");
    assert_eq!(of(&cut, "streamgauge.archive.files"), "1");
    assert!(of(&cut, "streamgauge.archive.bytes").parse::<u64>().is_ok_and(|bytes| bytes > 0), "{cut:?}");
    assert_eq!(attribute(&cut.attributes, "error.type"), None);
}

#[test]
fn what_is_done_by_hand_is_one_trace_with_its_steps() {
    let collector = Collector::start();
    let server = traced(&collector, &[]);
    seen(&server);
    let rebuilt = server.post("/v1/rebuild", &[], r#"{"rollup":"hourly_aggregations"}"#);
    assert!(rebuilt.text().contains(r#""done""#), "{}", rebuilt.text());
    let request = collector.named("POST /v1/rebuild", 1).remove(0);
    let rebuild = collector.named("rebuild hourly_aggregations", 1).remove(0);
    assert_below(&rebuild, &request);
    assert_eq!((of(&rebuild, "streamgauge.records"), rebuild.kind()), ("2".to_owned(), SpanKind::Internal));
    for step in ["read records of", "compare cells of", "replace cells of"] {
        assert_below(&collector.named(&format!("{step} hourly_aggregations"), 1)[0], &rebuild);
    }

    let exported = server.get("/v1/events/export?stream=events");
    assert_eq!(exported.text().lines().count(), 2, "{}", exported.text());
    let export = collector.named("GET /v1/events/export", 1).remove(0);
    assert_eq!(of(&export, "streamgauge.events.exported"), "2");

    let deleted = server.post("/v1/events/delete", &[], r#"{"where":"event_type = 'secret-type'"}"#);
    assert!(deleted.text().contains(r#""done""#), "{}", deleted.text());
    let delete = collector.named("delete events", 1).remove(0);
    assert_below(&delete, &collector.named("POST /v1/events/delete", 1)[0]);
    assert_eq!(of(&delete, "streamgauge.events.matched"), "1");
    assert_eq!(of(&delete, "streamgauge.events.deleted"), "1");
    for step in ["look for events of events", "delete events of events"] {
        assert_below(&collector.named(step, 1)[0], &delete);
    }
    let all = format!("{:?}", collector.exports());
    assert!(!all.contains("secret"), "what is picked by is in no span: {all}");
}
