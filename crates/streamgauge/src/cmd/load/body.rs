//! The bytes of a request, made once; ids and times are written over in place before each sending.

use sg_core::event::OwnNames;
use sg_core::time::Timestamp;

use crate::client::{self, JSON, NDJSON, Server};
use crate::generate::pageview::{POSTCODES, postcode};
use crate::generate::random::Random;
use crate::generate::renamed::name_of;

use super::form::Wording;

const KINDS: [&str; 8] =
    ["page_view", "click", "search", "add_to_cart", "purchase", "signup", "session_start", "session_end"];
const ID_BYTES: usize = 32;
/// Digits of a time in milliseconds, until the year 2286.
const TIME_BYTES: usize = 13;

/// A request's body.
#[derive(Debug)]
pub(super) struct Body {
    path: String,
    kind: &'static str,
    /// How many events.
    pub(super) events: u64,
    bytes: Vec<u8>,
    /// Where each event's id begins, and its time where it has one.
    places: Vec<(usize, Option<usize>)>,
    random: Random,
}

impl Body {
    /// Makes a body of so many events for a stream, under its names.
    pub(super) fn new((stream, names): (&str, &OwnNames), events: usize, wording: Wording) -> Body {
        let mut random = Random::new(uuid::Uuid::now_v7().as_u64_pair().1);
        let mut text = String::new();
        let mut places = Vec::with_capacity(events);
        for _ in 0..events {
            if !text.is_empty() {
                text.push('\n');
            }
            places.push(match wording {
                Wording::Own => push_own(&mut text, (stream, names), &mut random),
                Wording::EventPlatform => push_of_event_platform(&mut text, names, &mut random),
                Wording::WebAnalytics => push_of_web_analytics(&mut text, names, &mut random),
            });
        }
        let (path, kind) = match (events, stream) {
            (1, "events") => ("/events".to_owned(), JSON),
            (1, _) => (format!("/v1/events?stream={}", client::percent_encoded(stream)), JSON),
            _ => (format!("/v1/events?stream={}", client::percent_encoded(stream)), NDJSON),
        };
        Body { path, kind, events: events as u64, bytes: text.into_bytes(), places, random }
    }

    /// Returns the request's head; the same for every sending.
    pub(super) fn head(&self, server: &Server) -> String {
        let mut head = format!(
            "POST {}{} HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
            server.prefix,
            self.path,
            server.address,
            self.kind,
            self.bytes.len()
        );
        if let Some(authorization) = server.authorization() {
            head += &format!("authorization: {authorization}\r\n");
        }
        head + "\r\n"
    }

    /// Gives every event a new id and the time `now`, and returns the bytes.
    pub(super) fn renewed(&mut self, now: Timestamp) -> &[u8] {
        let time = format!("{:0TIME_BYTES$}", now.0.max(0));
        let time = &time.as_bytes()[..TIME_BYTES];
        for (id_at, time_at) in &self.places {
            let (high, low) = (self.random.bits(), self.random.bits());
            write_hex(&mut self.bytes[*id_at..][..ID_BYTES / 2], high);
            write_hex(&mut self.bytes[id_at + ID_BYTES / 2..][..ID_BYTES / 2], low);
            if let Some(time_at) = time_at {
                self.bytes[*time_at..][..TIME_BYTES].copy_from_slice(time);
            }
        }
        &self.bytes
    }
}

/// Appends an event as our own; returns where its id and its time begin.
fn push_own(
    text: &mut String,
    (stream, names): (&str, &OwnNames),
    random: &mut Random,
) -> (usize, Option<usize>) {
    let (kind, place) = (random.one_of(&KINDS), postcode(random.index(POSTCODES)));
    let user = 1_000 + random.below(9_000);
    let [id_name, user_name, type_name, time_name] =
        ["event_id", "user_id", "event_type", "timestamp"].map(|spelling| member(spelling, names));
    *text += &format!("{{{id_name}:\"");
    let id_at = text.len();
    *text += &format!("{:0ID_BYTES$}\",{user_name}:{user},{type_name}:\"{kind}\",", 0);
    // What the stream takes for a field of another meaning is left out.
    let is_free = |name: &str| names.named(name).is_none();
    if stream == "stream.events" && is_free("stream_id") {
        *text += &format!("\"stream_id\":\"stream_{}\",", 1 + random.below(3));
    }
    if is_free("postcode") {
        *text += &format!("\"postcode\":\"{place}\",");
    }
    *text += &format!("{time_name}:");
    let time_at = text.len();
    *text += &format!("{:0TIME_BYTES$}}}", 0);
    (id_at, Some(time_at))
}

/// Appends an event of the event platform: the reference keeps it another than all others.
fn push_of_event_platform(
    text: &mut String,
    names: &OwnNames,
    random: &mut Random,
) -> (usize, Option<usize>) {
    let (kind, user) = (random.one_of(&KINDS), 1 + random.below(1_000));
    let [user_name, type_name, properties_name, time_name] =
        ["user_id", "event_name", "metadata", "timestamp"].map(|spelling| member(spelling, names));
    *text +=
        &format!("{{{user_name}:\"user_{user}\",{type_name}:\"{kind}\",{properties_name}:{{\"reference\":\"");
    let id_at = text.len();
    *text += &format!("{:0ID_BYTES$}\"}},{time_name}:", 0);
    let time_at = text.len();
    *text += &format!("{:0TIME_BYTES$}}}", 0);
    (id_at, Some(time_at))
}

/// Appends an event of web analytics: the session's name ends with what is written anew.
fn push_of_web_analytics(text: &mut String, names: &OwnNames, random: &mut Random) -> (usize, Option<usize>) {
    let kind = random.one_of(&KINDS);
    let [session_name, type_name, properties_name] =
        ["sessionId", "eventType", "payload"].map(|spelling| member(spelling, names));
    *text += &format!("{{{session_name}:\"load-");
    let id_at = text.len();
    *text += &format!(
        "{:0ID_BYTES$}\",{type_name}:\"{kind}\",{properties_name}:\"{{\\\"path\\\":\\\"/home\\\"}}\"}}",
        0
    );
    (id_at, None)
}

/// Returns the name of a field as JSON, where all clients would spell it like this.
fn member(spelling: &str, names: &OwnNames) -> String {
    serde_json::Value::from(name_of(spelling, names)).to_string()
}

/// Writes 64 bits as 16 hex digits, without a branch per digit.
fn write_hex(into: &mut [u8], bits: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in
        into.iter_mut().zip(bits.to_be_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]))
    {
        *place = DIGITS[usize::from(byte)];
    }
}
