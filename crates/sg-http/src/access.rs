//! Who may use which route, and which role of a process it is of: one line each, and a test holds the lines equal to the
//! routes. A route without a line needs the scope admin, so that one that was forgotten is open to nobody. Which keys there
//! are is `guard`'s.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::Method;
use sg_core::key::Scope;
use sg_core::nearest;

use crate::Roles;

use Access::{Admin, Ask, Export, Ingest, Metrics, Open, Query};
use Role::{Answers, Any, Takes};

/// How like a path must be to be meant: many begin alike.
const PATH_LIKENESS_MIN: f64 = 0.95;

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

/// Which processes have a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// All of them.
    Any,
    /// Those that take events.
    Takes,
    /// Those that answer questions.
    Answers,
}

impl Role {
    /// Returns the role's name where a process with these roles lacks it.
    pub(crate) fn missing_in(self, roles: Roles) -> Option<&'static str> {
        match self {
            Takes if !roles.ingest => Some("ingest"),
            Answers if !roles.query => Some("query"),
            Any | Takes | Answers => None,
        }
    }
}

/// Every route but those that the configuration gives to streams, which take events.
const TABLE: &[(&str, &str, Access, Role)] = &[
    ("GET", "/", Open, Answers),
    ("GET", "/assets/{name}", Open, Answers),
    ("GET", "/favicon.ico", Open, Any),
    ("GET", "/docs", Open, Any),
    ("GET", "/docs.css", Open, Any),
    ("GET", "/docs.js", Open, Any),
    ("GET", "/docs/errors", Open, Any),
    ("GET", "/docs/errors/{code}", Open, Any),
    ("GET", "/openapi.json", Open, Any),
    ("GET", "/livez", Open, Any),
    ("GET", "/readyz", Open, Any),
    ("GET", "/healthz", Open, Any),
    ("GET", "/health", Open, Any),
    ("GET", "/actuator/health", Open, Any),
    ("GET", "/actuator/health/liveness", Open, Any),
    ("GET", "/actuator/health/readiness", Open, Any),
    ("GET", "/v1/session", Open, Any),
    ("POST", "/v1/session", Open, Any),
    ("DELETE", "/v1/session", Open, Any),
    ("POST", "/v1/events", Ingest, Takes),
    ("GET", "/v1/events", Ask, Answers),
    ("GET", "/v1/events/{event_id}", Ask, Answers),
    ("GET", "/v1/events/export", Export, Answers),
    ("POST", "/v1/events/delete", Admin, Any),
    ("GET", "/v1/rollups", Query, Any),
    ("GET", "/v1/rollups/{name}", Ask, Answers),
    ("GET", "/v1/rollups/{name}/top", Ask, Answers),
    ("GET", "/v1/dead-letters", Ask, Answers),
    ("GET", "/v1/dead-letters/{stream}/{partition}/{offset}", Ask, Answers),
    ("GET", "/v1/late", Ask, Answers),
    ("GET", "/v1/archive", Ask, Answers),
    ("GET", "/v1/status", Query, Any),
    ("GET", "/v1/stream", Query, Any),
    ("GET", "/v1/demo", Query, Any),
    ("GET", "/metrics", Metrics, Any),
    ("GET", "/prometheus", Metrics, Any),
    ("GET", "/actuator/metrics", Metrics, Any),
    ("GET", "/actuator/metrics/{name}", Metrics, Any),
    ("GET", "/metrics/latest", Ask, Answers),
    ("GET", "/metrics/stream", Query, Any),
    ("GET", "/streams/top", Ask, Answers),
    ("GET", "/api/aggregations", Ask, Answers),
    ("GET", "/api/aggregations/latest", Ask, Answers),
    ("GET", "/api/stats", Ask, Answers),
    ("GET", "/api/event-types", Ask, Answers),
    ("GET", "/api/pipeline/memory", Query, Any),
    ("GET", "/analytics/events/count", Ask, Answers),
    ("GET", "/analytics/top-events", Ask, Answers),
    ("GET", "/analytics/users/active", Ask, Answers),
    ("GET", "/analytics/user/{user_id}/events", Ask, Answers),
    ("POST", "/api/pipeline/flush", Admin, Any),
    ("POST", "/v1/flush", Admin, Any),
    ("POST", "/v1/dead-letters/replay", Admin, Any),
    ("POST", "/v1/rebuild", Admin, Any),
    ("POST", "/v1/demo/start", Admin, Any),
    ("POST", "/v1/demo/stop", Admin, Any),
    ("GET", "/v1/keys", Admin, Any),
    ("POST", "/v1/keys", Admin, Any),
    ("DELETE", "/v1/keys/{id}", Admin, Any),
];

/// Method and path.
type Route = (&'static str, &'static str);

static LINES: LazyLock<HashMap<Route, (Access, Role)>> = LazyLock::new(|| {
    TABLE.iter().map(|(method, path, access, role)| ((*method, *path), (*access, *role))).collect()
});

/// Returns what a route asks for, and which processes have it; `is_door` says that the path is one of a stream's own.
pub(crate) fn of(method: &Method, path: &str, is_door: bool) -> (Access, Role) {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    if method == "OPTIONS" {
        // A browser asks before it sends, and never with a key.
        return (Open, Any);
    }
    match LINES.get(&(method, path)) {
        Some(line) => *line,
        None if is_door && method == "POST" => (Ingest, Takes),
        None => (Admin, Any),
    }
}

/// Returns the methods of a route, but for those that every one has.
pub(crate) fn methods(path: &str, is_door: bool) -> Vec<&'static str> {
    let lines = TABLE.iter().filter(|(_, known, ..)| *known == path);
    let mut methods: Vec<&str> = lines.map(|(method, ..)| *method).collect();
    if is_door && !methods.contains(&"POST") {
        methods.push("POST");
    }
    methods
}

/// Returns the path that was meant by one that is not there: in other letters, with a slash too many, or mistyped. `doors`
/// are the paths of streams.
pub(crate) fn meant<'a>(path: &str, doors: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |path: &str| path.trim_end_matches('/').to_ascii_lowercase();
    let wanted = plain(path);
    let known: Vec<&str> = TABLE.iter().map(|(_, known, ..)| *known).chain(doors).collect();
    let same = known.iter().find(|known| plain(known) == wanted && **known != path);
    let whole = known.iter().copied().filter(|known| !known.contains('{') && *known != path);
    let typed = || nearest::find(&wanted, whole, PATH_LIKENESS_MIN);
    if wanted.is_empty() { None } else { same.copied().or_else(typed) }
}

#[cfg(test)]
mod tests;
