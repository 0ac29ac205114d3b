//! What is in which file of the archive, and how far it has come.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use sg_core::archive::FileKind;
use sg_core::metrics::{head, line};
use sg_core::ports::{ArchivePosition, ArchivedFile, LinesStatus, ManifestQuery, Pending};
use sg_core::time::Timestamp;

use crate::App;
use crate::answer;
use crate::error::ApiError;
use crate::params::Params;

/// Files of a page unless asked otherwise.
const PAGE_FILES: usize = 1_000;
/// Files of a page at most.
const PAGE_FILES_MAX: usize = 10_000;

/// `GET /v1/archive?stream=&kind=&partition=&from=&to=&limit=&cursor=`: the manifest, oldest file first; `from` and `to`
/// are offsets.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["stream", "kind", "partition", "from", "to", "limit", "cursor"])?;
    let limit = params.count("limit", PAGE_FILES, PAGE_FILES_MAX)?;
    let partition = number(&params, "partition")?;
    let query = ManifestQuery {
        stream: params.get("stream").map(str::to_owned),
        kind: kind(&params)?,
        partition: partition.map(|partition| u32::try_from(partition).unwrap_or(u32::MAX)),
        from: number(&params, "from")?,
        to: number(&params, "to")?,
        after: number(&params, "cursor")?.map_or(0, |cursor| i64::try_from(cursor).unwrap_or(i64::MAX)),
        limit: limit + 1,
    };
    let mut files = app.manifest.archived_files(&query).await.map_err(|error| ApiError::of_store(&error))?;
    if let (true, Some(stream)) = (files.is_empty(), &query.stream) {
        // Files of a stream that was configured once are shown.
        app.check_stream(stream)?;
    }
    let is_more = files.len() > limit;
    files.truncate(limit);
    let next_cursor = files.last().filter(|_| is_more).map(|file| file.id.to_string());
    let data: Vec<Value> = files.iter().map(file_json).collect();
    Ok(answer::json(json!({"data": data, "next_cursor": next_cursor}).to_string()))
}

fn kind(params: &Params) -> Result<Option<FileKind>, ApiError> {
    let Some(text) = params.get("kind") else { return Ok(None) };
    let found = FileKind::ALL.into_iter().find(|kind| kind.name() == text);
    let wrong = || ApiError::BadQuery(format!("kind is raw, closed or late, not {text}"));
    found.map(Some).ok_or_else(wrong)
}

fn number(params: &Params, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let number =
        text.parse().map_err(|_| ApiError::BadQuery(format!("{name} is a whole number, not {text}")))?;
    Ok(Some(number))
}

fn file_json(file: &ArchivedFile) -> Value {
    // Only raw events are of one partition.
    let of_raw = |number: u64| (file.kind == FileKind::Raw).then_some(number);
    json!({
        "place": file.place,
        "path": file.path,
        "stream": file.stream,
        "kind": file.kind.name(),
        "partition": of_raw(file.partition.into()),
        "from": of_raw(file.from),
        "to": of_raw(file.to),
        "rows": file.rows,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "created_at": file.created_at.to_string(),
    })
}

/// What `/v1/status` says of the archive; null where nothing is archived.
pub(crate) async fn status(
    app: &App,
    (waiting, pending): (&[LinesStatus], &[Pending]),
) -> Result<Value, ApiError> {
    if app.archive.is_off() {
        return Ok(Value::Null);
    }
    let positions = app.manifest.archive_positions().await.map_err(|error| ApiError::of_store(&error))?;
    let standings = app.archive.metrics.standings();
    let partitions: Vec<Value> = archived(app, pending)
        .map(|pending| {
            let position = position_of(&positions, pending);
            let standing = standings.get(&(pending.stream.clone(), pending.partition));
            let age_ms = standing.map(|standing| {
                standing.oldest.map_or(0, |oldest| app.clock.now().0.saturating_sub(oldest.0).max(0))
            });
            json!({
                "stream": pending.stream,
                "partition": pending.partition,
                "owner": position.map(|position| position.owner.clone()),
                "first_offset": position.map(|position| position.first_offset),
                "next_offset": position.map(|position| position.next_offset),
                "lag": lag(pending, position),
                "lag_seconds": age_ms.map(|ms| ms / 1_000),
                // How many records the log may still lose before it loses some that are in no file.
                "headroom": headroom(pending, position),
                "lost": position.map(|position| position.lost),
                "failing": standing.and_then(|standing| standing.failing.clone()),
                "stopped": standing.and_then(|standing| standing.stopped.clone()),
            })
        })
        .collect();
    let places: serde_json::Map<String, Value> = app
        .archive
        .streams
        .iter()
        .map(|(stream, place)| (stream.clone(), Value::from(place.as_str())))
        .collect();
    Ok(json!({"places": places, "partitions": partitions, "lines": lines_json(app, waiting)}))
}

/// How much waits for files of closed windows and late events.
fn lines_json(app: &App, waiting: &[LinesStatus]) -> Vec<Value> {
    let lanes = app.archive.metrics.lanes();
    let now = app.clock.now();
    let files = app.archive.files.iter().map(|(stream, kind, place)| {
        let (rows, age_ms) = lag_of_lines(waiting, (stream, *kind), now);
        json!({
            "stream": stream,
            "kind": kind.name(),
            "place": place,
            "lag": rows,
            "lag_seconds": age_ms / 1_000,
            "failing": lanes.get(&(stream.clone(), *kind)).cloned().flatten(),
        })
    });
    files.collect()
}

/// Returns the lines of a lane and the age of the oldest in ms; zero where none waits.
fn lag_of_lines(waiting: &[LinesStatus], (stream, kind): (&str, FileKind), now: Timestamp) -> (u64, i64) {
    let lane = waiting.iter().find(|lane| lane.stream == stream && lane.kind == kind);
    lane.map_or((0, 0), |lane| (lane.rows, now.0.saturating_sub(lane.oldest.0).max(0)))
}

/// Writes how much waits for files of closed windows and late events.
pub(crate) fn render_lines(out: &mut String, app: &App, waiting: &[LinesStatus]) {
    let files = &app.archive.files;
    if files.is_empty() {
        return;
    }
    let (now, failing) = (app.clock.now(), app.archive.metrics.lanes());
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&str, FileKind) -> String| {
        head(out, name, "gauge", help);
        for (stream, kind, _) in files {
            let labels = format!("stream=\"{stream}\",kind=\"{}\"", kind.name());
            line(out, format_args!("{name}{{{labels}}} {}", value(stream, *kind)));
        }
    };
    gauge(
        "streamgauge_archive_waiting_lines",
        "Closed windows and late events that are in no file yet; every process says the same.",
        &|stream, kind| lag_of_lines(waiting, (stream, kind), now).0.to_string(),
    );
    gauge(
        "streamgauge_archive_waiting_seconds",
        "How long the first of them has waited; zero where none does.",
        &|stream, kind| (lag_of_lines(waiting, (stream, kind), now).1 as f64 / 1e3).to_string(),
    );
    gauge(
        "streamgauge_archive_lines_failing",
        "1 where their files can not be written at the moment; it is tried again for ever.",
        &|stream, kind| {
            let why = failing.get(&(stream.to_owned(), kind));
            u8::from(why.is_some_and(Option::is_some)).to_string()
        },
    );
}

/// Writes the archive's metrics.
pub(crate) async fn render(out: &mut String, app: &App, pending: Option<&[Pending]>) {
    if app.archive.is_off() {
        return;
    }
    app.archive.metrics.render(app.clock.now(), out);
    let Some(pending) = pending else { return };
    let Ok(positions) = app.manifest.archive_positions().await else { return };
    let name = "streamgauge_archive_lag_records";
    head(out, name, "gauge", "Records in the log that are in no file yet; every process says the same.");
    for pending in archived(app, pending) {
        let Some(lag) = lag(pending, position_of(&positions, pending)) else { continue };
        let labels = format!("stream=\"{}\",partition=\"{}\"", pending.stream, pending.partition);
        line(out, format_args!("{name}{{{labels}}} {lag}"));
    }
    let name = "streamgauge_archive_lost_records_total";
    head(out, name, "counter", "Records that the log removed before they were in a file.");
    for position in &positions {
        let labels = format!("stream=\"{}\",partition=\"{}\"", position.stream, position.partition);
        line(out, format_args!("{name}{{{labels}}} {}", position.lost));
    }
}

fn archived<'p>(app: &'p App, pending: &'p [Pending]) -> impl Iterator<Item = &'p Pending> {
    let is_archived =
        |pending: &&Pending| app.archive.streams.iter().any(|(stream, _)| *stream == pending.stream);
    pending.iter().filter(is_archived)
}

fn position_of<'p>(positions: &'p [ArchivePosition], pending: &Pending) -> Option<&'p ArchivePosition> {
    let is_its = |position: &&ArchivePosition| {
        position.stream == pending.stream && position.partition == pending.partition
    };
    positions.iter().find(is_its)
}

fn lag(pending: &Pending, position: Option<&ArchivePosition>) -> Option<u64> {
    let extent = pending.extent?;
    Some(extent.end.saturating_sub(position.map_or(extent.start, |position| position.next_offset)))
}

fn headroom(pending: &Pending, position: Option<&ArchivePosition>) -> Option<u64> {
    let (extent, position) = (pending.extent?, position?);
    Some(position.next_offset.saturating_sub(extent.start))
}
