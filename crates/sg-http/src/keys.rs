//! Keys by HTTP: they are made, listed and ended. A key's text is in the one answer to its making and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sg_core::key::{
    ID_BYTES, KEYS_MAX, KEYS_PER_NAME_MAX, KeyHash, NAME_BYTES_MAX, ORIGINS_MAX, RATE_MAX, Rates,
    SECRET_BYTES, Scope, Scopes, StoredKey, is_id, text_of,
};
use sg_core::ports::KeyAdded;
use sg_core::query::parse_duration;
use sg_core::time::Timestamp;

use crate::cors::Origins;
use crate::error::ApiError;
use crate::params::Named;
use crate::{App, answer, body};

/// The longest life of a key that has an end: longer is none in practice.
const LIFE_MAX: Duration = Duration::from_secs(3_650 * 86_400);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    origins: Vec<String>,
    events_per_s: Option<u64>,
    bytes_per_s: Option<u64>,
    expires_in: Option<String>,
}

/// Draws the random bytes of a key.
///
/// # Errors
/// Those of the system.
pub fn draw() -> Result<(String, String), std::io::Error> {
    let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
    let draw =
        |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|error| std::io::Error::other(error.to_string()));
    draw(&mut id)?;
    draw(&mut secret)?;
    Ok(text_of(id, secret))
}

/// `POST /v1/keys`: makes a key.
pub(crate) async fn create(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let guard = &app.guard;
    if guard.is_off() {
        return Err(refused(
            "keys are off: set auth = \"keys\" first, and admin_key where the server is reached from elsewhere",
        ));
    }
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, &app.budget).await?;
    let asked: Asked = serde_json::from_slice(&body.bytes)
        .map_err(|error| ApiError::InvalidBody(format!("the body is not what a key is made of: {error}")))?;
    let now = app.clock.now();
    let key = wished(asked, now)?;
    if guard.is_open() && !key.scopes.allow(Scope::Admin) {
        return Err(refused("the first key needs the scope admin: without one nobody could make another"));
    }
    let (id, text) = draw().map_err(|error| ApiError::Internal(format!("drawing a key: {error}")))?;
    let key = StoredKey { id, hash: KeyHash::of(&text), ..key };
    let added = guard.store().add_key(&key).await.map_err(|error| ApiError::of_store(&error))?;
    match added {
        KeyAdded::Added => {}
        KeyAdded::NameIsFull => {
            let name = &key.name;
            return Err(refused(&format!(
                "{name} has {KEYS_PER_NAME_MAX} working keys already: revoke one first"
            )));
        }
        KeyAdded::StoreIsFull => {
            return Err(refused(&format!(
                "there are {KEYS_MAX} keys already, those of the last 30 days included"
            )));
        }
    }
    tracing::info!(id = key.id, name = key.name, scopes = ?key.scopes, "a key was made");
    read_again(&app).await;
    let mut made = key_json(&key, now);
    made["key"] = text.into();
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((StatusCode::CREATED, [no_store, kind], made.to_string()).into_response())
}

/// Has this process know at once what others will know soon.
async fn read_again(app: &App) {
    if let Err(error) = app.guard.refresh().await {
        tracing::warn!("reading the keys again: {error}");
    }
}

fn refused(detail: &str) -> ApiError {
    ApiError::KeyRefused(detail.to_owned())
}

/// Returns the key that is asked for, without its secret.
fn wished(asked: Asked, now: Timestamp) -> Result<StoredKey, ApiError> {
    let Asked { name, scopes, origins, events_per_s, bytes_per_s, expires_in } = asked;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(refused(&format!("name has 1 to {NAME_BYTES_MAX} bytes and no control characters")));
    }
    let scopes = Scopes::of_names(scopes.iter().map(String::as_str))
        .map_err(|name| refused(&format!("there is no scope {name}; there are ingest, query and admin")))?;
    if scopes.is_empty() {
        return Err(refused("scopes names at least one of ingest, query and admin"));
    }
    if !origins.is_empty() && scopes != Scopes::NONE.with(Scope::Ingest) {
        return Err(refused(
            "a key with origins is read by whoever opens the page: it can have the scope ingest only",
        ));
    }
    if origins.len() > ORIGINS_MAX {
        return Err(refused(&format!("a key has at most {ORIGINS_MAX} origins")));
    }
    if let Some(wrong) = Origins::new(origins.clone()).wrong().next() {
        return Err(refused(&format!(
            "{wrong} is no origin such as https://shop.example or http://localhost:*"
        )));
    }
    for rate in [events_per_s, bytes_per_s].into_iter().flatten() {
        if !(1..=RATE_MAX).contains(&rate) {
            return Err(refused(&format!("a rate is between 1 and {RATE_MAX} a second, not {rate}")));
        }
    }
    let life = expires_in.map(|text| life(&text)).transpose()?;
    Ok(StoredKey {
        id: String::new(),
        name,
        hash: KeyHash([0; 32]),
        scopes,
        origins,
        rates: Rates { events: events_per_s, bytes: bytes_per_s },
        created_at: now,
        expires_at: life.map(|life| Timestamp(now.0 + life.as_millis() as i64)),
        revoked_at: None,
    })
}

fn life(text: &str) -> Result<Duration, ApiError> {
    let life = parse_duration(text).filter(|life| !life.is_zero() && *life <= LIFE_MAX);
    life.ok_or_else(|| refused("expires_in is a duration such as 12h or 90d, of 10 years at most"))
}

/// `GET /v1/keys`: all keys but their texts.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let keys = app.guard.keys().await.map_err(|error| ApiError::of_store(&error))?;
    let now = app.clock.now();
    let keys: Vec<Value> = keys.iter().map(|key| key_json(key, now)).collect();
    Ok(answer::json(json!({"keys": keys}).to_string()))
}

/// `DELETE /v1/keys/{id}`: ends a key.
pub(crate) async fn revoke(State(app): State<Arc<App>>, Named(id): Named) -> Result<Response, ApiError> {
    if app.guard.is_off() {
        return Err(refused("keys are off: set auth = \"keys\" first"));
    }
    let none = || ApiError::NotFound("there is no key of that id that has not been revoked".to_owned());
    if !is_id(&id) {
        return Err(none());
    }
    let revoked = app.guard.store().revoke_key(&id, app.clock.now()).await;
    if !revoked.map_err(|error| ApiError::of_store(&error))? {
        return Err(none());
    }
    tracing::info!(id, "a key was revoked");
    read_again(&app).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn key_json(key: &StoredKey, now: Timestamp) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes.names(),
        "origins": key.origins,
        "events_per_s": key.rates.events,
        "bytes_per_s": key.rates.bytes,
        "created_at": key.created_at.to_string(),
        "expires_at": time(key.expires_at),
        "revoked_at": time(key.revoked_at),
        "works": key.works_at(now),
    })
}
