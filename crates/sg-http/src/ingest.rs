//! The way in: body → events → log → 202. Each event is accepted or refused with a reason to its sender; 202 is said
//! only after the log has made the accepted ones durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use sg_core::batch::EventBatch;
use sg_core::limits::ERRORS_LISTED_MAX;
use sg_core::plan::{Arrival, Plan};
use sg_core::ports::{Appended, PortError};
use sg_core::reason::Refusal;

use crate::error::{ApiError, item_json};
use crate::params::Params;
use crate::split::{Items, split};
use crate::traces::AppendSpan;
use crate::{Answers, App, Door, body, cors, limits, traces};

/// The longest time that `?wait=true` waits before it answers without.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How a request wants to be answered.
#[derive(Debug, Clone, Copy)]
struct Wish {
    /// Only when queries see the events.
    wait: bool,
    answers: Answers,
}

/// `POST /v1/events[?stream=S][&wait=true]`.
pub(crate) async fn post_by_query(State(app): State<Arc<App>>, request: Request) -> Response {
    let origin = app.post_origin(request.headers());
    let answer = by_query(&app, request).await;
    cors::mark(answer.into_response(), origin)
}

async fn by_query(app: &App, request: Request) -> Result<Response, ApiError> {
    let mut wish = Wish { wait: false, answers: Answers::Counts };
    let Some(query) = request.uri().query() else { return take(app, 0, wish, request).await };
    let params = Params::parse(query);
    params.only(&["stream", "wait"])?;
    let door = match params.get("stream") {
        None => 0,
        Some(name) => stream_index(app, name)?,
    };
    wish.wait = params.flag("wait")?;
    take(app, door, wish, request).await
}

/// `POST` on one of a stream's own paths.
pub(crate) async fn post_to(State(app): State<Arc<App>>, door: usize, request: Request) -> Response {
    let origin = app.post_origin(request.headers());
    let answer = by_path(&app, door, request).await;
    cors::mark(answer.into_response(), origin)
}

async fn by_path(app: &App, door: usize, request: Request) -> Result<Response, ApiError> {
    let wait = match request.uri().query() {
        None => false,
        Some(query) => Params::parse(query).flag("wait")?,
    };
    take(app, door, Wish { wait, answers: app.doors[door].answers }, request).await
}

fn stream_index(app: &App, name: &str) -> Result<usize, ApiError> {
    let found = app.doors.iter().position(|door| door.plan.stream.name == name);
    found.ok_or_else(|| ApiError::unknown_stream(app, name))
}

/// What became of a request's events.
struct Taken {
    batch: EventBatch,
    /// The first refusals, with the events' indexes.
    errors: Vec<(usize, Refusal)>,
    rejected: usize,
    /// The id to answer with when the request was one event.
    single: Option<String>,
}

async fn take(app: &App, door: usize, wish: Wish, request: Request) -> Result<Response, ApiError> {
    let began = Instant::now();
    app.metrics.requests.add(1);
    let taken = take_in(app, &app.doors[door], wish, request).await;
    app.metrics.ingest_duration.observe(began.elapsed());
    if taken.is_err() {
        app.metrics.requests_refused.add(1);
    }
    taken
}

async fn take_in(app: &App, door: &Door, wish: Wish, request: Request) -> Result<Response, ApiError> {
    let plan = &door.plan;
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, &app.budget).await?;
    app.metrics.ingest_bytes.add(body.wire_bytes as u64);
    let items = split(&body.bytes, &parts.headers)?;
    let standing = app.limits.take(&parts.extensions, &parts.headers, (items.len(), body.wire_bytes))?;
    let Taken { batch, errors, rejected, single } = parse(app, plan, &body.bytes, &items)?;
    let accepted = batch.len();
    if wish.answers == Answers::Empty && rejected > 0 {
        return Err(ApiError::AllRejected(accepted + rejected, errors));
    }
    let span = traces::append(&app.tracer, app.backends.0, &plan.name, (accepted, rejected));
    let appended = append(app, batch, span).await?;
    app.metrics.accepted.add(accepted as u64);
    let taken = if single.is_some() { &door.taken_singly } else { &door.taken_in_batches };
    taken.add(accepted as u64);
    for place in &appended {
        app.pipeline.pace(&plan.name, place.partition, place.first_offset).await;
    }
    if wish.wait {
        let seen = seen(app, plan, &appended);
        // The events are durable either way; who waits only wants to read them back.
        if !matches!(tokio::time::timeout(WAIT_MAX, seen).await, Ok(Ok(()))) {
            tracing::debug!("?wait=true answered before the store had the events");
        }
    }
    let mut answer = match wish.answers {
        Answers::Empty => StatusCode::ACCEPTED.into_response(),
        Answers::Counts => accepted_response(accepted, rejected, &errors, single),
    };
    if let Some(standing) = standing {
        limits::show(standing, answer.headers_mut());
    }
    Ok(answer)
}

async fn append(
    app: &App,
    mut batch: EventBatch,
    span: Option<AppendSpan>,
) -> Result<Vec<Appended>, ApiError> {
    let began = Instant::now();
    batch.traces.extend(span.as_ref().map(|span| (0, span.place())));
    match app.log.append(batch).await {
        Ok(appended) => {
            app.metrics.append_duration.observe(began.elapsed());
            if let Some(span) = span {
                span.end(&appended);
            }
            Ok(appended)
        }
        Err(error) => {
            let error = ApiError::of_log(&error);
            if let Some(span) = span {
                span.fail(error.meaning().1);
            }
            Err(error)
        }
    }
}

/// Waits until queries see what was appended.
async fn seen(app: &App, plan: &Plan, appended: &[Appended]) -> Result<(), PortError> {
    for place in appended {
        app.pipeline.wait_for(&plan.name, place.partition, place.next_offset).await?;
    }
    Ok(())
}

fn parse(app: &App, plan: &Plan, bytes: &Bytes, items: &Items<'_>) -> Result<Taken, ApiError> {
    let mut batch = EventBatch::new(plan.name.clone(), bytes.clone());
    let mut arrival =
        Arrival { received_at: Some(app.clock.now()), new_id: &mut || uuid::Uuid::now_v7().to_string() };
    let items = match items {
        Items::One(text) => {
            plan.accept(text, &mut arrival, &mut batch).map_err(|refusal| {
                app.metrics.rejected.add(refusal.code, 1);
                as_one(refusal)
            })?;
            let single = batch.text(batch.entries[0].id).to_owned();
            return Ok(Taken { batch, errors: Vec::new(), rejected: 0, single: Some(single) });
        }
        Items::Many(items) => items,
    };
    batch.entries.reserve(items.len());
    let mut errors = Vec::new();
    let mut rejected = 0;
    for (index, text) in items.iter().enumerate() {
        if let Err(refusal) = plan.accept(text, &mut arrival, &mut batch) {
            app.metrics.rejected.add(refusal.code, 1);
            rejected += 1;
            if errors.len() < ERRORS_LISTED_MAX {
                errors.push((index, refusal));
            }
        }
    }
    if batch.is_empty() {
        return Err(ApiError::AllRejected(rejected, errors));
    }
    Ok(Taken { batch, errors, rejected, single: None })
}

/// A body that is not JSON at all is a fault of the request, not of an event.
fn as_one(refusal: Refusal) -> ApiError {
    match refusal.code {
        sg_core::reason::Code::InvalidJson => ApiError::InvalidBody(refusal.detail),
        _ => ApiError::Refused(refusal),
    }
}

fn accepted_response(
    accepted: usize,
    rejected: usize,
    errors: &[(usize, Refusal)],
    single: Option<String>,
) -> Response {
    let text = match single {
        Some(id) => format!("{{\"status\":\"accepted\",\"event_id\":{}}}", serde_json::Value::from(id)),
        None if errors.is_empty() => {
            format!("{{\"accepted\":{accepted},\"rejected\":{rejected},\"errors\":[]}}")
        }
        None => {
            let errors: Vec<_> = errors.iter().map(|(index, refusal)| item_json(*index, refusal)).collect();
            serde_json::json!({"accepted": accepted, "rejected": rejected, "errors": errors}).to_string()
        }
    };
    (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}
