//! Where a key stands in a request: `Authorization: Bearer`, `X-Api-Key`, the password of HTTP Basic, or the cookie of the
//! dashboard's session; the first present counts. Never in the URL, which ends up in logs and histories.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The cookie of a session.
pub(crate) const COOKIE: &str = "streamgauge_session";
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who put the key there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Whoever wrote the request.
    Header,
    /// The browser, by itself.
    Cookie,
}

/// Returns the text of a request's key, whether it is one or not.
pub(crate) fn of(headers: &HeaderMap) -> Option<(Cow<'_, str>, Place)> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let named = text(header::AUTHORIZATION).and_then(authorization);
    let named = named.or_else(|| text(API_KEY).map(Cow::Borrowed));
    if let Some(key) = named {
        return Some((key, Place::Header));
    }
    Some((Cow::Borrowed(session(headers)?), Place::Cookie))
}

/// Returns whether a browser shows a session, which may have ended.
pub(crate) fn has_session(headers: &HeaderMap) -> bool {
    session(headers).is_some()
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, key)| key)
}

fn authorization(value: &str) -> Option<Cow<'_, str>> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Cow::Borrowed(rest.trim()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    Some(Cow::Owned(password.to_owned()))
}

/// Returns whether a browser says that one of our own pages sends this.
pub(crate) fn is_from_here(headers: &HeaderMap) -> bool {
    sent_by_our_page(headers) == Some(true)
}

/// Returns whether a browser says that the page of another origin sends this.
pub(crate) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    sent_by_our_page(headers) == Some(false)
}

/// Returns whether a page of ours sends this; `None` when no browser says anything about it.
fn sent_by_our_page(headers: &HeaderMap) -> Option<bool> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(FETCH_SITE) {
        return Some(matches!(site, "same-origin" | "none"));
    }
    let origin = text(header::ORIGIN)?;
    let host = origin.split_once("://").map(|(_, host)| host);
    Some(host.is_some() && host == text(header::HOST))
}
