//! `GET /v1/stream`: what changes, as server-sent events. One [`feed`] a process asks the ports while somebody watches,
//! and each watcher gets what it finds. Nobody is waited for: who reads too slowly is told of the gap and gets the whole
//! again. Shapes of the events: docs/http.md.

mod change;
mod feed;
mod look;
mod marks;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::{App, cors};

use feed::{Feed, Message};
use look::Look;
pub(crate) use marks::{Marks, Place, marks};

/// Streams open at once: a page of a wall of screens each. They hold connections that senders would want.
const WATCHERS_MAX: usize = 256;

/// Those who watch, here and on `/metrics/stream`, and what they are told: however many there are, the log and the
/// store are asked for one.
#[derive(Debug)]
pub struct Watchers {
    places: Arc<Semaphore>,
    marks: marks::Told,
    feed: Arc<Feed>,
}

impl Default for Watchers {
    fn default() -> Watchers {
        Watchers {
            places: Arc::new(Semaphore::new(WATCHERS_MAX)),
            marks: marks::Told::default(),
            feed: Arc::new(Feed::default()),
        }
    }
}

impl Watchers {
    /// Returns how many watch now.
    pub(crate) fn taken(&self) -> usize {
        WATCHERS_MAX - self.places.available_permits()
    }
}

/// Takes one of the places of those who watch; it is free again when it is dropped.
pub(crate) fn take_place(app: &App) -> Result<OwnedSemaphorePermit, ApiError> {
    if app.draining.is_cancelled() {
        return Err(ApiError::Draining);
    }
    let place = app.watchers.places.clone().try_acquire_owned();
    place.map_err(|_| ApiError::TooManyWatchers(WATCHERS_MAX))
}

/// Marks an answer as a stream of events, for those that stand between.
pub(crate) fn as_stream(mut answer: Response) -> Response {
    // What stands between must hand each event on at once.
    answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

/// `GET /v1/stream`, with `Last-Event-ID` to go on from: until the client or the server leaves.
pub(crate) async fn stream(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let origin = app.origins.allowed(&headers);
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let answer = open(app, last_id).unwrap_or_else(IntoResponse::into_response);
    cors::mark(answer, origin)
}

fn open(app: Arc<App>, last_id: Option<&str>) -> Result<Response, ApiError> {
    let place = take_place(&app)?;
    let (missed, receiver) = Feed::join(&app, last_id);
    let (feed, draining) = (app.watchers.feed.clone(), app.draining.clone());
    let watcher = Watcher {
        feed,
        draining,
        write_all: move |look: &Look| change::everything(&app, look),
        needs_all: missed.is_none(),
        missed: missed.unwrap_or_default().into_iter(),
        receiver,
    };
    let events = unfold((watcher, place), |(mut watcher, place)| async move {
        let told = watcher.next().await?;
        Some((Ok::<Event, Infallible>(event(&told)), (watcher, place)))
    });
    Ok(as_stream(Sse::new(events).into_response()))
}

/// One who watches, and how everything is written for it.
struct Watcher<W> {
    feed: Arc<Feed>,
    draining: CancellationToken,
    write_all: W,
    receiver: Receiver<Arc<Message>>,
    /// What was said while the watcher was away.
    missed: std::vec::IntoIter<Arc<Message>>,
    /// Whether the next thing to say is everything.
    needs_all: bool,
}

impl<W: Fn(&Look) -> String> Watcher<W> {
    /// Waits for the next event; returns none when the server leaves.
    async fn next(&mut self) -> Option<Arc<Message>> {
        if let Some(message) = self.missed.next() {
            return Some(message);
        }
        loop {
            if self.needs_all
                && let Some((all, receiver)) = self.feed.all(&self.write_all)
            {
                self.receiver = receiver;
                self.needs_all = false;
                return Some(Arc::new(all));
            }
            let received = tokio::select! {
                () = self.draining.cancelled() => return None,
                received = self.receiver.recv() => received,
            };
            match received {
                // What it says is in everything that follows.
                Ok(_) if self.needs_all => {}
                Ok(message) => return Some(message),
                Err(RecvError::Lagged(count)) => {
                    self.needs_all = true;
                    return Some(Arc::new(Message::gap(count)));
                }
                // The feed's sender lives as long as the process.
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn event(message: &Message) -> Event {
    let event = Event::default();
    // A gap has no place among the others: who comes back after it goes on behind what it had before.
    let event = if message.id.is_empty() { event } else { event.id(&message.id) };
    event.event(message.name).data(&message.data)
}

#[cfg(test)]
mod tests;
