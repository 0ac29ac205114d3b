//! A browser's session: the key in a cookie that no script can read and no other site sends along. The cookie holds the key
//! itself, so that it works in every process, ends with the key, and nothing more has to be stored.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use sg_core::key::{Scope, Scopes};

use crate::error::ApiError;
use crate::guard::{COOKIE, has_session, is_from_elsewhere};
use crate::server::Secured;
use crate::{App, answer, body};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    key: String,
}

/// `POST /v1/session`: takes a key and gives the cookie.
pub(crate) async fn begin(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    if is_from_elsewhere(&parts.headers) {
        return Err(ApiError::OriginRefused);
    }
    let body = body::read(&parts.headers, body, &app.budget).await?;
    // What is wrong with the body is not quoted: it holds a key.
    let login: Login = serde_json::from_slice(&body.bytes)
        .map_err(|_| ApiError::InvalidBody("the body is to be {\"key\":\"…\"}".to_owned()))?;
    let caller = app.guard.caller_by_text(&login.key)?;
    if caller.key.is_some_and(|key| !key.origins.is_empty()) {
        // It is in everybody's hands already, and only good for posting.
        return Err(ApiError::ScopeMissing(Scope::Query));
    }
    // Where nobody is asked for a key anything may be sent; it must still fit a cookie.
    let is_fit =
        login.key.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'\\'));
    if !is_fit {
        return Err(ApiError::KeyUnknown);
    }
    cookie(&login.key, "", parts.extensions.get::<Secured>().is_some())
}

/// `DELETE /v1/session`: takes the cookie away.
pub(crate) async fn end(request: Request) -> Result<Response, ApiError> {
    if is_from_elsewhere(request.headers()) {
        return Err(ApiError::OriginRefused);
    }
    cookie("", "; Max-Age=0", request.extensions().get::<Secured>().is_some())
}

/// `GET /v1/session`: what whoever asks may do.
pub(crate) async fn show(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let scopes = app.guard.caller(&headers).map_or(Scopes::NONE, |caller| caller.scopes);
    let names: Vec<&str> =
        Scope::ALL.into_iter().filter(|scope| scopes.allow(*scope)).map(Scope::as_str).collect();
    let auth = if app.guard.is_off() { "off" } else { "keys" };
    answer::json(json!({"auth": auth, "scopes": names, "session": has_session(&headers)}).to_string())
}

fn cookie(value: &str, more: &str, is_secured: bool) -> Result<Response, ApiError> {
    let secure = if is_secured { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/{secure}{more}");
    let mut text = HeaderValue::from_str(&text).map_err(|_| ApiError::KeyUnknown)?;
    text.set_sensitive(true);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, text)]).into_response())
}
