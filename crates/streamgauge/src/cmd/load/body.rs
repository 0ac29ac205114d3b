//! The bytes of a request, made once; ids and times are written over in place before each sending.

use sg_core::time::Timestamp;

use crate::client::{self, JSON, NDJSON, Server};
use crate::generate::pageview::{POSTCODES, postcode};
use crate::generate::random::Random;

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
    /// Where each event's id and time begin.
    places: Vec<(usize, usize)>,
    random: Random,
}

impl Body {
    /// Makes a body of so many events for a stream.
    pub(super) fn new(stream: &str, events: usize) -> Body {
        let mut random = Random::new(uuid::Uuid::now_v7().as_u64_pair().1);
        let mut text = String::new();
        let mut places = Vec::with_capacity(events);
        for _ in 0..events {
            if !text.is_empty() {
                text.push('\n');
            }
            let (kind, place) = (random.one_of(&KINDS), postcode(random.index(POSTCODES)));
            let user = 1_000 + random.below(9_000);
            text += "{\"event_id\":\"";
            let id_at = text.len();
            text += &format!("{:0ID_BYTES$}\",\"user_id\":{user},\"event_type\":\"{kind}\",", 0);
            if stream == "stream.events" {
                text += &format!("\"stream_id\":\"stream_{}\",", 1 + random.below(3));
            }
            text += &format!("\"postcode\":\"{place}\",\"timestamp\":");
            places.push((id_at, text.len()));
            text += &format!("{:0TIME_BYTES$}}}", 0);
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
            self.bytes[*time_at..][..TIME_BYTES].copy_from_slice(time);
        }
        &self.bytes
    }
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
