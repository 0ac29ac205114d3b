//! Who may use which route: one line each, and a test holds the lines equal to the routes. A route without a line needs the
//! scope admin, so that one that was forgotten is open to nobody. Which keys there are is `guard`'s.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::Method;
use sg_core::key::Scope;

use Access::{Admin, Ask, Export, Ingest, Metrics, Open, Query};

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: it tells no more than whether the server is well, or how it is used.
    Open,
    /// A key that may send events.
    Ingest,
    /// A key that may ask.
    Query,
    /// As [`Access::Query`]; it has the store work for it, and takes its turn.
    Ask,
    /// As [`Access::Query`]; it has the store work for it for as long as it takes.
    Export,
    /// As [`Access::Query`], unless metrics are open.
    Metrics,
    /// A key that may do everything.
    Admin,
}

impl Access {
    /// Returns the scope that is asked for; `None` when none is.
    pub(crate) fn scope(self) -> Option<Scope> {
        match self {
            Open => None,
            Ingest => Some(Scope::Ingest),
            Query | Ask | Export | Metrics => Some(Scope::Query),
            Admin => Some(Scope::Admin),
        }
    }

    /// Returns whether its requests may have spans: those that have something done, not those that only look on.
    pub(crate) fn is_traced(self) -> bool {
        matches!(self, Ingest | Ask | Export | Admin)
    }
}

/// Every route but those that the configuration gives to streams, which take events.
const TABLE: &[(&str, &str, Access)] = &[
    ("GET", "/", Open),
    ("GET", "/assets/{name}", Open),
    ("GET", "/favicon.ico", Open),
    ("GET", "/docs", Open),
    ("GET", "/docs.css", Open),
    ("GET", "/docs.js", Open),
    ("GET", "/docs/errors/{code}", Open),
    ("GET", "/openapi.json", Open),
    ("GET", "/livez", Open),
    ("GET", "/readyz", Open),
    ("GET", "/healthz", Open),
    ("GET", "/health", Open),
    ("GET", "/actuator/health", Open),
    ("GET", "/actuator/health/liveness", Open),
    ("GET", "/actuator/health/readiness", Open),
    ("GET", "/v1/session", Open),
    ("POST", "/v1/session", Open),
    ("DELETE", "/v1/session", Open),
    ("POST", "/v1/events", Ingest),
    ("GET", "/v1/events", Ask),
    ("GET", "/v1/events/{event_id}", Ask),
    ("GET", "/v1/events/export", Export),
    ("POST", "/v1/events/delete", Admin),
    ("GET", "/v1/rollups", Query),
    ("GET", "/v1/rollups/{name}", Ask),
    ("GET", "/v1/rollups/{name}/top", Ask),
    ("GET", "/v1/dead-letters", Ask),
    ("GET", "/v1/dead-letters/{stream}/{partition}/{offset}", Ask),
    ("GET", "/v1/late", Ask),
    ("GET", "/v1/archive", Ask),
    ("GET", "/v1/status", Query),
    ("GET", "/v1/stream", Query),
    ("GET", "/v1/demo", Query),
    ("GET", "/metrics", Metrics),
    ("GET", "/prometheus", Metrics),
    ("GET", "/actuator/metrics", Metrics),
    ("GET", "/actuator/metrics/{name}", Metrics),
    ("GET", "/metrics/latest", Ask),
    ("GET", "/metrics/stream", Query),
    ("GET", "/streams/top", Ask),
    ("GET", "/api/aggregations", Ask),
    ("GET", "/api/aggregations/latest", Ask),
    ("GET", "/api/stats", Ask),
    ("GET", "/api/event-types", Ask),
    ("GET", "/api/pipeline/memory", Query),
    ("GET", "/analytics/events/count", Ask),
    ("GET", "/analytics/top-events", Ask),
    ("GET", "/analytics/users/active", Ask),
    ("GET", "/analytics/user/{user_id}/events", Ask),
    ("POST", "/api/pipeline/flush", Admin),
    ("POST", "/v1/flush", Admin),
    ("POST", "/v1/dead-letters/replay", Admin),
    ("POST", "/v1/rebuild", Admin),
    ("POST", "/v1/demo/start", Admin),
    ("POST", "/v1/demo/stop", Admin),
    ("GET", "/v1/keys", Admin),
    ("POST", "/v1/keys", Admin),
    ("DELETE", "/v1/keys/{id}", Admin),
];

static LINES: LazyLock<HashMap<(&str, &str), Access>> =
    LazyLock::new(|| TABLE.iter().map(|(method, path, access)| ((*method, *path), *access)).collect());

/// Returns what a route asks for; `is_door` says that the path is one of a stream's own.
pub(crate) fn of(method: &Method, path: &str, is_door: bool) -> Access {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    if method == "OPTIONS" {
        // A browser asks before it sends, and never with a key.
        return Open;
    }
    match LINES.get(&(method, path)) {
        Some(access) => *access,
        None if is_door && method == "POST" => Ingest,
        None => Admin,
    }
}

#[cfg(test)]
mod tests;
