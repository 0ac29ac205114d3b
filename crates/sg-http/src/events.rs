//! Questions about single events: the raw ones, newest first, and the fate of one id.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use sg_core::definition::{LatePolicy, Stream};
use sg_core::erase::Gift;
use sg_core::event::Canonical;
use sg_core::fold::{gifts, plan_of};
use sg_core::plan::{Plan, RollupPlan};
use sg_core::ports::StatusDetail;
use sg_core::query::{DeadLetterQuery, DeletedEvent, EventQuery, StoredEvent};
use sg_core::time::Timestamp;
use sg_core::window;

use crate::answer::{self, Format};
use crate::error::ApiError;
use crate::params::{Named, Params};
use crate::{App, Door};

/// Rows of a page unless asked otherwise.
const PAGE_ROWS: usize = 100;
/// Rows of a page at most.
const PAGE_ROWS_MAX: usize = 10_000;
/// Records at the log's end in which an id is looked for.
const LOG_SEARCH_RECORDS: u64 = 200_000;
/// Bytes read from the log at once during that search.
const LOG_SEARCH_BYTES: usize = 1 << 20;

/// What a question about events of any stream says: among it the fields by which they can be asked for.
const PARAMETERS: [&str; 9] =
    ["stream", "event_id", "user_id", "session_id", "event_type", "from", "to", "limit", "format"];

/// Returns the fields by which a stream's events can be asked for under names of its own, with them. A name that says
/// something else in a question goes on saying that.
pub(crate) fn own_parameters(stream: &Stream) -> impl Iterator<Item = (Canonical, &str)> {
    let is_more =
        |(field, name): &(Canonical, &str)| PARAMETERS.contains(&field.name()) && !PARAMETERS.contains(name);
    stream.fields.iter().filter(is_more)
}

/// `GET /v1/events?stream=&event_id=&user_id=&session_id=&event_type=&from=&to=&limit=&format=`, and the stream's own names
/// of these fields.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    let door = raw_door(&app, params.get("stream"))?;
    let stream = &door.plan.stream;
    let own: Vec<(Canonical, &str)> = own_parameters(stream).collect();
    params.only(&PARAMETERS.into_iter().chain(own.iter().map(|(_, name)| *name)).collect::<Vec<_>>())?;
    let text = |field: Canonical| {
        let own_name = own.iter().find(|(known, _)| *known == field).map(|(_, name)| *name);
        params.either(field.name(), own_name).map(|value| value.map(str::to_owned))
    };
    let now = app.clock.now();
    let query = EventQuery {
        stream: stream.name.clone(),
        event_id: text(Canonical::EventId)?,
        user_id: text(Canonical::UserId)?,
        session_id: text(Canonical::SessionId)?,
        event_type: text(Canonical::EventType)?,
        from: params.time("from", now)?,
        to: params.time("to", now)?,
        limit: params.count("limit", PAGE_ROWS, PAGE_ROWS_MAX)?,
    };
    let format = Format::parse(params.get("format"))?;
    if format == Format::Csv {
        return Err(ApiError::BadQuery("events have nested properties: format is json or ndjson".to_owned()));
    }
    let events = app.store.events(&query).await.map_err(|error| ApiError::of_store(&error))?;
    let written: Vec<String> = events.iter().map(event_json).collect();
    Ok(match format {
        Format::Ndjson => answer::ndjson(&written),
        Format::Json | Format::Csv => answer::json(format!(
            "{{\"stream\":{},\"data\":[{}]}}",
            answer::quoted(&query.stream),
            written.join(",")
        )),
    })
}

/// Returns the stream that is named, or the first that keeps raw events.
pub(crate) fn raw_door<'a>(app: &'a App, stream: Option<&str>) -> Result<&'a Door, ApiError> {
    let door = match stream {
        None => app.doors.iter().find(|door| door.plan.stream.raw_table.is_some()),
        Some(name) => app.doors.iter().find(|door| door.plan.stream.name == name),
    };
    match (door, stream) {
        (Some(door), _) if door.plan.stream.raw_table.is_some() => Ok(door),
        (Some(_), Some(name)) => Err(ApiError::NoRawTable(format!(
            "stream {name} keeps no raw events: give it a raw_table in the configuration"
        ))),
        (None, Some(name)) => Err(ApiError::unknown_stream(app, name)),
        (_, None) => Err(ApiError::NoRawTable(
            "no stream keeps raw events: give one a raw_table in the configuration".to_owned(),
        )),
    }
}

/// Returns a raw event as a JSON object.
pub(crate) fn event_json(event: &StoredEvent) -> String {
    let text = |value: &Option<String>| value.as_deref().map_or_else(|| "null".to_owned(), answer::quoted);
    format!(
        "{{\"event_id\":{},\"event_type\":{},\"timestamp\":\"{}\",\"user_id\":{},\"session_id\":{},\"properties\":{},\"received_at\":\"{}\",\"partition\":{},\"offset\":{}}}",
        answer::quoted(&event.event_id),
        answer::quoted(&event.event_type),
        event.event_time,
        text(&event.user_id),
        text(&event.session_id),
        event.properties,
        event.received_at,
        event.partition,
        event.offset,
    )
}

/// `GET /v1/events/{event_id}`: what became of it.
pub(crate) async fn fate(State(app): State<Arc<App>>, Named(event_id): Named) -> Result<Response, ApiError> {
    let mut fates = Vec::new();
    for door in &app.doors {
        fates.extend(stored_fates(&app, door, &event_id).await?);
    }
    fates.extend(deleted(&app, &event_id).await?);
    fates.extend(dead_letters(&app, &event_id).await?);
    if app.searches_log {
        for door in &app.doors {
            fates.extend(log_fates(&app, door, &event_id, &fates).await?);
        }
    }
    let fate =
        fates.first().map_or("unknown", |first| first["fate"].as_str().unwrap_or("unknown")).to_owned();
    let mut body = json!({"event_id": event_id, "fate": fate, "found": fates});
    if fate == "unknown" {
        let log = if app.searches_log {
            format!(", nor have the last {LOG_SEARCH_RECORDS} records of any log partition here")
        } else {
            "; what waits in the log is not searched".to_owned()
        };
        let without: Vec<&str> = app
            .doors
            .iter()
            .filter(|door| door.plan.stream.raw_table.is_none())
            .map(|door| door.plan.stream.name.as_str())
            .collect();
        let because = if without.is_empty() {
            "or it is older than what is kept".to_owned()
        } else {
            let without = without.join(", ");
            format!(
                "it is older than what is kept, or it was counted in a stream that keeps no raw events ({without})"
            )
        };
        let lost = lost(&app).await?;
        let why = format!(
            "no raw table and no dead letter has this id{log}; it was never accepted, {because}{lost}"
        );
        body["why"] = why.into();
    }
    Ok(answer::json(body.to_string()))
}

/// Says in which streams an event may have been that the log has lost before it was counted; nothing where none can.
async fn lost(app: &App) -> Result<String, ApiError> {
    let status = app.store.status(StatusDetail::Marks).await.map_err(|error| ApiError::of_store(&error))?;
    let with_skips = status.partitions.iter().filter(|known| known.ledger.skipped > 0);
    let places: Vec<String> =
        with_skips.map(|known| format!("{} offsets of {}", known.ledger.skipped, known.stream)).collect();
    if places.is_empty() {
        return Ok(String::new());
    }
    let places = places.join(", ");
    Ok(format!(
        ", or it was among the records that the log has lost before they were counted ({places} were skipped)"
    ))
}

/// The event as counted, from the raw table.
async fn stored_fates(app: &App, door: &Door, event_id: &str) -> Result<Vec<Value>, ApiError> {
    if door.plan.stream.raw_table.is_none() {
        return Ok(Vec::new());
    }
    let query = EventQuery {
        stream: door.plan.stream.name.clone(),
        event_id: Some(event_id.to_owned()),
        limit: PAGE_ROWS,
        ..EventQuery::default()
    };
    let events = app.store.events(&query).await.map_err(|error| ApiError::of_store(&error))?;
    let late = late_for(app, &door.plan, &events).await?;
    let fate_of = |event: &StoredEvent| {
        let is_late = |cell: &Value| {
            late.iter().any(|(rollup, place)| cell["rollup"] == **rollup && *place == place_of(event))
        };
        let (diverted, cells): (Vec<_>, Vec<_>) = cells_of(&door.plan, event).into_iter().partition(is_late);
        let mut fate = json!({
            "fate": "counted", "stream": door.plan.stream.name, "partition": event.partition, "offset": event.offset,
            "timestamp": event.event_time.to_string(), "received_at": event.received_at.to_string(), "cells": cells,
        });
        if !diverted.is_empty() {
            fate["diverted"] = diverted.into();
        }
        fate
    };
    Ok(events.iter().map(fate_of).collect())
}

fn place_of(event: &StoredEvent) -> (u32, u64) {
    (event.partition, event.offset)
}

/// Returns which rollups diverted which of these events as late, as far as that is still known.
async fn late_for<'p>(
    app: &App,
    plan: &'p Plan,
    events: &[StoredEvent],
) -> Result<Vec<(&'p str, (u32, u64))>, ApiError> {
    let places: Vec<(u32, u64)> = events.iter().map(place_of).collect();
    let mut diverted = Vec::new();
    if places.is_empty() {
        return Ok(diverted);
    }
    let rollups = plan.rollups.iter().map(|planned| &planned.rollup);
    for rollup in rollups.filter(|rollup| rollup.late == LatePolicy::Divert) {
        let found =
            app.store.diverted(&rollup.name, &places).await.map_err(|error| ApiError::of_store(&error))?;
        diverted.extend(found.into_iter().map(|place| (rollup.name.as_str(), place)));
    }
    Ok(diverted)
}

/// The cells that a counted event goes to where it is not diverted: its fields are read again for each rollup by itself,
/// for those that others ask for decide nothing there. What the door decided is not decided again.
fn cells_of(plan: &Plan, event: &StoredEvent) -> Vec<Value> {
    let alone: Vec<Arc<Plan>> = plan.rollups.iter().map(|planned| plan_of(plan, &planned.rollup)).collect();
    let given = gifts(&alone, std::slice::from_ref(event));
    let gave = given.iter().flat_map(|one| &one.gave);
    let cell_of = |(planned, gift): (&RollupPlan, &Option<Gift>)| {
        let rollup = &planned.rollup;
        let start = window::start_of(event.event_time, rollup.window_ms);
        let dimensions =
            rollup.by.iter().cloned().zip(gift.as_ref()?.dimensions.iter().map(|value| json!(value)));
        let dimensions: serde_json::Map<String, Value> = dimensions.collect();
        let end = Timestamp(start.0 + rollup.window_ms);
        Some(json!({
            "rollup": rollup.name, "window_start": start.to_string(), "window_end": end.to_string(),
            "dimensions": dimensions,
        }))
    };
    plan.rollups.iter().zip(gave).filter_map(cell_of).collect()
}

/// The event as deleted by hand: it was counted once, and a copy of it is a duplicate still.
async fn deleted(app: &App, event_id: &str) -> Result<Vec<Value>, ApiError> {
    let events = app.store.deleted_events(event_id).await.map_err(|error| ApiError::of_store(&error))?;
    let fate_of = |event: &DeletedEvent| {
        json!({
            "fate": "deleted", "stream": event.stream, "partition": event.partition, "offset": event.offset,
            "deleted_at": event.deleted_at.to_string(),
        })
    };
    Ok(events.iter().map(fate_of).collect())
}

async fn dead_letters(app: &App, event_id: &str) -> Result<Vec<Value>, ApiError> {
    let query = DeadLetterQuery {
        event_id: Some(event_id.to_owned()),
        limit: PAGE_ROWS,
        ..DeadLetterQuery::default()
    };
    let letters = app.store.dead_letters(&query).await.map_err(|error| ApiError::of_store(&error))?;
    let fate_of = |letter: &sg_core::query::StoredDeadLetter| {
        json!({
            "fate": "dead_letter", "stream": letter.stream, "partition": letter.partition, "offset": letter.offset,
            "reason": letter.reason, "field": letter.field, "detail": letter.detail,
            "received_at": letter.received_at.to_string(),
            "replayed_at": letter.replayed_at.map(|at| at.to_string()),
        })
    };
    Ok(letters.iter().map(fate_of).collect())
}

/// Records with this id near the log's end that the tables do not explain: in flight, duplicates, or counted in a
/// stream without a raw table.
async fn log_fates(app: &App, door: &Door, event_id: &str, known: &[Value]) -> Result<Vec<Value>, ApiError> {
    let pending = app.pipeline.pending().await.map_err(|error| ApiError::of_log(&error))?;
    let mut fates = Vec::new();
    for here in pending.iter().filter(|pending| pending.stream == door.plan.stream.name) {
        let mut seen_keys: Vec<u64> = Vec::new();
        let Some((extent, owned)) = here.extent.zip(here.owned.as_ref()) else { continue };
        let mut at = extent.start.max(extent.end.saturating_sub(LOG_SEARCH_RECORDS));
        let mut reader =
            app.log.open(&here.stream, here.partition, at).await.map_err(|error| ApiError::of_log(&error))?;
        while at < extent.end {
            let batches = reader
                .next(LOG_SEARCH_BYTES, Duration::from_secs(1))
                .await
                .map_err(|error| ApiError::of_log(&error))?;
            // Also without records: those that the log has lost are passed over.
            let passed = reader.passed();
            if passed == at {
                break;
            }
            at = passed;
            for batch in &batches {
                let matches = (0..batch.events.len()).filter(|index| {
                    batch.events.bytes(batch.events.entries[*index].id) == event_id.as_bytes()
                });
                for index in matches {
                    let offset = batch.place(index).0;
                    let key = batch.events.entries[index].key_hash;
                    let is_repeated = seen_keys.contains(&key);
                    seen_keys.push(key);
                    let is_known = known.iter().any(|fate| {
                        fate["stream"] == here.stream.as_str()
                            && fate["partition"] == here.partition
                            && fate["offset"] == offset
                    });
                    if is_known {
                        continue;
                    }
                    let has_counted = known.iter().any(|fate| {
                        ["counted", "deleted"].contains(&fate["fate"].as_str().unwrap_or_default())
                            && fate["stream"] == here.stream.as_str()
                    });
                    let fate = match () {
                        () if offset >= owned.flushed => "in_flight",
                        () if is_repeated || has_counted => "duplicate",
                        () => "counted",
                    };
                    fates.push(json!({"fate": fate, "stream": here.stream, "partition": here.partition, "offset": offset}));
                }
            }
        }
    }
    Ok(fates)
}
