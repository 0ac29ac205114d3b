//! What is in which file of the archive, and how far it has come.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use sg_core::metrics::{head, line};
use sg_core::ports::{ArchivePosition, ArchivedFile, ManifestQuery, Pending};

use crate::App;
use crate::answer;
use crate::error::ApiError;
use crate::params::Params;

/// Files of a page unless asked otherwise.
const PAGE_FILES: usize = 1_000;
/// Files of a page at most.
const PAGE_FILES_MAX: usize = 10_000;

/// `GET /v1/archive?stream=&partition=&from=&to=&limit=&cursor=`: the manifest, oldest file first; `from` and `to` are
/// offsets.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["stream", "partition", "from", "to", "limit", "cursor"])?;
    let limit = params.count("limit", PAGE_FILES, PAGE_FILES_MAX)?;
    let partition = number(&params, "partition")?;
    let query = ManifestQuery {
        stream: params.get("stream").map(str::to_owned),
        partition: partition.map(|partition| u32::try_from(partition).unwrap_or(u32::MAX)),
        from: number(&params, "from")?,
        to: number(&params, "to")?,
        after: number(&params, "cursor")?.map_or(0, |cursor| i64::try_from(cursor).unwrap_or(i64::MAX)),
        limit: limit + 1,
    };
    let mut files = app.manifest.archived_files(&query).await.map_err(|error| ApiError::of_store(&error))?;
    let is_more = files.len() > limit;
    files.truncate(limit);
    let next_cursor = files.last().filter(|_| is_more).map(|file| file.id.to_string());
    let data: Vec<Value> = files.iter().map(file_json).collect();
    Ok(answer::json(json!({"data": data, "next_cursor": next_cursor}).to_string()))
}

fn number(params: &Params, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let number =
        text.parse().map_err(|_| ApiError::BadQuery(format!("{name} is a whole number, not {text}")))?;
    Ok(Some(number))
}

fn file_json(file: &ArchivedFile) -> Value {
    json!({
        "place": file.place,
        "path": file.path,
        "stream": file.stream,
        "partition": file.partition,
        "from": file.from,
        "to": file.to,
        "rows": file.rows,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "created_at": file.created_at.to_string(),
    })
}

/// What `/v1/status` says of the archive; null where nothing is archived.
pub(crate) async fn status(app: &App, pending: &[Pending]) -> Result<Value, ApiError> {
    if app.archive.streams.is_empty() {
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
    Ok(json!({"places": places, "partitions": partitions}))
}

/// Writes the archive's metrics.
pub(crate) async fn render(out: &mut String, app: &App, pending: Option<&[Pending]>) {
    if app.archive.streams.is_empty() {
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
