//! `POST /v1/rebuild`: makes the cells of a rollup again, and tells line by line how far it is and what differed.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use opentelemetry::context::FutureExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sg_core::definition::Rollup;
use sg_core::query::parse_time;
use sg_core::rebuild::{Difference, Rebuilt, Said, Wish};
use sg_core::time::Timestamp;
use sg_core::window;
use tokio::sync::mpsc;

use crate::error::{ApiError, failed};
use crate::{App, body, rollups};

/// Cells that are listed; the rest are counted only.
const LISTED_MAX: usize = 10_000;

/// Lines that wait for who asked: all that are listed, and some of the progress.
const LINES_MAX: usize = LISTED_MAX + 4_096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    rollup: String,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// Answers at once, with NDJSON that goes on until the rebuild has ended. Its last line has `done` or `failed`.
pub(crate) async fn rebuild(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, &app.budget).await?;
    let asked: Asked = serde_json::from_slice(&body.bytes).map_err(|error| {
        ApiError::InvalidBody(format!("the body is not what a rebuild asks for: {error}"))
    })?;
    let rollup = rollups::find(&app, &asked.rollup)?.clone();
    let now = app.clock.now();
    let time = |name: &str, text: &Option<String>| {
        let read = text.as_deref().map(|text| parse_time(text, now)).transpose();
        read.map_err(|_| ApiError::BadQuery(format!("{name} is a time such as -1h or 2025-01-01T00:00:00Z")))
    };
    let wish = Wish {
        rollup: asked.rollup.clone(),
        from: time("from", &asked.from)?,
        to: time("to", &asked.to)?,
        is_dry: asked.dry_run,
    };
    let (lines, told) = mpsc::channel::<String>(LINES_MAX);
    // Who asked may leave: what was begun is right at every moment, and ends by itself.
    tokio::spawn(async move { run(&app, &wish, &rollup, lines).await }.with_current_context());
    let stream = unfold(told, |mut told| async move {
        told.recv().await.map(|line| (Ok::<_, Infallible>(line + "\n"), told))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

async fn run(app: &App, wish: &Wish, rollup: &Rollup, lines: mpsc::Sender<String>) {
    let listed = AtomicUsize::new(0);
    let tell = |said: Said| {
        if matches!(said, Said::Differs(_)) && listed.fetch_add(1, Ordering::Relaxed) >= LISTED_MAX {
            return;
        }
        // Nobody may listen any more, or not fast enough to hear of all progress.
        drop(lines.try_send(said_json(rollup, said).to_string()));
    };
    let last = match app.rebuilder.rebuild(wish, &tell).await {
        Ok(rebuilt) => json!({"done": done_json(wish, rebuilt)}),
        Err(error) => failed("rebuilding", &error),
    };
    drop(lines.send(last.to_string()).await);
}

fn done_json(wish: &Wish, rebuilt: Rebuilt) -> Value {
    json!({
        "rollup": wish.rollup,
        "dry_run": wish.is_dry,
        "records": rebuilt.records,
        "differing": rebuilt.differing,
        "left": rebuilt.left,
        "is_whole": rebuilt.is_whole,
        "is_backfilled": rebuilt.is_backfilled,
    })
}

fn said_json(rollup: &Rollup, said: Said) -> Value {
    match said {
        Said::Begins { partition, offset, why } => {
            json!({"begins": {"partition": partition, "offset": offset, "why": why}})
        }
        Said::Read { partition, offset, end } => {
            json!({"read": {"partition": partition, "offset": offset, "end": end}})
        }
        Said::Left { window } => json!({"left": {"window_start": window.to_string()}}),
        Said::Differs(difference) => json!({"differs": difference_json(rollup, &difference)}),
    }
}

fn difference_json(rollup: &Rollup, difference: &Difference) -> Value {
    let made = &difference.made;
    let dimensions: Map<String, Value> = rollup
        .by
        .iter()
        .zip(&made.dimensions)
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let measures = |events: u64, values: &[sg_core::cell::Value]| {
        let mut shown = json!({"events": events});
        for (measure, value) in rollup.measures.iter().zip(values) {
            // Of a level what differs is how far the cell moves it.
            let text = match value {
                sg_core::cell::Value::Level(level) => Some(level.delta.to_string()),
                value => value.show(&measure.function),
            };
            let text = text.unwrap_or_else(|| "null".to_owned());
            shown[&measure.name] = serde_json::from_str(&text).unwrap_or(Value::Null);
        }
        shown
    };
    let window_start = window::start_of(made.pane, rollup.window_ms);
    json!({
        "window_start": window_start.to_string(),
        "pane": Timestamp(made.pane.0).to_string(),
        "dimensions": dimensions,
        "stored": difference.stored.as_ref().map(|row| measures(row.events, &row.values)),
        "rebuilt": (!made.shares.is_empty()).then(|| measures(made.events(), &made.values(rollup))),
        "left": difference.is_left,
    })
}
