//! What changed from one look to the next, written as events. Pure: asks nobody.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use sg_core::definition::Rollup;
use sg_core::query::Row;
use sg_core::time::Timestamp;

use crate::answer;
use crate::rollups;
use crate::status::time;
use crate::{App, Door};

use super::look::{Flow, Health, Look, Pane, RollupLook};
use super::marks::Place;

/// Rows of one rollup in one event, the largest first: more than a page shows, and a bound on what a look can say.
const ROWS_MAX: usize = 300;

/// An event without its place among the others.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) name: &'static str,
    pub(super) data: String,
}

/// Returns what is said after the first look, to those who wait for it.
pub(super) fn first(app: &App, look: &Look) -> Vec<Said> {
    vec![Said { name: "stats", data: stats(app, None, look).to_string() }]
}

/// Returns what is said after a look.
pub(super) fn between(app: &App, last: &Look, look: &Look) -> Vec<Said> {
    let mut said = vec![Said { name: "stats", data: stats(app, Some(last), look).to_string() }];
    if look.health != last.health {
        said.push(Said { name: "health", data: health(&look.health).to_string() });
    }
    let none = RollupLook::default();
    for (index, rollup) in rollups::rollups(app).enumerate() {
        let Some(now) = look.rollups.get(index) else { continue };
        let before = last.rollups.get(index).unwrap_or(&none);
        said.extend(of_rollup(rollup, before, now));
    }
    said
}

/// Returns what is said about one rollup.
pub(super) fn of_rollup(rollup: &Rollup, before: &RollupLook, now: &RollupLook) -> Vec<Said> {
    let mut said = Vec::new();
    let changed: Vec<&Row> =
        now.rows.iter().filter(|(key, row)| before.rows.get(*key) != Some(row)).map(|(_, row)| row).collect();
    let panes: BTreeMap<&Timestamp, &Pane> =
        now.panes.iter().filter(|(start, pane)| before.panes.get(*start) != Some(pane)).collect();
    let closed_to = now.closed_to.unwrap_or(Timestamp::NEVER);
    let has_grown = |row: &&&Row| {
        let known = before.rows.get(&(row.start, row.dimensions.clone()));
        known.is_some_and(|known| row.revision > known.revision)
    };
    let corrected: Vec<&Row> = changed.iter().filter(has_grown).copied().collect();
    if !changed.is_empty() || !panes.is_empty() {
        let panes: Vec<Value> =
            panes.into_iter().map(|(start, pane)| pane_json(rollup, *start, pane)).collect();
        let (rows, left_out) = rows_json(rollup, changed, closed_to);
        let data = format!(
            "{{\"rollup\":{},\"panes\":{},\"rows\":[{rows}],\"left_out\":{left_out}}}",
            answer::quoted(&rollup.name),
            Value::from(panes)
        );
        said.push(Said { name: "cells", data });
    }
    if !corrected.is_empty() {
        let (rows, left_out) = rows_json(rollup, corrected, closed_to);
        let name = answer::quoted(&rollup.name);
        let data = format!("{{\"rollup\":{name},\"rows\":[{rows}],\"left_out\":{left_out}}}");
        said.push(Said { name: "corrected", data });
    }
    let closed_windows = |look: &RollupLook| look.closed_to.map(|at| at.0.div_euclid(rollup.window_ms));
    if closed_windows(now) > closed_windows(before) {
        let data = json!({"rollup": rollup.name, "closed_to": time(closed_to)}).to_string();
        said.push(Said { name: "closed", data });
    }
    said
}

/// Returns the whole state.
pub(super) fn everything(app: &App, look: &Look) -> String {
    let server = json!({
        "version": app.version,
        "log": app.backends.0,
        "store": app.backends.1,
        "roles": app.roles.names(),
        "started_at": app.started_at.to_string(),
    });
    let none = RollupLook::default();
    let rollups: Vec<String> = rollups::rollups(app)
        .enumerate()
        .map(|(index, rollup)| whole_rollup(rollup, look.rollups.get(index).unwrap_or(&none)))
        .collect();
    format!(
        "{{\"server\":{server},\"stats\":{},\"health\":{},\"rollups\":[{}]}}",
        stats(app, None, look),
        health(&look.health),
        rollups.join(",")
    )
}

fn whole_rollup(rollup: &Rollup, look: &RollupLook) -> String {
    let closed_to = look.closed_to.unwrap_or(Timestamp::NEVER);
    let definition = rollups::describe(rollup, closed_to);
    let panes: Vec<Value> = look.panes.iter().map(|(start, pane)| pane_json(rollup, *start, pane)).collect();
    let (rows, left_out) = rows_json(rollup, look.rows.values().collect(), closed_to);
    format!(
        "{{\"definition\":{definition},\"panes\":{},\"rows\":[{rows}],\"left_out\":{left_out},\"is_cut\":{}}}",
        Value::from(panes),
        look.is_cut
    )
}

/// Returns the rows as JSON, newest window first and the largest by the first measure in it, and how many did not fit.
fn rows_json(rollup: &Rollup, mut rows: Vec<&Row>, closed_to: Timestamp) -> (String, usize) {
    let first = rollup.measures.first().map(|measure| &measure.function);
    let rank = |row: &Row| row.values.first().zip(first).and_then(|(value, function)| value.rank(function));
    rows.sort_by_key(|row| Reverse((row.start, rank(row))));
    let left_out = rows.len().saturating_sub(ROWS_MAX);
    rows.truncate(ROWS_MAX);
    let written: Vec<String> = rows.iter().map(|row| answer::row_json(rollup, row, closed_to)).collect();
    (written.join(","), left_out)
}

fn pane_json(rollup: &Rollup, start: Timestamp, pane: &Pane) -> Value {
    json!({
        "start": start.to_string(),
        "end": Timestamp(start.0 + rollup.pane_ms).to_string(),
        "events": pane.events,
        "late_count": pane.late,
        "revision": pane.revision,
        "cells": pane.cells,
    })
}

fn health(health: &Health) -> Value {
    json!({"state": health.state, "causes": health.causes})
}

fn stats(app: &App, last: Option<&Look>, look: &Look) -> Value {
    // Nothing is said about seconds in which nobody could be asked, nor about the one that makes up for them.
    let both_known = last.filter(|last| last.marks.are_known() && look.marks.are_known());
    let seconds =
        both_known.map(|last| (look.taken - last.taken).as_secs_f64()).filter(|seconds| *seconds > 0.0);
    let per_second = |now: u64, before: u64| {
        seconds.map(|seconds| ((now.saturating_sub(before)) as f64 / seconds * 10.0).round() / 10.0)
    };
    let flow_json = |now: &Flow, before: Option<Flow>| {
        let before = before.unwrap_or_default();
        let minute = now.history.front().map(|(at, received)| {
            let seconds = (look.taken - *at).as_secs();
            json!({"events": now.received.saturating_sub(*received), "seconds": seconds})
        });
        json!({
            "received": now.received,
            "written": now.written,
            "duplicate": now.duplicate,
            "dead_lettered": now.dead_lettered,
            "deleted": now.deleted,
            "skipped": now.skipped,
            "lag": now.lag,
            "received_per_second": per_second(now.received, before.received),
            "written_per_second": per_second(now.written, before.written),
            "last_minute": minute,
        })
    };
    let streams: Vec<Value> = app
        .doors
        .iter()
        .zip(&look.streams)
        .enumerate()
        .map(|(index, (door, flow))| {
            let before = last.and_then(|last| last.streams.get(index)).cloned();
            let mut stream = json!({"name": door.plan.stream.name, "watermark": watermark(look, door)});
            let (shown, partitions) = (flow_json(flow, before), partitions(look, door));
            merge(&mut stream, shown);
            stream["partitions"] = partitions;
            stream
        })
        .collect();
    json!({
        "at": look.at.to_string(),
        "total": flow_json(&look.total(), last.map(Look::total)),
        "today": look.today.as_ref().map(|today| today.events),
        "streams": streams,
        "process": process(app, last, look),
    })
}

fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(members), Value::Object(more)) = (object, more) {
        members.extend(more);
    }
}

fn watermark(look: &Look, door: &Door) -> Value {
    let watermarks = look.marks.status.as_ref().map_or(&[][..], |status| &status.watermarks);
    let mine = watermarks.iter().find(|(stream, _)| *stream == door.plan.stream.name);
    mine.map_or(Value::Null, |(_, at)| time(*at))
}

fn partitions(look: &Look, door: &Door) -> Value {
    let has_answered = look.marks.status.is_ok();
    let partition_json = |place: &Place<'_>| {
        let partition = place.pending.map(|pending| pending.partition);
        let owned = place.pending.and_then(|pending| pending.owned.as_ref());
        let extent = place.pending.and_then(|pending| pending.extent);
        json!({
            "partition": partition.or(place.stored.map(|stored| stored.partition)),
            "log_end": extent.map(|extent| extent.end),
            "next_offset": has_answered.then(|| place.next_offset()),
            "lag": has_answered.then(|| place.lag()),
            "m": place.stored.map_or(Value::Null, |stored| time(stored.clock.m)),
            "is_idle": place.stored.is_some_and(|stored| stored.is_idle),
            "owner": place.stored.map(|stored| stored.owner.clone()),
            "folded": owned.map(|owned| owned.folded),
            "duplicate_window_bytes": owned.map(|owned| owned.judge_bytes),
            "stopped": owned.and_then(|owned| owned.stopped.clone()),
        })
    };
    look.marks.places(&door.plan.stream.name).iter().map(partition_json).collect()
}

/// What this process alone has done since the last look.
fn process(app: &App, last: Option<&Look>, look: &Look) -> Value {
    let (now, none) = (&look.process, Default::default());
    let before = last.map_or(&none, |last| &last.process);
    let mean_ms = |now: (u64, f64), before: (u64, f64)| {
        let count = now.0.saturating_sub(before.0);
        (count > 0).then(|| ((now.1 - before.1) / count as f64 * 1e3).round() / 1e3)
    };
    json!({
        "requests": now.requests,
        "accepted": now.accepted,
        "refused": now.refused,
        "body_bytes_in_flight": now.body_bytes,
        "body_bytes_max": app.budget_bytes,
        "append_ms": mean_ms(now.appends, before.appends),
        "flushes": now.flushes.0,
        "flush_ms": mean_ms(now.flushes, before.flushes),
        "flush_retries": now.flush_retries,
    })
}

#[cfg(test)]
mod tests;
