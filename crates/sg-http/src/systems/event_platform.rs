//! The event platform's analytics: questions about the stream whose raw events are kept.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::json;
use sg_core::definition::{LatePolicy, Rollup};
use sg_core::limits::{QUERY_ROWS_MAX, TIME_MAX_MS, TIME_MIN_MS};
use sg_core::query::{self, EventQuery, StoredEvent, TallyQuery};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::answer;
use crate::error::ApiError;
use crate::events::raw_door;
use crate::params::{Named, Params};
use crate::{App, Door};

/// Rows of a list unless asked otherwise.
const ROWS: usize = 10;
/// How far back users count as active unless asked otherwise.
const ACTIVE_WINDOW: &str = "24h";

/// `GET /analytics/events/count?from_ts=&to_ts=`: events that happened from one time to before another.
pub(crate) async fn count(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["from_ts", "to_ts"])?;
    let now = app.clock.now();
    let (from, to) = (params.time("from_ts", now)?, params.time("to_ts", now)?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(ApiError::BadQuery("from_ts lies behind to_ts".to_owned()));
    }
    let door = raw_door(&app, None)?;
    let count = count_between(&app, door, (from, to)).await?;
    Ok(answered(&app, json!({"count": count}).to_string()))
}

/// Counts the events of a range: those of whole panes in the cells of a rollup that takes every event, the others one by
/// one, as far back as raw events are kept.
async fn count_between(
    app: &App,
    door: &Door,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
) -> Result<u64, ApiError> {
    let stream = &door.plan.stream.name;
    let mut planned = door.plan.rollups.iter().map(|planned| &planned.rollup);
    let Some(rollup) = planned.find(|rollup| rollup.late == LatePolicy::Correct) else {
        return count_raw(app, stream, (from, to)).await;
    };
    // A range that is open at an end has no events there that are in no whole pane.
    let from = from.unwrap_or(window::start_of(Timestamp(TIME_MIN_MS), rollup.pane_ms));
    let to = to.unwrap_or(window::end_of(Timestamp(TIME_MAX_MS), rollup.pane_ms));
    let split = query::split_at_panes(from, to, rollup.pane_ms);
    let mut count = 0;
    if let Some((from, to)) = split.panes {
        let query = TallyQuery { rollup: rollup.clone(), from, to };
        count += app.store.totals(&query).await.map_err(|error| ApiError::of_store(&error))?.events;
    }
    for (from, to) in split.ends {
        count += count_raw(app, stream, (Some(from), Some(to))).await?;
    }
    Ok(count)
}

async fn count_raw(
    app: &App,
    stream: &str,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
) -> Result<u64, ApiError> {
    let query = EventQuery { stream: stream.to_owned(), from, to, ..EventQuery::default() };
    app.store.count_events(&query).await.map_err(|error| ApiError::of_store(&error))
}

fn answered(app: &App, text: String) -> Response {
    app.metrics.analytics_queries.add(1);
    answer::json(text)
}

/// `GET /analytics/top-events?limit=`: the most frequent names, as far back as they are counted.
pub(crate) async fn top_events(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["limit"])?;
    let limit = params.count("limit", ROWS, QUERY_ROWS_MAX)?;
    let rollup = by_type(raw_door(&app, None)?)?;
    let query =
        TallyQuery { rollup: rollup.clone(), from: Timestamp(TIME_MIN_MS), to: Timestamp(TIME_MAX_MS) };
    let mut tally = app.store.tally(&query).await.map_err(|error| ApiError::of_store(&error))?.events;
    // Stable: equal counts stay ordered by name.
    tally.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let name_json =
        |(dimensions, count): &(Vec<String>, u64)| json!({"event_name": dimensions[0], "count": count});
    let top: Vec<_> = tally.iter().take(limit).map(name_json).collect();
    Ok(answered(&app, json!({"top_events": top}).to_string()))
}

fn by_type(door: &Door) -> Result<&Rollup, ApiError> {
    let mut planned = door.plan.rollups.iter().map(|planned| &planned.rollup);
    planned.find(|rollup| rollup.by == ["event_type"] && rollup.late == LatePolicy::Correct).ok_or_else(
        || {
            ApiError::UnknownRollup(format!(
                "no rollup of {} counts events by event_type alone: define one",
                door.plan.stream.name
            ))
        },
    )
}

/// `GET /analytics/users/active?window=24h`: how many different users something happened to since then.
pub(crate) async fn active_users(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["window"])?;
    let window = params.get("window").unwrap_or(ACTIVE_WINDOW);
    let length = query::parse_duration(window).filter(|length| !length.is_zero());
    let length = length.ok_or_else(|| {
        ApiError::BadQuery(format!("window is a duration such as 24h or 30m, not {window}"))
    })?;
    let stream = &raw_door(&app, None)?.plan.stream.name;
    let from = app.clock.now().minus(length);
    let users = app.store.active_users(stream, from, Timestamp(TIME_MAX_MS)).await;
    let users = users.map_err(|error| ApiError::of_store(&error))?;
    Ok(answered(&app, json!({"active_users": users, "window": window}).to_string()))
}

/// `GET /analytics/user/{user_id}/events?limit=`: newest first.
pub(crate) async fn user_events(
    State(app): State<Arc<App>>,
    Named(user_id): Named,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["limit"])?;
    let query = EventQuery {
        stream: raw_door(&app, None)?.plan.stream.name.clone(),
        user_id: Some(user_id.clone()),
        limit: params.count("limit", ROWS, QUERY_ROWS_MAX)?,
        ..EventQuery::default()
    };
    let events = app.store.events(&query).await.map_err(|error| ApiError::of_store(&error))?;
    let event_json = |event: &StoredEvent| {
        format!(
            "{{\"event_name\":{},\"metadata\":{},\"timestamp\":\"{}\"}}",
            answer::quoted(&event.event_type),
            event.properties,
            event.event_time
        )
    };
    let written: Vec<String> = events.iter().map(event_json).collect();
    let (user_id, events) = (answer::quoted(&user_id), written.join(","));
    Ok(answered(&app, format!("{{\"user_id\":{user_id},\"events\":[{events}]}}")))
}
