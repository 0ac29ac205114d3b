//! Where traces go and which are kept, by the variables that OpenTelemetry has for it; off without an endpoint. A value that
//! has no meaning is as if it were not set and makes a note, as the specification wants it; only an endpoint that is none is
//! an error.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::reader::Errors;

/// What the exporter needs to know. Its headers may be secrets, so it does not show itself.
#[derive(Clone)]
pub(crate) struct TraceSettings {
    /// The address that spans are posted to.
    pub(crate) endpoint: String,
    /// Headers of each post, percent-encoded as they came.
    pub(crate) headers: HashMap<String, String>,
    /// How long one batch may take, further tries included.
    pub(crate) timeout: Duration,
    /// The name and other attributes of this process.
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) sampling: Sampling,
    /// What was set and is not heeded.
    pub(crate) notes: Vec<String>,
}

impl std::fmt::Debug for TraceSettings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("TraceSettings")
    }
}

/// Which traces are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampling {
    /// Whether a caller that has a trace decides for it.
    pub(crate) by_parent: bool,
    /// The share of those that begin here, or of all.
    pub(crate) share: f64,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_NAME: &str = "streamgauge";

impl TraceSettings {
    /// Reads the variables; `None` when nothing is traced.
    pub(crate) fn of(variables: &BTreeMap<String, String>, errors: &mut Errors) -> Option<TraceSettings> {
        let get =
            |name: &str| variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let is_off = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || get("OTEL_TRACES_EXPORTER") == Some("none");
        // That of traces alone goes first, and is taken as it is.
        let of_traces = |name: &str| {
            let own = get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            own.or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let endpoint = match get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            Some(endpoint) => endpoint.to_owned(),
            None => format!("{}/v1/traces", get("OTEL_EXPORTER_OTLP_ENDPOINT")?.trim_end_matches('/')),
        };
        if is_off {
            return None;
        }
        if !is_address(&endpoint) {
            let wanted = "is an address such as http://otel-collector:4318";
            // A password may stand in it.
            errors.add("OTEL_EXPORTER_OTLP_ENDPOINT", wanted);
            return None;
        }
        let mut notes = Vec::new();
        if of_traces("PROTOCOL").is_some_and(|protocol| protocol != "http/protobuf") {
            notes
                .push("OTEL_EXPORTER_OTLP_PROTOCOL: traces go by http/protobuf, whatever it says".to_owned());
        }
        if get("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter != "otlp") {
            notes.push("OTEL_TRACES_EXPORTER: is otlp or none; traces go by otlp".to_owned());
        }
        let timeout = of_traces("TIMEOUT").and_then(|text| match text.parse() {
            Ok(ms) => Some(Duration::from_millis(ms)),
            Err(_) => {
                notes.push("OTEL_EXPORTER_OTLP_TIMEOUT: is a number of milliseconds".to_owned());
                None
            }
        });
        let headers = pairs("OTEL_EXPORTER_OTLP_HEADERS", of_traces("HEADERS"), &mut notes);
        let sampling = sampling(get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG"), &mut notes);
        let mut resource = vec![("service.name".to_owned(), DEFAULT_NAME.to_owned())];
        let attributes = pairs("OTEL_RESOURCE_ATTRIBUTES", get("OTEL_RESOURCE_ATTRIBUTES"), &mut notes);
        resource.extend(attributes.into_iter().map(|(name, value)| (name, decoded(&value))));
        resource.extend(get("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name.to_owned())));
        let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
        let headers = headers.into_iter().collect();
        Some(TraceSettings { endpoint, headers, timeout, resource, sampling, notes })
    }
}

/// Returns whether something can be posted there.
fn is_address(endpoint: &str) -> bool {
    let uri: Option<hyper::Uri> = endpoint.parse().ok();
    uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

/// Reads `name=value,name=value`.
fn pairs(variable: &str, text: Option<&str>, notes: &mut Vec<String>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for item in text.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if !name.is_empty() => pairs.push((name.to_owned(), value.to_owned())),
            _ => notes.push(format!("{variable}: is NAME=VALUE,NAME=VALUE…; one of them is not")),
        }
    }
    pairs
}

/// Reads percent-encoding; what is none stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        match behind.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(b'%');
                rest = behind;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn sampling(name: Option<&str>, share: Option<&str>, notes: &mut Vec<String>) -> Sampling {
    let all = Sampling { by_parent: true, share: 1.0 };
    let name = name.unwrap_or("parentbased_always_on");
    let (by_parent, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name),
    };
    let share = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => match share.map(str::parse) {
            None => 1.0,
            Some(Ok(share)) if (0.0..=1.0).contains(&share) => share,
            Some(_) => {
                notes.push("OTEL_TRACES_SAMPLER_ARG: is a share between 0 and 1; all are kept".to_owned());
                1.0
            }
        },
        _ => {
            notes.push(
                "OTEL_TRACES_SAMPLER: is always_on, always_off or traceidratio, each also as parentbased_…; all \
                 that a caller does not decide are kept"
                    .to_owned(),
            );
            return all;
        }
    };
    Sampling { by_parent, share }
}

#[cfg(test)]
mod tests;
