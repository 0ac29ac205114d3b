//! Stream metrics: what happens in live streams, by stream and minute. Rows carry the measures that the rollup has, in
//! its order: one that is defined later appears by itself, here and in `by=`.

mod observed;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use sg_core::definition::Rollup;
use sg_core::limits::{QUERY_CELLS_MAX, QUERY_ROWS_MAX};
use sg_core::query::{CellOrder, CellQuery, Row};
use sg_core::time::Timestamp;

use crate::answer;
use crate::error::ApiError;
use crate::params::Params;
use crate::rollups;
use crate::{App, BareMetrics, metrics};

use super::newest::{self, ALWAYS};

pub use observed::MetricsApi;
pub(crate) use observed::{observe, prometheus};

/// The rollup that these paths show.
const ROLLUP: &str = "stream_metrics_minute";
/// Minutes looked back unless asked otherwise.
const MINUTES: usize = 10;
/// Minutes looked back at most: the 400 days for which the rollup is kept.
const MINUTES_MAX: usize = 400 * 24 * 60;
/// Rows of an answer unless asked otherwise.
const ROWS: usize = 100;
/// Streams of `/streams/top` unless asked otherwise.
const TOP_ROWS: usize = 5;
/// How far back from the newest window a stream's last row is looked for.
const LATEST_REACH: Duration = Duration::from_secs(24 * 3_600);

/// `GET /metrics`: with a query rows, without one what the listening address is set to.
pub(crate) async fn metrics(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    bare: BareMetrics,
) -> Response {
    let query = query.filter(|query| !query.is_empty());
    if !app.roles.query || (query.is_none() && bare == BareMetrics::Prometheus) {
        return metrics::answer(&app).await;
    }
    recent(&app, query.as_deref()).await.into_response()
}

/// The rows of the last minutes, newest first.
async fn recent(app: &App, query: Option<&str>) -> Result<Response, ApiError> {
    let rollup = rollups::find(app, ROLLUP)?;
    let params = Params::parse(query.unwrap_or_default());
    params.only(&["minutes", "limit"])?;
    let limit = params.count("limit", ROWS, QUERY_ROWS_MAX)?;
    let found = newest::rows(app, rollup, (since(app, rollup, &params)?, ALWAYS.1), Vec::new()).await?;
    let rows: Vec<String> = found.rows.iter().take(limit).map(|row| newest::row_json(rollup, row)).collect();
    let latest = newest::window_start(app, rollup).await?.unwrap_or(Timestamp::NEVER);
    let (latest, rows) = (answer::time(latest), rows.join(","));
    Ok(answer::json(format!("{{\"latest_window_start\":{latest},\"rows\":[{rows}]}}")))
}

/// Returns the start of the first window that begins within the minutes asked for.
fn since(app: &App, rollup: &Rollup, params: &Params) -> Result<Timestamp, ApiError> {
    let minutes = params.count("minutes", MINUTES, MINUTES_MAX)?;
    Ok(window_within(app.clock.now(), rollup, minutes))
}

fn window_within(now: Timestamp, rollup: &Rollup, minutes: usize) -> Timestamp {
    let from = now.minus(Duration::from_secs(minutes as u64 * 60));
    Timestamp(-(-from.0).div_euclid(rollup.window_ms) * rollup.window_ms)
}

/// `GET /metrics/latest`: the newest row of each stream.
pub(crate) async fn latest(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Params::parse(query.as_deref().unwrap_or_default()).only(&[])?;
    let rollup = rollups::find(&app, ROLLUP)?;
    let mut last: Vec<Row> = Vec::new();
    if let Some(start) = newest::window_start(&app, rollup).await? {
        let found = newest::rows(&app, rollup, (start.minus(LATEST_REACH), ALWAYS.1), Vec::new()).await?;
        last = found.rows;
        // Stable: of each stream the newest row stays the first.
        last.sort_by(|left, right| left.dimensions.cmp(&right.dimensions));
        last.dedup_by(|later, first| later.dimensions == first.dimensions);
    }
    let rows: Vec<String> = last.iter().map(|row| newest::row_json(rollup, row)).collect();
    Ok(answer::json(format!("{{\"rows\":[{}]}}", rows.join(","))))
}

/// `GET /streams/top?minutes=&by=&n=`: the streams with the largest values, best first. `limit` says the same as `n`.
pub(crate) async fn top(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let rollup = rollups::find(&app, ROLLUP)?;
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["minutes", "by", "n", "limit"])?;
    let name = if params.get("n").is_some() { "n" } else { "limit" };
    let count = params.count(name, TOP_ROWS, QUERY_ROWS_MAX)?;
    let measure = rollups::measure_index(rollup, &params)?;
    let query = CellQuery {
        rollup: rollup.clone(),
        from: since(&app, rollup, &params)?,
        to: ALWAYS.1,
        filters: Vec::new(),
        after: None,
        windows: Vec::new(),
        order: CellOrder::OldestFirst,
        cells_max: QUERY_CELLS_MAX,
    };
    let rows = rollups::largest(&app, &query, measure, count).await?;
    Ok(answer::json(format!("{{\"rows\":[{}]}}", rows.join(","))))
}
