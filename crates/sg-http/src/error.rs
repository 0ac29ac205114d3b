//! The one place where a failure becomes a status and a body: RFC 9457 problem details with a `code` that has a page in
//! `docs/errors`. Never 5xx for a bad event, never 4xx for a passing fault: senders drop the one and retry the other.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sg_core::key::Scope;
use sg_core::metrics::{Bar, Limit};
use sg_core::nearest;
use sg_core::ports::{ErrorKind, PortError};
use sg_core::reason::Refusal;

use crate::limits::{self, Standing};
use crate::{App, Roles, access, traces};

/// How a key is shown. Basic is taken too, but not asked for: browsers would put a window of their own in front of the page.
const CHALLENGE: &str = "Bearer realm=\"streamgauge\"";

/// Everything that can go wrong with a request.
#[derive(Debug)]
pub(crate) enum ApiError {
    InvalidBody(String),
    EmptyBody,
    BadEncoding(String),
    BodyTooLarge(usize),
    TooManyEvents(usize),
    UnsupportedMediaType(String),
    UnsupportedEncoding(String),
    OverBudget,
    TooManyWatchers(usize),
    SlowBody,
    /// The one event of the request was refused.
    Refused(Refusal),
    /// Every event of the request was refused: how many, and the errors to list.
    AllRejected(usize, Vec<(usize, Refusal)>),
    LogUnavailable(String),
    DiskFull(String),
    Draining,
    UnknownStream(String),
    UnknownRollup(String),
    NoRawTable(String),
    /// The process lacks the role that serves the path; those that it has.
    RoleMissing(&'static str, Roles),
    NotFound(String),
    MethodNotAllowed(String),
    BadQuery(String),
    PaneTooCoarse(String),
    RangeTooLarge(String),
    StoreUnavailable(String),
    /// A question was stopped because it took too long.
    QueryTimeout(String),
    Internal(String),
    KeyMissing,
    KeyUnknown,
    ScopeMissing(Scope),
    OriginRefused,
    /// The keys could not be read for too long.
    KeysUnavailable,
    /// A sender sent more than it may; when this would fit, and how it stands.
    RateLimited {
        wait: Duration,
        standing: Standing,
        limit: Limit,
    },
    TooManyQuestions,
    /// A key that is not made.
    KeyRefused(String),
}

/// What kept a request out that is counted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurdle {
    Bar(Bar),
    Limit(Limit),
}

/// What stands beside an answer that is a problem, for whoever counts and traces: nobody reads a body again for it.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) request_id: String,
    pub(crate) hurdle: Option<Hurdle>,
}

impl ApiError {
    /// Returns the status and the code.
    pub(crate) fn meaning(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::InvalidBody(_) => (StatusCode::BAD_REQUEST, "invalid_body"),
            ApiError::EmptyBody => (StatusCode::BAD_REQUEST, "empty_body"),
            ApiError::BadEncoding(_) => (StatusCode::BAD_REQUEST, "bad_encoding"),
            ApiError::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            ApiError::TooManyEvents(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_events"),
            ApiError::UnsupportedMediaType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            ApiError::UnsupportedEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
            ApiError::OverBudget => (StatusCode::TOO_MANY_REQUESTS, "over_budget"),
            ApiError::TooManyWatchers(_) => (StatusCode::SERVICE_UNAVAILABLE, "too_many_watchers"),
            ApiError::SlowBody => (StatusCode::REQUEST_TIMEOUT, "slow_body"),
            ApiError::Refused(refusal) => (StatusCode::UNPROCESSABLE_ENTITY, refusal.code.as_str()),
            ApiError::AllRejected(..) => (StatusCode::UNPROCESSABLE_ENTITY, "all_rejected"),
            ApiError::LogUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "log_unavailable"),
            ApiError::DiskFull(_) => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            ApiError::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            ApiError::UnknownStream(_) => (StatusCode::NOT_FOUND, "unknown_stream"),
            ApiError::UnknownRollup(_) => (StatusCode::NOT_FOUND, "unknown_rollup"),
            ApiError::NoRawTable(_) => (StatusCode::NOT_FOUND, "no_raw_table"),
            ApiError::RoleMissing(..) => (StatusCode::NOT_FOUND, "role_missing"),
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            ApiError::BadQuery(_) => (StatusCode::BAD_REQUEST, "bad_query"),
            ApiError::PaneTooCoarse(_) => (StatusCode::BAD_REQUEST, "pane_too_coarse"),
            ApiError::RangeTooLarge(_) => (StatusCode::BAD_REQUEST, "range_too_large"),
            ApiError::StoreUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            ApiError::QueryTimeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "query_timeout"),
            ApiError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            ApiError::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            ApiError::TooManyQuestions => (StatusCode::SERVICE_UNAVAILABLE, "too_many_questions"),
            ApiError::KeyMissing => (StatusCode::UNAUTHORIZED, "key_missing"),
            ApiError::KeyUnknown => (StatusCode::UNAUTHORIZED, "key_unknown"),
            ApiError::ScopeMissing(_) => (StatusCode::FORBIDDEN, "scope_missing"),
            ApiError::OriginRefused => (StatusCode::FORBIDDEN, "origin_refused"),
            ApiError::KeysUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable"),
            ApiError::KeyRefused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "key_refused"),
        }
    }

    /// Returns what kept the request out, if it was refused for its key or for a limit.
    fn hurdle(&self) -> Option<Hurdle> {
        Some(match self {
            ApiError::KeyMissing => Hurdle::Bar(Bar::KeyMissing),
            ApiError::KeyUnknown => Hurdle::Bar(Bar::KeyUnknown),
            ApiError::ScopeMissing(_) => Hurdle::Bar(Bar::ScopeMissing),
            ApiError::OriginRefused => Hurdle::Bar(Bar::OriginRefused),
            ApiError::RateLimited { limit, .. } => Hurdle::Limit(*limit),
            ApiError::OverBudget => Hurdle::Limit(Limit::BodyBudget),
            ApiError::TooManyQuestions => Hurdle::Limit(Limit::Questions),
            ApiError::TooManyWatchers(_) => Hurdle::Limit(Limit::Watchers),
            _ => return None,
        })
    }

    fn detail(&self) -> String {
        match self {
            ApiError::EmptyBody => {
                "the body is empty: send one event, an array or lines of events".to_owned()
            }
            ApiError::BodyTooLarge(limit) => {
                format!("a body has at most {limit} bytes: send it in smaller pieces")
            }
            ApiError::TooManyEvents(limit) => {
                format!("a request has at most {limit} events: send them in smaller batches")
            }
            ApiError::OverBudget => {
                "too many bytes are in flight: send again after the time in Retry-After".to_owned()
            }
            ApiError::TooManyWatchers(limit) => {
                format!("{limit} streams are open already: close one, or ask another process")
            }
            ApiError::SlowBody => "the body came too slowly".to_owned(),
            ApiError::Refused(refusal) => refusal.detail.clone(),
            ApiError::AllRejected(count, _) => format!("none of the {count} events was accepted"),
            ApiError::Draining => "the server is stopping: send again".to_owned(),
            ApiError::RoleMissing(missing, roles) => format!(
                "this process has the roles {} only: {}, or add {missing} to its roles",
                roles.names().join(", "),
                match *missing {
                    "ingest" => "send events to one with the role ingest",
                    _ => "ask one with the role query",
                },
            ),
            ApiError::RateLimited { .. } => {
                "more came than this sender may send: send again after the time in Retry-After".to_owned()
            }
            ApiError::TooManyQuestions => {
                "too many questions are asked at once: ask again after the time in Retry-After".to_owned()
            }
            ApiError::KeyMissing => {
                "a key is needed: send it as Authorization: Bearer, X-Api-Key or the password of Basic"
                    .to_owned()
            }
            ApiError::KeyUnknown => {
                "the key is not known here: it was mistyped, revoked, has expired, or is another server's"
                    .to_owned()
            }
            ApiError::ScopeMissing(scope) => format!("the key lacks the scope {}", scope.as_str()),
            ApiError::OriginRefused => {
                "pages of this origin may not do this with this key or session".to_owned()
            }
            ApiError::KeysUnavailable => {
                "the keys cannot be read from the store: send again after the time in Retry-After".to_owned()
            }
            ApiError::KeyRefused(detail)
            | ApiError::InvalidBody(detail)
            | ApiError::BadEncoding(detail)
            | ApiError::UnsupportedMediaType(detail)
            | ApiError::UnsupportedEncoding(detail)
            | ApiError::LogUnavailable(detail)
            | ApiError::DiskFull(detail)
            | ApiError::UnknownStream(detail)
            | ApiError::UnknownRollup(detail)
            | ApiError::NoRawTable(detail)
            | ApiError::NotFound(detail)
            | ApiError::MethodNotAllowed(detail)
            | ApiError::BadQuery(detail)
            | ApiError::PaneTooCoarse(detail)
            | ApiError::RangeTooLarge(detail)
            | ApiError::StoreUnavailable(detail)
            | ApiError::QueryTimeout(detail)
            | ApiError::Internal(detail) => detail.clone(),
        }
    }

    /// Makes the error of a stream that is not configured.
    pub(crate) fn unknown_stream(app: &App, name: &str) -> ApiError {
        let known = app.doors.iter().map(|door| door.plan.stream.name.as_str());
        ApiError::UnknownStream(format!("there is no stream {name}{}", nearest::hint(name, known)))
    }

    /// Makes the error of an append that failed.
    pub(crate) fn of_log(error: &PortError) -> ApiError {
        match error.kind {
            ErrorKind::Full => ApiError::DiskFull(error.to_string()),
            ErrorKind::Closed => ApiError::Draining,
            ErrorKind::Retry | ErrorKind::Corrupt | ErrorKind::Invalid => {
                ApiError::LogUnavailable(error.to_string())
            }
        }
    }

    /// Makes the error of a question that failed.
    pub(crate) fn of_store(error: &PortError) -> ApiError {
        if error.is_overdue() {
            return ApiError::QueryTimeout(error.to_string());
        }
        match error.kind {
            ErrorKind::Invalid => ApiError::RangeTooLarge(error.to_string()),
            ErrorKind::Retry | ErrorKind::Full | ErrorKind::Closed => {
                ApiError::StoreUnavailable(error.to_string())
            }
            ErrorKind::Corrupt => ApiError::Internal(error.to_string()),
        }
    }
}

/// Makes the id that an error has in its answer, in its line of the log and in the span of its request.
fn new_request_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Tells the log and the span of its request of a failure after an answer has begun; returns the last line of that answer.
pub(crate) fn failed(doing: &str, error: &PortError) -> serde_json::Value {
    let request_id = new_request_id();
    tracing::warn!(%request_id, "{doing}: {error}");
    traces::name_error(&request_id);
    serde_json::json!({"failed": {"detail": error.to_string(), "request_id": request_id}})
}

/// One refused event of a request, as answers list it.
pub(crate) fn item_json(index: usize, refusal: &Refusal) -> serde_json::Value {
    serde_json::json!({"index": index, "code": refusal.code.as_str(), "field": refusal.field, "detail": refusal.detail})
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.meaning();
        let request_id = new_request_id();
        if status.is_server_error() {
            tracing::warn!(%request_id, code, "answered {}: {}", status.as_u16(), self.detail());
        }
        let mut problem = serde_json::json!({
            "type": format!("/docs/errors/{code}"),
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": code,
            "detail": self.detail(),
            "request_id": request_id,
        });
        if let ApiError::Refused(refusal) = &self {
            problem["field"] = refusal.field.as_str().into();
        }
        if let ApiError::AllRejected(count, errors) = &self {
            problem["accepted"] = 0.into();
            problem["rejected"] = (*count).into();
            problem["errors"] = errors.iter().map(|(index, refusal)| item_json(*index, refusal)).collect();
        }
        let mut response = (status, problem.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::INSUFFICIENT_STORAGE
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let ApiError::RateLimited { wait, standing, .. } = &self {
            let wait_s = wait.as_millis().div_ceil(1_000).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(wait_s).unwrap_or(u64::MAX)));
            limits::show(*standing, headers);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if matches!(self, ApiError::UnsupportedEncoding(_)) {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        }
        // What is left of a body that was not read would be taken for the next request.
        if matches!(self, ApiError::BodyTooLarge(_) | ApiError::OverBudget | ApiError::SlowBody) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Problem { code, request_id, hurdle: self.hurdle() });
        response
    }
}

/// Answers a path that is not there.
pub(crate) async fn not_found(State(app): State<Arc<App>>, uri: Uri) -> ApiError {
    let path = uri.path();
    let doors = app.doors.iter().flat_map(|door| &door.paths).map(String::as_str);
    let meant = access::meant(path, doors)
        .map_or_else(|| "; /docs lists every path".to_owned(), |meant| format!("; did you mean {meant}?"));
    ApiError::NotFound(format!("there is nothing at {path}{meant}"))
}

/// Answers a method that a path does not have.
pub(crate) async fn method_not_allowed(State(app): State<Arc<App>>, request: Request) -> ApiError {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let is_door = app.doors.iter().any(|door| door.paths.iter().any(|known| known == route));
    let methods = access::methods(route, is_door).join(" and ");
    ApiError::MethodNotAllowed(format!("{} takes {methods}, not {}", request.uri().path(), request.method()))
}

#[cfg(test)]
mod tests;
