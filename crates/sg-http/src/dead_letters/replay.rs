//! Takes dead letters in again, mended by an edit if one is given. Marks nothing: a letter counts as replayed when the
//! store has what stands for it, in the transaction that counts it, so that it is counted once however often this is
//! asked, by whomever.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sg_core::batch::{EventBatch, LetterPlace};
use sg_core::plan::{Edit, Letter, Plan};
use sg_core::query::{DeadLetterQuery, StoredDeadLetter};

use crate::error::ApiError;
use crate::{App, answer, body};

/// Letters looked at by one request, unless it asks for fewer or more, and at most.
const LETTERS: usize = 1_000;
const LETTERS_MAX: usize = 10_000;
/// Letters that one request may name: each is two parameters of a statement.
const NAMED_MAX: usize = 1_000;
/// Members that an edit may set: each is looked up in every letter.
const EDITED_MAX: usize = 32;
/// Letters in memory at once: with the largest events 16 MiB.
const LETTERS_AT_ONCE: usize = 64;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Only of this stream.
    stream: Option<String>,
    /// Only with this reason.
    reason: Option<String>,
    /// Only these, by partition and offset; then a stream must be named.
    letters: Option<Vec<LetterPlace>>,
    /// How many letters are looked at.
    limit: Option<usize>,
    /// Where the request before ended.
    cursor: Option<String>,
    /// Members to set before.
    #[serde(default)]
    edit: BTreeMap<String, Box<RawValue>>,
    /// Only says what would happen.
    #[serde(default)]
    dry_run: bool,
}

/// What became of the letters.
#[derive(Default)]
struct Outcome {
    accepted: usize,
    refused: Vec<Value>,
    replayed: usize,
    found: usize,
    next: Option<String>,
}

/// `POST /v1/dead-letters/replay`.
pub(crate) async fn replay(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, &app.budget).await?;
    let wish: Wish = serde_json::from_slice(&body.bytes)
        .map_err(|error| ApiError::InvalidBody(format!("the body is not what a replay asks for: {error}")))?;
    let query = query_of(&wish)?;
    let named = wish.letters.as_ref().map(Vec::len);
    let is_dry = wish.dry_run;
    let edit = Edit::new(wish.edit.into_iter().collect());
    let limit = wish.limit.unwrap_or(LETTERS);
    let outcome = replay_all(&app, (query.clone(), limit), &edit, is_dry).await?;
    if outcome.found == 0 && query.before.is_none() {
        super::check_names(&app, &query)?;
    }
    let mut told = json!({
        if is_dry { "would_accept" } else { "accepted" }: outcome.accepted,
        "still_refused": outcome.refused,
        "already_replayed": outcome.replayed,
        "next_cursor": outcome.next,
    });
    if let Some(named) = named {
        told["not_found"] = named.saturating_sub(outcome.found).into();
    }
    Ok(answer::json(told.to_string()))
}

fn query_of(wish: &Wish) -> Result<DeadLetterQuery, ApiError> {
    let bad = |what: String| Err(ApiError::BadQuery(what));
    if !(1..=LETTERS_MAX).contains(&wish.limit.unwrap_or(1)) {
        return bad(format!("limit is a number from 1 to {LETTERS_MAX}"));
    }
    if wish.edit.len() > EDITED_MAX {
        return bad(format!("an edit sets at most {EDITED_MAX} members"));
    }
    let named = wish.letters.clone().unwrap_or_default();
    if named.len() > NAMED_MAX {
        return bad(format!("a request names at most {NAMED_MAX} letters: send several"));
    }
    if wish.letters.is_some() && (named.is_empty() || wish.stream.is_none()) {
        return bad(
            "letters are pairs of partition and offset, at least one, of a stream that is named".to_owned()
        );
    }
    let mut places = named;
    places.sort_unstable();
    places.dedup();
    let is_named = !places.is_empty();
    Ok(DeadLetterQuery {
        stream: wish.stream.clone(),
        reason: wish.reason.clone(),
        places,
        is_replayed: if is_named { None } else { Some(false) },
        originals_only: !is_named,
        before: wish.cursor.as_deref().map(super::cursor).transpose()?,
        ..DeadLetterQuery::default()
    })
}

async fn replay_all(
    app: &App,
    (mut query, limit): (DeadLetterQuery, usize),
    edit: &Edit,
    is_dry: bool,
) -> Result<Outcome, ApiError> {
    let mut outcome = Outcome::default();
    while outcome.found < limit {
        query.limit = LETTERS_AT_ONCE.min(limit - outcome.found);
        let letters = app.store.dead_letters(&query).await.map_err(|error| ApiError::of_store(&error))?;
        outcome.found += letters.len();
        let mut batches: Vec<EventBatch> = Vec::new();
        for letter in &letters {
            take(app, letter, edit, &mut batches, &mut outcome);
        }
        for batch in batches {
            outcome.accepted += batch.len();
            if !is_dry {
                app.log.append(batch).await.map_err(|error| ApiError::of_log(&error))?;
            }
        }
        query.before = letters.last().map(|last| last.id);
        if letters.len() < query.limit {
            return Ok(outcome);
        }
    }
    outcome.next = query.before.map(|id| id.to_string());
    Ok(outcome)
}

/// Adds a letter to the batch of its stream, or says why not.
fn take(
    app: &App,
    letter: &StoredDeadLetter,
    edit: &Edit,
    batches: &mut Vec<EventBatch>,
    outcome: &mut Outcome,
) {
    if letter.replayed_at.is_some() {
        outcome.replayed += 1;
        return;
    }
    let refused = |code: &str, field: &str, detail: &str| {
        json!({
            "stream": letter.stream, "partition": letter.partition, "offset": letter.offset,
            "code": code, "field": field, "detail": detail,
        })
    };
    if let Some((partition, offset)) = letter.replay_of {
        let detail = format!(
            "the record was to mend the letter at offset {offset} of partition {partition}, in vain: replay that one"
        );
        outcome.refused.push(refused(&letter.reason, &letter.field, &detail));
        return;
    }
    let plan: Option<&Arc<Plan>> =
        app.doors.iter().map(|door| &door.plan).find(|plan| *plan.name == *letter.stream);
    let Some(plan) = plan else {
        outcome.refused.push(refused("unknown_stream", "", "the stream is not configured any more"));
        return;
    };
    let at = match batches.iter().position(|batch| batch.stream == plan.name) {
        Some(at) => at,
        None => {
            batches.push(EventBatch::new(plan.name.clone(), Bytes::new()));
            batches.len() - 1
        }
    };
    let known = Letter {
        place: (letter.partition, letter.offset),
        id: &letter.event_id,
        received_at: letter.received_at,
        raw: &letter.raw,
    };
    match plan.accept_again(&known, (edit, app.clock.now()), &mut batches[at]) {
        Ok(()) => {}
        Err(refusal) => {
            outcome.refused.push(refused(refusal.code.as_str(), &refusal.field, &refusal.detail));
        }
    }
}
