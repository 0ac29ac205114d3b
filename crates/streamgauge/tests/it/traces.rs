//! Traces as a collector gets them: from the request over the log to the store, and what happens without one.

mod asked;

use std::collections::BTreeSet;
use std::net::TcpListener;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::harness::collector::{Collector, attribute};
use crate::harness::services::Services;
use crate::harness::{Launch, PATIENCE, Server, until};

const EVENTS: &str =
    r#"[{"event_type":"secret-type","user_id":"secret-user"},{"event_type":"b"},{"user_id":"c"}]"#;

fn traced(collector: &Collector, more: &[(&str, &str)]) -> Server {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    Server::ready(&Launch::new().variables(&[&[endpoint], more].concat()))
}

fn post(server: &Server, headers: &[(&str, &str)]) {
    let answer = server.post("/v1/events", headers, EVENTS);
    assert_eq!(answer.status, 202, "{}", answer.text());
}

fn counter(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

fn of(span: &Span, key: &str) -> String {
    attribute(&span.attributes, key).unwrap_or_else(|| panic!("no {key} in {span:?}"))
}

/// Checks that the four spans of a request hang together; returns them from the door to the store.
fn chain(collector: &Collector) -> [Span; 4] {
    let names = ["POST /v1/events", "append events", "process events", "flush events"];
    let [post, append, process, flush] = names.map(|name| collector.named(name, 1).remove(0));
    for (child, parent) in [(&append, &post), (&process, &append), (&flush, &process)] {
        assert_eq!(child.trace_id, parent.trace_id, "{child:?}\n{parent:?}");
        assert_eq!(child.parent_span_id, parent.span_id, "{child:?}\n{parent:?}");
        assert!(child.start_time_unix_nano >= parent.start_time_unix_nano, "{child:?}\n{parent:?}");
    }
    let links: Vec<_> = process.links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
    assert_eq!(links, [(&append.trace_id, &append.span_id)]);
    let kinds = [&post, &append, &process, &flush].map(Span::kind);
    assert_eq!(kinds, [SpanKind::Server, SpanKind::Producer, SpanKind::Consumer, SpanKind::Client]);
    [post, append, process, flush]
}

#[test]
fn one_trace_goes_from_the_request_over_the_log_to_the_store() {
    let collector = Collector::start();
    let mut server = traced(
        &collector,
        &[
            ("OTEL_SERVICE_NAME", "counts"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b,service.name=other"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=one%20two"),
        ],
    );
    post(&server, &[]);
    let [request, append, process, flush] = chain(&collector);
    assert_eq!(of(&request, "http.route"), "/v1/events");
    assert_eq!(of(&request, "http.response.status_code"), "202");
    assert_eq!(of(&request, "streamgauge.events.accepted"), "2");
    assert_eq!(of(&request, "streamgauge.events.rejected"), "1");
    assert_eq!(of(&append, "messaging.destination.name"), "events");
    assert_eq!(of(&append, "streamgauge.offset.first"), "0");
    assert_eq!(of(&process, "messaging.batch.message_count"), "2");
    assert_eq!(of(&flush, "db.system.name"), "sqlite");
    let all = format!("{:?}", collector.exports());
    assert!(!all.contains("secret"), "what an event holds is in no span: {all}");

    let export = collector.exports().remove(0);
    assert_eq!(export.path, "/v1/traces");
    assert_eq!(export.headers["content-type"], "application/x-protobuf");
    assert_eq!(export.headers["x-tenant"], "one two");
    let resource = export.request.resource_spans[0].resource.clone().expect("a resource");
    let expect =
        [("service.name", "counts"), ("team", "a b"), ("service.version", env!("CARGO_PKG_VERSION"))];
    for (key, value) in expect {
        assert_eq!(attribute(&resource.attributes, key).as_deref(), Some(value), "{resource:?}");
    }
    until(PATIENCE, "they are counted", || counter(&server, "streamgauge_trace_spans_sent_total") == 4);
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn a_flush_links_to_every_request_that_it_holds() {
    let collector = Collector::start();
    let server = traced(&collector, &[("STREAMGAUGE_FLUSH__INTERVAL", "1h")]);
    (0..3).for_each(|_| post(&server, &[]));
    let appends = collector.named("append events", 3);
    assert_eq!(server.post("/v1/flush", &[], "").status, 200);
    let process = collector.named("process events", 1).remove(0);
    let linked: BTreeSet<_> = process.links.iter().map(|link| link.span_id.clone()).collect();
    assert_eq!(linked, appends.iter().map(|append| append.span_id.clone()).collect());
    let traces: BTreeSet<_> = appends.iter().map(|append| append.trace_id.clone()).collect();
    assert_eq!(traces.len(), 3, "each request is a trace of its own");
}

#[test]
fn the_caller_decides_for_its_own_trace() {
    let collector = Collector::start();
    // Nothing is kept unless a caller wants it.
    let mut server = traced(&collector, &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
    post(&server, &[]);
    post(&server, &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]);
    post(&server, &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]);
    let [request, ..] = chain(&collector);
    assert_eq!(request.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(request.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    server.terminate();
    assert_eq!(collector.spans().len(), 4, "of one request of three: {:?}", collector.spans());
}

#[test]
fn nothing_is_sent_where_nothing_is_kept() {
    let collector = Collector::start();
    let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    for variables in [&ratio[..], &[("OTEL_SDK_DISABLED", "true")]] {
        let mut server = traced(&collector, variables);
        post(&server, &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]);
        assert_eq!(server.post("/v1/flush", &[], "").status, 200);
        assert_eq!(server.terminate().code(), Some(0));
        assert!(collector.exports().is_empty(), "{variables:?}: {:?}", collector.exports());
    }
}

#[test]
fn the_last_spans_are_sent_when_the_server_stops() {
    let collector = Collector::start();
    let mut server = traced(&collector, &[("STREAMGAUGE_FLUSH__INTERVAL", "1h")]);
    post(&server, &[]);
    assert_eq!(server.terminate().code(), Some(0));
    // Nobody waits for them: they came before the process left.
    let names: BTreeSet<String> = collector.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn a_refused_request_is_a_span_with_its_code() {
    let collector = Collector::start();
    let server = traced(&collector, &[]);
    assert_eq!(server.post("/events", &[], "{}").status, 422);
    let span = collector.named("POST /events", 1).remove(0);
    assert_eq!(of(&span, "error.type"), "missing_event_type");
    assert_eq!(of(&span, "http.response.status_code"), "422");
}

#[test]
fn a_collector_that_is_away_holds_up_nothing() {
    // It takes connections and answers nobody.
    let silent = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let silent = format!("http://{}", silent.local_addr().expect("it is bound"));
    // Nobody listens on port 9 of this machine.
    for endpoint in [silent.as_str(), "http://127.0.0.1:9"] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
        let mut server = Server::ready(&Launch::new().variables(&variables));
        // More spans than the queue holds.
        let mut client = server.client();
        for _ in 0..1_100 {
            let answer = client.post("/v1/events", &[], br#"{"event_type":"a"}"#).expect("an answer");
            assert_eq!(answer.status, 202);
        }
        let lost = || {
            counter(&server, "streamgauge_trace_spans_failed_total")
                + counter(&server, "streamgauge_trace_spans_dropped_total")
        };
        until(PATIENCE, "spans are given up", || lost() > 0);
        assert_eq!(counter(&server, "streamgauge_trace_spans_sent_total"), 0);
        assert_eq!(server.terminate().code(), Some(0), "{}", server.stderr());
        let said = server.stderr().matches("sending traces").count();
        assert_eq!(said, 1, "once, not with each batch: {}", server.stderr());
    }
}

#[test]
fn an_endpoint_that_is_none_is_refused() {
    let exited = Launch::new().variables(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]).start();
    let exited = exited.expect_err("it is no address");
    assert_eq!(exited.status.code(), Some(78));
    assert!(exited.stderr.contains("OTEL_EXPORTER_OTLP_ENDPOINT: is an address"), "{}", exited.stderr);
}

#[test]
fn a_trace_goes_from_process_to_process_over_kafka() {
    let Some(services) = Services::shared() else { return };
    let collector = Collector::start();
    let name = format!("traces_{}", std::process::id());
    let toml = format!(
        "log = \"kafka://{}\"\nstore = \"{}\"\n[kafka]\ngroup = \"{name}\"\n[[stream]]\nname = \"events\"\n\
         topic = \"{name}\"\n[[rollup]]\nname = \"hourly\"\nstream = \"events\"\nwindow = \"1h\"\nby = [\"event_type\"]\n\
         [[rollup.measure]]\nname = \"n\"\nfn = \"count\"\n",
        services.kafka(),
        services.database(&name),
    );
    let start = |role: &str| {
        let launch = Launch::new().config(&toml).args(&["--roles", role]);
        Server::ready(
            &launch
                .variables(&[("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()), ("OTEL_SERVICE_NAME", role)]),
        )
    };
    let (_process, ingest) = (start("process"), start("ingest"));
    let event = r#"{"event_type":"a","event_id":"one"}"#;
    assert_eq!(ingest.post("/v1/events", &[], event).status, 202);
    let [_, append, _, flush] = chain(&collector);
    assert_eq!(of(&append, "messaging.system"), "kafka");
    assert_eq!(of(&flush, "db.system.name"), "postgresql");
    let services: BTreeSet<Option<String>> = collector
        .exports()
        .iter()
        .filter_map(|export| export.request.resource_spans[0].resource.clone())
        .map(|resource| attribute(&resource.attributes, "service.name"))
        .collect();
    assert_eq!(services, BTreeSet::from(["ingest", "process"].map(|role| Some(role.to_owned()))));
}
