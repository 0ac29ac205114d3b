//! Web analytics: how much has been received and written, as a stream of server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::error::ApiError;
use crate::live::{self, Marks, Place};
use crate::{App, Door, cors};

/// Between two events of a stream.
const PERIOD: Duration = Duration::from_secs(1);

/// `GET /metrics/stream`: an event `metrics` every second, until the client or the server leaves.
pub(crate) async fn stream(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let origin = app.origins.allowed(&headers);
    let answer = open(app).unwrap_or_else(IntoResponse::into_response);
    cors::mark(answer, origin)
}

fn open(app: Arc<App>) -> Result<Response, ApiError> {
    let place = live::take_place(&app)?;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = unfold(Watcher { app, ticks, _place: place }, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok::<Event, Infallible>(event), watcher))
    });
    Ok(live::as_stream(Sse::new(events).into_response()))
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
        Some(match numbers(&self.app, &*live::marks(&self.app).await) {
            Some(numbers) => Event::default().event("metrics").data(numbers),
            // The stream goes on: the next second may be better.
            None => Event::default().comment("the store or the log does not answer"),
        })
    }
}

/// Returns the numbers of the stream that `/events` posts to; none where log or store do not answer. What was received
/// is what was written or came to nothing, and the lag.
fn numbers(app: &App, marks: &Marks) -> Option<String> {
    let stream = watched(app).map_or("", |door| door.plan.stream.name.as_str());
    if marks.pending.is_err() || marks.status.is_err() {
        return None;
    }
    let places = marks.places(stream);
    let lag: u64 = places.iter().map(Place::lag).sum();
    let ledgers = || places.iter().filter_map(|place| place.stored).map(|stored| &stored.ledger);
    let processed: u64 = ledgers().map(|ledger| ledger.processed).sum();
    let written: u64 = ledgers().map(|ledger| ledger.counted).sum();
    let numbers = json!({
        "receivedTotal": processed + lag,
        "writtenTotal": written,
        "avgProcessingMs": (app.metrics.flush_duration.mean_ms() * 1e3).round() / 1e3,
        "lag": lag,
        "ts": app.clock.now().0,
    });
    Some(numbers.to_string())
}

fn watched(app: &App) -> Option<&Door> {
    let posted_to = app.doors.iter().find(|door| door.paths.iter().any(|path| path == "/events"));
    posted_to.or_else(|| app.doors.first())
}
