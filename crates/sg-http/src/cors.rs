//! Which pages of other origins may post events and read the live stream from a browser. Holds nobody off who is no
//! browser; nothing else is opened to other origins.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::App;

/// Headers that a page may send beside those that every page may.
const HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, x-api-key, content-type, content-encoding, last-event-id");
/// How many seconds a browser need not ask again: short enough that a changed setting is soon felt.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origins that are allowed: `https://host`, `http://host:*` for any port, `*` for all.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Makes a list of origins.
    pub fn new(allowed: Vec<String>) -> Origins {
        Origins(allowed)
    }

    /// Returns what is no origin: those have a scheme and a host and end there.
    pub fn wrong(&self) -> impl Iterator<Item = &str> {
        let is_origin = |allowed: &str| {
            let host = allowed.strip_prefix("http://").or_else(|| allowed.strip_prefix("https://"));
            allowed == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ']))
        };
        self.0.iter().map(String::as_str).filter(move |allowed| !is_origin(allowed))
    }

    fn allow(&self, origin: &str) -> bool {
        let is_port = |rest: &str| {
            let port = rest.strip_prefix(':');
            rest.is_empty()
                || port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        };
        self.0.iter().any(|allowed| match allowed.strip_suffix(":*") {
            Some(host) => origin.strip_prefix(host).is_some_and(is_port),
            None => allowed == "*" || allowed == origin,
        })
    }

    /// Returns the origin of a request if it is another one's and allowed.
    pub(crate) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.allow(origin.to_str().ok()?).then(|| origin.clone())
    }
}

/// Lets the page that asked read the answer.
pub(crate) fn mark(mut answer: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    answer
}

/// `OPTIONS` of a path that events are posted to.
pub(crate) async fn preflight_of_posts(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    preflight(app.post_origin(&headers), HeaderValue::from_static("POST"))
}

/// `OPTIONS` of a stream of answers.
pub(crate) async fn preflight_of_reads(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    preflight(app.origins.allowed(&headers), HeaderValue::from_static("GET"))
}

/// Answers a browser that asks before it sends; one whose page is not allowed is told nothing, which means no.
fn preflight(origin: Option<HeaderValue>, method: HeaderValue) -> Response {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    if origin.is_some() {
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    mark(answer, origin)
}

#[cfg(test)]
mod tests;
