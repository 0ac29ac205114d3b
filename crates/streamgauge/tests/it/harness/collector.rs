//! A collector of traces: takes OTLP over HTTP and decodes it with the published types.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::receiver::{Received, Receiver};
use super::{PATIENCE, until};

/// One request, decoded.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) request: ExportTraceServiceRequest,
}

/// A running collector; it ends with the test's process.
#[derive(Debug)]
pub(crate) struct Collector(Receiver);

impl Collector {
    /// Starts one.
    pub(crate) fn start() -> Collector {
        Collector(Receiver::start())
    }

    /// Returns its address, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn url(&self) -> &str {
        self.0.url()
    }

    /// Returns what has come so far.
    pub(crate) fn exports(&self) -> Vec<Export> {
        let decoded = |Received { path, headers, body }| {
            let request = ExportTraceServiceRequest::decode(&*body).expect("OTLP");
            Export { path, headers, request }
        };
        self.0.received().into_iter().map(decoded).collect()
    }

    /// Returns the spans that have come so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let resources = self.exports().into_iter().flat_map(|export| export.request.resource_spans);
        resources.flat_map(|spans| spans.scope_spans).flat_map(|spans| spans.spans).collect()
    }

    /// Waits until so many spans of a name have come, and returns them.
    pub(crate) fn named(&self, name: &str, count: usize) -> Vec<Span> {
        let find = || self.spans().into_iter().filter(|span| span.name == name).collect::<Vec<_>>();
        until(PATIENCE, &format!("{count} spans named {name}"), || find().len() >= count);
        find()
    }
}

/// Returns an attribute as text.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref() {
        Some(AnyValue { value: Some(any_value::Value::StringValue(text)), .. }) => Some(text.clone()),
        Some(AnyValue { value: Some(any_value::Value::IntValue(number)), .. }) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}
