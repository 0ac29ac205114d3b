//! Web analytics: how much has been received and written, as a stream of server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::json;
use sg_core::ports::StatusDetail;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::error::ApiError;
use crate::server::LongAnswer;
use crate::{App, Door, cors};

/// Streams open at once: a page of a wall of screens each. They hold connections that senders would want.
const WATCHERS_MAX: usize = 256;
/// Between two events of a stream.
const PERIOD: Duration = Duration::from_secs(1);
/// How long numbers are told to others than those for whom they were asked.
const FRESH: Duration = Duration::from_millis(500);

/// Those who watch, and what they were told last: however many there are, the store is asked for one.
#[derive(Debug)]
pub struct Watchers {
    places: Arc<Semaphore>,
    told: Mutex<Option<(Instant, String)>>,
}

impl Default for Watchers {
    fn default() -> Watchers {
        Watchers { places: Arc::new(Semaphore::new(WATCHERS_MAX)), told: Mutex::default() }
    }
}

/// `GET /metrics/stream`: an event `metrics` every second, until the client or the server leaves.
pub(crate) async fn stream(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let origin = app.origins.allowed(&headers);
    let answer = open(app).unwrap_or_else(IntoResponse::into_response);
    cors::mark(answer, origin)
}

fn open(app: Arc<App>) -> Result<Response, ApiError> {
    if app.draining.is_cancelled() {
        return Err(ApiError::Draining);
    }
    let place = app.watchers.places.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::TooManyWatchers(WATCHERS_MAX))?;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = unfold(Watcher { app, ticks, _place: place }, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok::<Event, Infallible>(event), watcher))
    });
    let mut answer = Sse::new(events).into_response();
    answer.extensions_mut().insert(LongAnswer);
    // What stands between must hand each event on at once.
    answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(answer)
}

struct Watcher {
    app: Arc<App>,
    ticks: Interval,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// Waits for the next second; returns none when the server leaves.
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            () = self.app.draining.cancelled() => return None,
            _ = self.ticks.tick() => {}
        }
        Some(match numbers(&self.app).await {
            Ok(numbers) => Event::default().event("metrics").data(numbers),
            // The stream goes on: the next second may be better.
            Err(_) => Event::default().comment("the store or the log does not answer"),
        })
    }
}

async fn numbers(app: &App) -> Result<String, ApiError> {
    let mut told = app.watchers.told.lock().await;
    if let Some((_, numbers)) = told.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return Ok(numbers.clone());
    }
    let numbers = ask(app).await?;
    *told = Some((Instant::now(), numbers.clone()));
    Ok(numbers)
}

/// Returns the numbers of the stream that `/events` posts to. What was received is what was written or came to nothing,
/// and the lag.
async fn ask(app: &App) -> Result<String, ApiError> {
    let stream = watched(app).map_or("", |door| door.plan.stream.name.as_str());
    let failed = |error| ApiError::of_store(&error);
    // The log first: a store that is ahead of it has no lag.
    let pending = app.pipeline.pending().await.map_err(failed)?;
    let status = app.store.status(StatusDetail::Marks).await.map_err(failed)?;
    let stored = || status.partitions.iter().filter(|partition| partition.stream == stream);
    let mut lag = 0;
    for pending in pending.iter().filter(|pending| pending.stream == stream) {
        let Some(extent) = pending.extent else { continue };
        let next = stored().find(|stored| stored.partition == pending.partition);
        lag += extent.end.saturating_sub(next.map_or(extent.start, |stored| stored.next_offset));
    }
    let processed: u64 = stored().map(|partition| partition.ledger.processed).sum();
    let written: u64 = stored().map(|partition| partition.ledger.counted).sum();
    let numbers = json!({
        "receivedTotal": processed + lag,
        "writtenTotal": written,
        "avgProcessingMs": (app.metrics.flush_duration.mean_ms() * 1e3).round() / 1e3,
        "lag": lag,
        "ts": app.clock.now().0,
    });
    Ok(numbers.to_string())
}

fn watched(app: &App) -> Option<&Door> {
    let posted_to = app.doors.iter().find(|door| door.paths.iter().any(|path| path == "/events"));
    posted_to.or_else(|| app.doors.first())
}
