//! `GET /v1/late`: the events that rollups diverted, and how late they were. What is computed from that is `lateness`'s.

mod lateness;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use sg_core::definition::{LatePolicy, Rollup};
use sg_core::limits::{TIME_MAX_MS, TIME_MIN_MS};
use sg_core::query::{LateQuery, StoredLate, TallyQuery};
use sg_core::time::Timestamp;

use crate::App;
use crate::answer;
use crate::error::ApiError;
use crate::params::Params;
use crate::rollups;

use lateness::Lateness;

/// Events of a page unless asked otherwise.
const PAGE_ROWS: usize = 100;
/// Events of a page at most.
const PAGE_ROWS_MAX: usize = 1_000;
/// Diverted events that are looked at for one summary, newest first: some tenths of a second of either store.
const SCANNED_MAX: usize = 20_000;
/// Of which so many are in memory at once.
const SCANNED_AT_ONCE: usize = 200;

/// What is asked for: events by their own time.
struct Question<'a> {
    rollups: Vec<&'a Rollup>,
    from: Timestamp,
    to: Timestamp,
}

impl Question<'_> {
    fn holds(&self, late: &StoredLate) -> bool {
        (self.from..self.to).contains(&late.event_time)
    }

    fn window_ms(&self, name: &str) -> i64 {
        self.rollups.iter().find(|rollup| rollup.name == name).map_or(0, |rollup| rollup.window_ms)
    }
}

/// `GET /v1/late?rollup=&from=&to=&limit=&cursor=`: diverted events, newest first, and a summary of each rollup.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["rollup", "from", "to", "limit", "cursor"])?;
    let now = app.clock.now();
    let question = Question {
        rollups: match params.get("rollup") {
            Some(name) => vec![rollups::find(&app, name)?],
            None => rollups::rollups(&app).collect(),
        },
        from: params.time("from", now)?.unwrap_or(Timestamp(TIME_MIN_MS)),
        to: params.time("to", now)?.unwrap_or(Timestamp(TIME_MAX_MS)),
    };
    if question.from > question.to {
        return Err(ApiError::BadQuery("from lies behind to".to_owned()));
    }
    let limit = params.count("limit", PAGE_ROWS, PAGE_ROWS_MAX)?;
    let wrong = || ApiError::BadQuery("cursor is the next_cursor of an earlier answer".to_owned());
    let before = params.get("cursor").map(|text| text.parse::<i64>().map_err(|_| wrong())).transpose()?;
    let (events, next) = page(&app, &question, params.get("rollup"), before, limit).await?;
    let mut summaries = Vec::new();
    for rollup in &question.rollups {
        summaries.push(summary(&app, &question, rollup).await?);
    }
    let data: Vec<Value> = events.iter().map(|late| late_json(&question, late)).collect();
    let body = json!({"data": data, "next_cursor": next.map(|id| id.to_string()), "summary": summaries});
    Ok(answer::json(body.to_string()))
}

/// Returns a page of diverted events, and where the next one begins when there may be more.
async fn page(
    app: &App,
    question: &Question<'_>,
    rollup: Option<&str>,
    mut before: Option<i64>,
    limit: usize,
) -> Result<(Vec<StoredLate>, Option<i64>), ApiError> {
    let mut found: Vec<StoredLate> = Vec::new();
    let mut scanned = 0;
    while scanned < SCANNED_MAX {
        let query = LateQuery { rollup: rollup.map(str::to_owned), before, limit: SCANNED_AT_ONCE };
        let read = app.store.late(&query).await.map_err(|error| ApiError::of_store(&error))?;
        let is_end = read.len() < SCANNED_AT_ONCE;
        scanned += read.len();
        for late in read {
            if found.len() == limit {
                return Ok((found, before));
            }
            before = Some(late.id);
            if question.holds(&late) {
                found.push(late);
            }
        }
        if is_end {
            return Ok((found, None));
        }
    }
    Ok((found, before))
}

fn late_json(question: &Question<'_>, late: &StoredLate) -> Value {
    let window_ms = question.window_ms(&late.rollup);
    let rollup = question.rollups.iter().find(|rollup| rollup.name == late.rollup);
    let names = rollup.map_or(&[][..], |rollup| &rollup.by);
    let dimensions: serde_json::Map<String, Value> = names
        .iter()
        .zip(&late.dimensions)
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    json!({
        "rollup": late.rollup,
        "partition": late.partition,
        "offset": late.offset,
        "event_id": late.event_id,
        "timestamp": late.event_time.to_string(),
        "received_at": late.received_at.to_string(),
        "window_start": late.window_start.to_string(),
        "window_end": Timestamp(late.window_start.0 + window_ms).to_string(),
        "late_by_ms": lateness::of(late.received_at, late.window_start, window_ms),
        "dimensions": dimensions,
        "raw": String::from_utf8_lossy(&late.raw),
    })
}

/// Returns how many events of a rollup were late, and where it diverts them, by how much.
async fn summary(app: &App, question: &Question<'_>, rollup: &Rollup) -> Result<Value, ApiError> {
    let failed = |error| ApiError::of_store(&error);
    let (from, to) = (question.from, question.to);
    let totals = app.store.totals(&TallyQuery { rollup: rollup.clone(), from, to }).await.map_err(failed)?;
    let counted = totals.events;
    if rollup.late == LatePolicy::Correct {
        return Ok(json!({
            "rollup": rollup.name, "policy": "correct", "grace_ms": rollup.grace_ms, "counted": counted,
            "late": totals.late, "is_complete": true,
        }));
    }
    let (late_by_ms, is_complete) = scan(app, question, rollup).await?;
    let lateness = Lateness::new(late_by_ms);
    let buckets: Vec<Value> = lateness
        .buckets()
        .into_iter()
        .map(|(from_ms, to_ms, events)| json!({"from_ms": from_ms, "to_ms": to_ms, "events": events}))
        .collect();
    Ok(json!({
        "rollup": rollup.name, "policy": "divert", "grace_ms": rollup.grace_ms, "counted": counted,
        "late": lateness.len(), "is_complete": is_complete, "histogram": buckets,
        "grace_ms_for_999_of_1000": lateness.grace_for(counted, rollup.grace_ms),
    }))
}

/// Returns by how much the diverted events of a range were late, and whether those are all.
async fn scan(app: &App, question: &Question<'_>, rollup: &Rollup) -> Result<(Vec<i64>, bool), ApiError> {
    let mut late_by_ms = Vec::new();
    let (mut before, mut scanned) = (None, 0);
    while scanned < SCANNED_MAX {
        let query = LateQuery { rollup: Some(rollup.name.clone()), before, limit: SCANNED_AT_ONCE };
        let read = app.store.late(&query).await.map_err(|error| ApiError::of_store(&error))?;
        scanned += read.len();
        before = read.last().map(|late| late.id);
        let mine = read.iter().filter(|late| question.holds(late));
        late_by_ms
            .extend(mine.map(|late| lateness::of(late.received_at, late.window_start, rollup.window_ms)));
        if read.len() < SCANNED_AT_ONCE {
            return Ok((late_by_ms, true));
        }
    }
    Ok((late_by_ms, false))
}
