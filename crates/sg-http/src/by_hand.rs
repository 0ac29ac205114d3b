//! Events by hand: `GET /v1/events/export` hands out counted events that meet conditions, `POST /v1/events/delete` deletes
//! them and tells line by line how far it is. What is meant by the conditions is the core's.

mod lines;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use opentelemetry::context::FutureExt as _;
use serde::Deserialize;
use serde_json::json;
use sg_core::erase::{DeleteSaid, DeleteWish};
use sg_core::ports::Picking;
use sg_core::selection::Selection;
use sg_core::time::Timestamp;
use tokio::sync::mpsc;

use crate::error::{ApiError, failed};
use crate::params::Params;
use crate::{App, Door, body, traces};

use lines::{Written, deleted_json, said_json};

/// Lines that are listed; the rest are counted only.
const LISTED_MAX: usize = 20_000;
/// Lines that wait for who asked: all that are listed, and some of the progress.
const LINES_MAX: usize = LISTED_MAX + 4_096;

/// `GET /v1/events/export?stream=&where=&format=ndjson|csv`: the counted events of a stream, by partition and offset, until
/// the end of those that were counted when it was asked. An answer that is cut off was not the end.
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["stream", "where", "format"])?;
    let written = match params.get("format") {
        None | Some("ndjson") => Written::Ndjson,
        Some("csv") => Written::Csv,
        Some(other) => {
            return Err(ApiError::BadQuery(format!("format is ndjson or csv, not {other}")));
        }
    };
    let selection = selection(params.get("where").unwrap_or_default(), app.clock.now());
    let selection = selection.map_err(ApiError::BadQuery)?;
    let stream = stream_of(&app, params.get("stream"))?.plan.name.to_string();
    let picking = app.picker.pick(&stream, &selection).await.map_err(|error| ApiError::of_store(&error))?;
    let export = Export { picking, stream, written, heading: Some(written.heading()), rows: 0 };
    let body = Body::from_stream(unfold(Some(export), |export| async move {
        let mut export = export?;
        match export.next().await {
            Ok(None) => None,
            Ok(Some(text)) => Some((Ok(text), Some(export))),
            // The answer has begun: that it is not whole shows in its being cut off.
            Err(error) => Some((Err(error), None)),
        }
    }));
    Ok(([(header::CONTENT_TYPE, written.content_type())], body).into_response())
}

fn selection(text: &str, now: Timestamp) -> Result<Selection, String> {
    Selection::parse(text, now).map_err(|error| format!("where: {error}"))
}

/// Returns the stream that is named, or the first that keeps raw events, or the first.
fn stream_of<'a>(app: &'a App, stream: Option<&str>) -> Result<&'a Door, ApiError> {
    let found = match stream {
        Some(name) => app.doors.iter().find(|door| *door.plan.name == *name),
        None => {
            let keeps = |door: &&Door| door.plan.stream.raw_table.is_some();
            app.doors.iter().find(keeps).or_else(|| app.doors.first())
        }
    };
    found.ok_or_else(|| ApiError::unknown_stream(app, stream.unwrap_or_default()))
}

/// Events on their way out.
struct Export {
    picking: Box<dyn Picking>,
    stream: String,
    written: Written,
    heading: Option<String>,
    rows: u64,
}

impl Export {
    /// Returns the next text; `None` at the end.
    async fn next(&mut self) -> Result<Option<String>, io::Error> {
        let mut text = self.heading.take().unwrap_or_default();
        loop {
            let events = self.picking.next().await.map_err(|error| {
                failed(&format!("exporting events of {}", self.stream), &error);
                io::Error::other(error)
            })?;
            let Some(events) = events else {
                traces::note("streamgauge.events.exported", self.rows);
                return Ok((!text.is_empty()).then_some(text));
            };
            self.rows += events.len() as u64;
            for (event, sent) in &events {
                self.written.push(&mut text, &self.stream, event, sent.as_deref())?;
            }
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
    }
}

/// How long a delete that looks through many events says nothing: who asked, and what stands between, wait a minute.
const QUIET_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(rename = "where")]
    conditions: String,
    stream: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/events/delete`: answers at once, with NDJSON that goes on until the end. Its last line has `done` or `failed`.
pub(crate) async fn delete(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, &app.budget).await?;
    let asked: Asked = serde_json::from_slice(&body.bytes)
        .map_err(|error| ApiError::InvalidBody(format!("the body is not what a delete asks for: {error}")))?;
    let selection = selection(&asked.conditions, app.clock.now()).map_err(ApiError::InvalidBody)?;
    if selection.is_empty() {
        let why = "where has no condition, and all events are not meant: say which";
        return Err(ApiError::InvalidBody(why.to_owned()));
    }
    if let Some(stream) = &asked.stream {
        stream_of(&app, Some(stream))?;
    }
    let wish = DeleteWish { stream: asked.stream, selection, is_dry: asked.dry_run };
    let (lines, told) = mpsc::channel::<String>(LINES_MAX);
    // Who asked may leave: each step is right by itself, and the rest follows.
    tokio::spawn(async move { run(&app, &wish, lines).await }.with_current_context());
    let stream = unfold(told, |mut told| async move {
        told.recv().await.map(|line| (Ok::<_, Infallible>(line + "\n"), told))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

async fn run(app: &App, wish: &DeleteWish, lines: mpsc::Sender<String>) {
    let listed = AtomicUsize::new(0);
    let tell = |said: DeleteSaid| {
        let is_progress = matches!(said, DeleteSaid::Progress { .. });
        if !is_progress && listed.fetch_add(1, Ordering::Relaxed) >= LISTED_MAX {
            return;
        }
        // Nobody may listen any more, or not fast enough to hear of all progress.
        drop(lines.try_send(said_json(&said).to_string()));
    };
    let mut delete = app.picker.delete(wish, &tell);
    let done = loop {
        tokio::select! {
            done = &mut delete => break done,
            () = tokio::time::sleep(QUIET_MAX) => drop(lines.try_send(json!({"working": {}}).to_string())),
        }
    };
    let last = match done {
        Ok(deleted) => json!({"done": deleted_json(wish, &deleted)}),
        Err(error) => failed("deleting events", &error),
    };
    drop(lines.send(last.to_string()).await);
}
