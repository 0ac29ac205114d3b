//! Finds the events in a body: one object, an array, or one event a line. Looks at the bytes first and at the content
//! type only where they leave a doubt, since `curl -d` calls everything a form.

use axum::http::{HeaderMap, header};
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;
use sg_core::limits::EVENTS_PER_REQUEST_MAX;

use crate::error::ApiError;

/// The events of a body, as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Items<'a> {
    /// One event, to be answered as one.
    One(&'a str),
    /// A list, to be answered item by item.
    Many(Vec<&'a str>),
}

impl Items<'_> {
    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Items::One(_) => 1,
            Items::Many(items) => items.len(),
        }
    }
}

/// What the content type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// JSON, or nothing that would contradict it.
    Json,
    /// One event a line.
    Lines,
}

/// Splits a body.
pub(crate) fn split<'a>(bytes: &'a [u8], headers: &HeaderMap) -> Result<Items<'a>, ApiError> {
    let kind = kind_of(headers)?;
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ApiError::InvalidBody(format!("the body is not UTF-8: {error}")))?;
    let text = text.trim_start_matches('\u{feff}').trim_matches([' ', '\t', '\r', '\n']);
    match text.as_bytes().first() {
        None => Err(ApiError::EmptyBody),
        _ if kind == Kind::Lines => lines(text),
        Some(b'[') => array(text),
        Some(b'{') => objects(text),
        Some(_) => Err(ApiError::InvalidBody(
            "the body is neither a JSON object nor an array nor lines of objects".to_owned(),
        )),
    }
}

fn kind_of(headers: &HeaderMap) -> Result<Kind, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Kind::Json) };
    let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let (media, parameters) = value.split_once(';').unwrap_or((&value, ""));
    if let Some((_, charset)) = parameters.split_once("charset=") {
        let charset = charset.trim().trim_matches('"');
        if !matches!(charset, "utf-8" | "utf8" | "us-ascii") {
            return Err(ApiError::UnsupportedMediaType(format!("events are sent in UTF-8, not {charset}")));
        }
    }
    match media.trim() {
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines"
        | "application/json-lines"
        | "text/x-ndjson" => Ok(Kind::Lines),
        ""
        | "application/json"
        | "text/json"
        | "text/plain"
        | "application/x-www-form-urlencoded"
        | "application/octet-stream" => Ok(Kind::Json),
        media if media.ends_with("+json") => Ok(Kind::Json),
        media => Err(ApiError::UnsupportedMediaType(format!(
            "events are sent as application/json or application/x-ndjson, not {media}"
        ))),
    }
}

/// Lines, blank ones left out. A line that is no event is an error of that line alone.
fn lines(text: &str) -> Result<Items<'_>, ApiError> {
    let mut items = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let line = rest[..end].trim_matches([' ', '\t', '\r']);
        rest = rest.get(end + 1..).unwrap_or("");
        if !line.is_empty() {
            push(&mut items, line)?;
        }
    }
    Ok(Items::Many(items))
}

/// One object, however it is laid out, or several that begin on lines of their own.
fn objects(text: &str) -> Result<Items<'_>, ApiError> {
    if memchr::memchr(b'\n', text.as_bytes()).is_none() {
        return Ok(Items::One(text));
    }
    let mut items = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        match value {
            Ok(value) => push(&mut items, value.get())?,
            // Some line is broken: then line by line, so that the others still count.
            Err(_) if text.contains('\n') && !items.is_empty() => return lines(text),
            Err(_) => return Ok(Items::One(text)),
        }
    }
    Ok(if items.len() == 1 { Items::One(items[0]) } else { Items::Many(items) })
}

fn array(text: &str) -> Result<Items<'_>, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let items = deserializer
        .deserialize_seq(Elements)
        .map_err(|error| ApiError::InvalidBody(format!("the body is not a JSON array: {error}")))?;
    deserializer
        .end()
        .map_err(|error| ApiError::InvalidBody(format!("something follows the array: {error}")))?;
    let items = items.ok_or(ApiError::TooManyEvents(EVENTS_PER_REQUEST_MAX))?;
    if items.is_empty() { Err(ApiError::EmptyBody) } else { Ok(Items::Many(items)) }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    /// `None` when there are too many.
    type Value = Option<Vec<&'de str>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        let mut is_over = false;
        while let Some(value) = sequence.next_element::<&'de RawValue>()? {
            is_over |= items.len() == EVENTS_PER_REQUEST_MAX;
            if !is_over {
                items.push(value.get());
            }
        }
        Ok((!is_over).then_some(items))
    }
}

fn push<'a>(items: &mut Vec<&'a str>, item: &'a str) -> Result<(), ApiError> {
    if items.len() == EVENTS_PER_REQUEST_MAX {
        return Err(ApiError::TooManyEvents(EVENTS_PER_REQUEST_MAX));
    }
    items.push(item);
    Ok(())
}

#[cfg(test)]
mod tests;
