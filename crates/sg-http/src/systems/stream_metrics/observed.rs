//! What the stream metrics API says of itself on `/prometheus`. Counts the requests of its own paths only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sg_core::cell::Value;
use sg_core::metrics::{Histogram, head, line};
use sg_core::ports::StatusDetail;

use crate::App;
use crate::error::ApiError;
use crate::rollups;

use super::super::newest::{self, ALWAYS};
use super::{MINUTES, ROLLUP, window_within};

/// The measure whose rows count as donations.
const DONATIONS: &str = "donations_usd";

/// What the API has answered: methods, paths and statuses are few, so that the counts are.
#[derive(Debug, Default)]
pub struct MetricsApi {
    answered: Mutex<BTreeMap<(String, String, u16), u64>>,
    duration: Histogram,
}

/// Counts a request.
pub(crate) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        _ => "other",
    };
    let answer = next.run(request).await;
    let key = (method.to_owned(), path.unwrap_or_default(), answer.status().as_u16());
    let mut answered = app.metrics_api.answered.lock().unwrap_or_else(PoisonError::into_inner);
    *answered.entry(key).or_default() += 1;
    drop(answered);
    app.metrics_api.duration.observe(began.elapsed());
    answer
}

/// `GET /prometheus`.
pub(crate) async fn prometheus(State(app): State<Arc<App>>) -> Response {
    let mut out = String::new();
    head(&mut out, "api_http_requests_total", "counter", "Requests answered, by method, path and status.");
    let answered = app.metrics_api.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for ((method, path, status), count) in &answered {
        let labels = format!("method=\"{method}\",path=\"{path}\",status=\"{status}\"");
        line(&mut out, format_args!("api_http_requests_total{{{labels}}} {count}"));
    }
    let help = "From a request to its answer.";
    app.metrics_api.duration.render("api_http_request_duration_seconds", help, &mut out);
    let is_ok = app.store.status(StatusDetail::Marks).await.is_ok();
    gauge(&mut out, "api_db_ok", "1 while the store answers.", f64::from(u8::from(is_ok)));
    // A store that does not answer has been told already.
    if let Ok(recent) = recent(&app).await {
        let help = "Rows of windows that began in the last ten minutes.";
        gauge(&mut out, "api_stream_metrics_rows_recent", help, recent.rows as f64);
        gauge(&mut out, "api_donation_rows_recent", "Those of them with donations.", recent.donations as f64);
        if let Some(age_seconds) = recent.latest_age_seconds {
            let help = "Since the start of the newest window.";
            gauge(&mut out, "api_latest_window_age_seconds", help, age_seconds);
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response()
}

fn gauge(out: &mut String, name: &str, help: &str, value: f64) {
    head(out, name, "gauge", help);
    line(out, format_args!("{name} {value}"));
}

struct Recent {
    rows: usize,
    donations: usize,
    latest_age_seconds: Option<f64>,
}

async fn recent(app: &App) -> Result<Recent, ApiError> {
    let rollup = rollups::find(app, ROLLUP)?;
    let now = app.clock.now();
    let from = window_within(now, rollup, MINUTES);
    let rows = newest::rows(app, rollup, (from, ALWAYS.1), Vec::new()).await?.rows;
    let measure = rollup.measures.iter().position(|measure| measure.name == DONATIONS);
    let given = |values: &[Value]| measure.and_then(|at| values[at].rank(&rollup.measures[at].function));
    let has_donations = |values: &[Value]| given(values).unwrap_or(0) != 0;
    let donations = rows.iter().filter(|row| has_donations(&row.values)).count();
    let latest = newest::window_start(app, rollup).await?;
    let latest_age_seconds = latest.map(|start| (now.0 - start.0) as f64 / 1e3);
    Ok(Recent { rows: rows.len(), donations, latest_age_seconds })
}
