//! What an operator asks first: how far everything is, and whether the ledger adds up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use sg_core::flush::{Ledger, PartitionClock};
use sg_core::ports::{MAIN_LANE, PartitionStatus, Pending, RollupStatus, StatusDetail, StoreStatus};
use sg_core::time::Timestamp;

use crate::App;
use crate::error::ApiError;
use crate::headroom::{self, Headroom};
use crate::{answer, archive};

/// `GET /v1/status`.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let mut status =
        app.store.status(StatusDetail::Ledger).await.map_err(|error| ApiError::of_store(&error))?;
    let pending = app.pipeline.pending().await.map_err(|error| ApiError::of_log(&error))?;
    add_unclaimed(&mut status, &pending);
    let headrooms = headroom::look(&app, &status, &pending).await;
    let headrooms = headrooms.map_err(|error| ApiError::of_store(&error))?;
    let streams: Vec<Value> = app
        .doors
        .iter()
        .map(|door| stream_json(&app, &door.plan.stream.name, &status, (&pending, &headrooms)))
        .collect();
    let rollups: Vec<Value> = status.rollups.iter().map(|rollup| rollup_json(&app, rollup)).collect();
    let judge_bytes: u64 =
        pending.iter().filter_map(|pending| pending.owned.as_ref()).map(|owned| owned.judge_bytes).sum();
    let archive = archive::status(&app, (&status.lines, &pending)).await?;
    let body = json!({
        "version": app.version,
        "log": app.backends.0,
        "store": app.backends.1,
        "roles": app.roles.names(),
        "started_at": app.started_at.to_string(),
        "uptime_ms": app.clock.now().0 - app.started_at.0,
        "streams": streams,
        "rollups": rollups,
        "archive": archive,
        "memory": {
            "resident_bytes": resident_bytes(),
            "body_bytes_in_flight": app.budget_bytes - app.budget.available_permits(),
            "duplicate_window_bytes": judge_bytes,
        },
    });
    Ok(answer::json(body.to_string()))
}

/// Adds the partitions that nobody has claimed yet: what they hold waits all the same.
fn add_unclaimed(status: &mut StoreStatus, pending: &[Pending]) {
    for pending in pending {
        let is_known = status
            .partitions
            .iter()
            .any(|known| known.stream == pending.stream && known.partition == pending.partition);
        let start = pending.extent.map_or(0, |extent| extent.start);
        if !is_known {
            status.partitions.push(PartitionStatus {
                stream: pending.stream.clone(),
                partition: pending.partition,
                epoch: 0,
                owner: String::new(),
                log_identity: String::new(),
                first_offset: start,
                next_offset: start,
                clock: PartitionClock::NEVER,
                dedup_from: (start, Timestamp::NEVER),
                ledger: Ledger::default(),
                is_idle: false,
            });
        }
    }
    status.partitions.sort_by_key(|partition| (partition.stream.clone(), partition.partition));
}

/// What waits in the partitions, and how much their logs may lose.
type Waiting<'a> = (&'a [Pending], &'a [Headroom]);

fn stream_json(app: &App, name: &str, status: &StoreStatus, waiting: Waiting<'_>) -> Value {
    let watermark =
        status.watermarks.iter().find(|(stream, _)| stream == name).map_or(Timestamp::NEVER, |(_, at)| *at);
    let mine = status.partitions.iter().filter(|partition| partition.stream == name);
    let mine: Vec<&PartitionStatus> = mine.collect();
    let count = mine.len() as u32;
    let partitions: Vec<Value> =
        mine.iter().map(|partition| partition_json(app, partition, count, waiting)).collect();
    let outbox = status.outboxes.iter().filter(|lane| lane.stream == name);
    let outbox: Vec<Value> = outbox
        .map(|lane| {
            let refused_by = Some(&lane.lane).filter(|lane| *lane != MAIN_LANE);
            json!({"rows": lane.rows, "oldest": time(lane.oldest), "refused_by": refused_by})
        })
        .collect();
    let mut body =
        json!({"name": name, "watermark": time(watermark), "partitions": partitions, "outbox": outbox});
    let door = app.doors.iter().find(|door| door.plan.stream.name == name);
    if let Some(names) = door.map(|door| &door.plan.stream.fields).filter(|names| !names.is_empty()) {
        let named = names.iter().map(|(field, name)| (field.name().to_owned(), name.into()));
        body["fields"] = Value::Object(named.collect());
    }
    body
}

fn partition_json(
    app: &App,
    partition: &PartitionStatus,
    partitions: u32,
    (pending, headrooms): Waiting<'_>,
) -> Value {
    let here = pending
        .iter()
        .find(|pending| pending.stream == partition.stream && pending.partition == partition.partition);
    let (from, r_from) = partition.dedup_from;
    let mut body = json!({
        "partition": partition.partition,
        "epoch": partition.epoch,
        "owner": partition.owner,
        "first_offset": partition.first_offset,
        "next_offset": partition.next_offset,
        "m": time(partition.clock.m),
        "r": time(partition.clock.r),
        "dedup_from": from,
        "duplicate_reach_seconds": reach_seconds(app, partition, partitions, (from, r_from)),
        "is_idle": partition.is_idle,
        "ledger": ledger_json(&partition.ledger),
    });
    if let Some(extent) = here.and_then(|here| here.extent) {
        body["log_start"] = extent.start.into();
        body["log_end"] = extent.end.into();
        body["lag"] = extent.end.saturating_sub(partition.next_offset).into();
    }
    let mut its = headrooms.iter().filter(|known| known.is_of(&partition.stream, partition.partition));
    if let Some(headroom) = its.next() {
        body["headroom"] = headroom.json();
    }
    if let Some(owned) = here.and_then(|here| here.owned.as_ref()) {
        body["folded"] = owned.folded.into();
        body["stopped"] = owned.stopped.clone().into();
    }
    body
}

/// How far back in log time a duplicate is recognised now: the horizon, unless the number of records ends it earlier.
fn reach_seconds(
    app: &App,
    partition: &PartitionStatus,
    partitions: u32,
    (from, r_from): (u64, Timestamp),
) -> u64 {
    let door = app.doors.iter().find(|door| door.plan.stream.name == partition.stream);
    let Some(dedup) = door.map(|door| door.plan.stream.dedup.shared_by(partitions)) else { return 0 };
    let is_full = partition.next_offset.saturating_sub(from) >= dedup.records;
    if is_full && r_from != Timestamp::NEVER {
        return (partition.clock.r.0.saturating_sub(r_from.0).max(0) / 1_000) as u64;
    }
    dedup.horizon.as_secs()
}

fn ledger_json(ledger: &Ledger) -> Value {
    json!({
        "processed": ledger.processed,
        "counted": ledger.counted,
        "duplicate": ledger.duplicate,
        "id_conflict": ledger.id_conflict,
        "dead_lettered": ledger.dead_lettered,
        "deleted": ledger.deleted,
        "skipped": ledger.skipped,
        "adds_up": ledger.adds_up(),
    })
}

fn rollup_json(app: &App, rollup: &RollupStatus) -> Value {
    let planned = app
        .doors
        .iter()
        .flat_map(|door| &door.plan.rollups)
        .find(|planned| planned.rollup.name == rollup.name);
    json!({
        "name": rollup.name,
        "stream": planned.map(|planned| planned.rollup.stream.clone()),
        "closed_to": time(rollup.closed_to),
        "removed_before": time(rollup.removed_before),
        "complete_from": rollup.complete_from.map(|at| at.to_string()),
        "ledger": {
            "folded": rollup.folded,
            "in_cells": rollup.in_cells,
            "removed": rollup.removed,
            "diverted": rollup.diverted,
            "expired": rollup.expired,
            "unfit": rollup.unfit,
            "deleted": rollup.deleted,
            "adds_up": rollup.adds_up(),
        },
    })
}

/// Returns a time as a JSON value; null before anything was seen.
pub(crate) fn time(at: Timestamp) -> Value {
    if at == Timestamp::NEVER { Value::Null } else { Value::from(at.to_string()) }
}

/// Returns the process's resident memory; zero where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or(0) * 1_024
}

/// How long a flush by hand may take before it is answered as unfinished.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// `POST /v1/flush`.
pub(crate) async fn flush(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let began = Instant::now();
    let flushed = tokio::time::timeout(FLUSH_TIMEOUT, app.pipeline.flush_now()).await;
    let report = flushed
        .map_err(|_| ApiError::StoreUnavailable("the flush did not end in time; it goes on".to_owned()))?
        .map_err(|error| ApiError::of_store(&error))?;
    let body = json!({
        "flushed_events": report.flushed_events,
        "flushed_windows": report.flushed_windows,
        "took_ms": began.elapsed().as_millis() as u64,
    });
    Ok(answer::json(body.to_string()))
}
