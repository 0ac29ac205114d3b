//! Questions about dead letters: which there are, and why.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use sg_core::query::{DeadLetterQuery, StoredDeadLetter};

use crate::App;
use crate::answer;
use crate::error::ApiError;
use crate::params::Params;

/// Rows of a page unless asked otherwise.
const PAGE_ROWS: usize = 100;
/// Rows of a page at most.
const PAGE_ROWS_MAX: usize = 10_000;

/// `GET /v1/dead-letters?stream=&reason=&event_id=&limit=`: newest first.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["stream", "reason", "event_id", "limit"])?;
    let text = |name: &str| params.get(name).map(str::to_owned);
    let query = DeadLetterQuery {
        stream: text("stream"),
        reason: text("reason"),
        event_id: text("event_id"),
        limit: params.count("limit", PAGE_ROWS, PAGE_ROWS_MAX)?,
    };
    let letters = app.store.dead_letters(&query).await.map_err(|error| ApiError::of_store(&error))?;
    let data: Vec<Value> = letters.iter().map(letter_json).collect();
    Ok(answer::json(json!({"data": data}).to_string()))
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
        "raw": String::from_utf8_lossy(&letter.raw),
    })
}
