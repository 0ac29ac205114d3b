//! Questions about dead letters: which there are, why, and one of them. `replay` takes them in again.

mod replay;

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use sg_core::nearest;
use sg_core::query::{DeadLetterQuery, LetterCount, StoredDeadLetter};
use sg_core::reason::Code;

use crate::App;
use crate::answer::{self, Format};
use crate::error::ApiError;
use crate::params::Params;

pub(crate) use replay::replay;

/// Rows of a page unless asked otherwise.
const PAGE_ROWS: usize = 100;
/// Rows of a page at most.
const PAGE_ROWS_MAX: usize = 1_000;
/// A page ends with the rows that pass so many bytes: what others write to a topic may be as large as the broker allows.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Rows in one question to the store.
const ROWS_AT_ONCE: usize = 20;

/// `GET /v1/dead-letters?stream=&reason=&event_id=&replayed=&cursor=&limit=&format=`: newest first. The first page of
/// JSON also counts all letters by reason.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["stream", "reason", "event_id", "replayed", "cursor", "limit", "format"])?;
    let text = |name: &str| params.get(name).map(str::to_owned);
    let is_replayed = params.get("replayed").map(|_| params.flag("replayed")).transpose()?;
    let query = DeadLetterQuery {
        stream: text("stream"),
        reason: text("reason"),
        event_id: text("event_id"),
        is_replayed,
        before: params.get("cursor").map(cursor).transpose()?,
        limit: params.count("limit", PAGE_ROWS, PAGE_ROWS_MAX)?,
        ..DeadLetterQuery::default()
    };
    let format = Format::parse(params.get("format"))?;
    if format == Format::Csv {
        return Err(ApiError::BadQuery("dead letters hold events: format is json or ndjson".to_owned()));
    }
    let (letters, next) = page(&app, query.clone()).await?;
    if letters.is_empty() && query.before.is_none() {
        check_names(&app, &query)?;
    }
    if format == Format::Ndjson {
        let lines: Vec<String> = letters.iter().map(|letter| letter_json(letter).to_string()).collect();
        return Ok(answer::with_cursor(answer::ndjson(&lines), next.as_deref()));
    }
    let data: Vec<Value> = letters.iter().map(letter_json).collect();
    let mut body = json!({"data": data, "next_cursor": next});
    if query.before.is_none() {
        let counts = app.store.letter_counts(query.stream.as_deref()).await;
        let counts = counts.map_err(|error| ApiError::of_store(&error))?;
        body["reasons"] = counts.iter().map(count_json).collect();
    }
    Ok(answer::json(body.to_string()))
}

/// Refuses names that nothing has, where there is nothing to show for them: an empty answer would say that all is well.
/// Letters of a stream that was configured once are shown.
fn check_names(app: &App, query: &DeadLetterQuery) -> Result<(), ApiError> {
    if let Some(stream) = &query.stream {
        app.check_stream(stream)?;
    }
    let reasons = || Code::ALL.into_iter().map(Code::as_str);
    match &query.reason {
        Some(reason) if !reasons().any(|known| known == reason) => Err(ApiError::BadQuery(format!(
            "there is no reason {reason}{}",
            nearest::hint(reason, reasons())
        ))),
        _ => Ok(()),
    }
}

/// Reads a page: as many letters as were asked for, or fewer that are large; and where the next begins, if there is one.
async fn page(
    app: &App,
    asked: DeadLetterQuery,
) -> Result<(Vec<StoredDeadLetter>, Option<String>), ApiError> {
    let mut letters: Vec<StoredDeadLetter> = Vec::new();
    let (mut query, mut bytes) = (asked.clone(), 0);
    while letters.len() < asked.limit && bytes < PAGE_BYTES_MAX {
        query.limit = ROWS_AT_ONCE.min(asked.limit - letters.len());
        let read = app.store.dead_letters(&query).await.map_err(|error| ApiError::of_store(&error))?;
        let is_last = read.len() < query.limit;
        bytes += read.iter().map(|letter| letter.raw.len()).sum::<usize>();
        letters.extend(read);
        query.before = letters.last().map(|last| last.id);
        if is_last {
            return Ok((letters, None));
        }
    }
    Ok((letters, query.before.map(|id| id.to_string())))
}

/// `GET /v1/dead-letters/{stream}/{partition}/{offset}`: one letter.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, u32, u64)>, axum::extract::rejection::PathRejection>,
) -> Result<Response, ApiError> {
    let Path((stream, partition, offset)) = path.map_err(|_| {
        ApiError::BadQuery(
            "the path of a letter is /v1/dead-letters/{stream}/{partition}/{offset}".to_owned(),
        )
    })?;
    let query = DeadLetterQuery {
        stream: Some(stream.clone()),
        places: vec![(partition, offset)],
        limit: 1,
        ..DeadLetterQuery::default()
    };
    let letters = app.store.dead_letters(&query).await.map_err(|error| ApiError::of_store(&error))?;
    match letters.first() {
        Some(letter) => Ok(answer::json(letter_json(letter).to_string())),
        None => app.check_stream(&stream).and(Err(ApiError::NotFound(format!(
            "the record at offset {offset} of partition {partition} of {stream} is no dead letter, or none any more"
        )))),
    }
}

fn cursor(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| ApiError::BadQuery("cursor is the next_cursor of the page before".to_owned()))
}

fn letter_json(letter: &StoredDeadLetter) -> Value {
    json!({
        "stream": letter.stream,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "field": letter.field,
        "detail": letter.detail,
        "event_id": letter.event_id,
        "event_type": letter.event_type,
        "received_at": letter.received_at.to_string(),
        "stored_at": letter.stored_at.to_string(),
        "replayed_at": letter.replayed_at.map(|at| at.to_string()),
        "replay_of": letter.replay_of.map(|(partition, offset)| json!([partition, offset])),
        "raw": String::from_utf8_lossy(&letter.raw),
    })
}

fn count_json(count: &LetterCount) -> Value {
    json!({
        "stream": count.stream,
        "reason": count.reason,
        "waiting": count.waiting,
        "replayed": count.replayed,
        "failed_replays": count.copies,
    })
}
