//! The one shape of event that the controls know: read from NDJSON, and made up at random.
//! Fields in any order; nothing but what the fold needs is checked.

use std::borrow::Cow;

use serde::Deserialize;

/// An event, borrowed from its line.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Event<'a> {
    /// The id under which a resend is the same event.
    #[serde(borrow)]
    pub event_id: Cow<'a, str>,
    /// Who did it.
    pub user_id: u64,
    /// What happened.
    #[serde(borrow)]
    pub event_type: Cow<'a, str>,
    /// Where.
    #[serde(borrow)]
    pub postcode: Cow<'a, str>,
    /// When, in milliseconds since 1970.
    pub timestamp: i64,
}

/// Longest id that is taken.
const ID_BYTES_MAX: usize = 256;

impl<'a> Event<'a> {
    /// Reads one line; `None` when it is no event.
    pub fn read(line: &'a [u8]) -> Option<Event<'a>> {
        let event: Event<'a> = serde_json::from_slice(line).ok()?;
        let is_named = !event.event_id.is_empty()
            && event.event_id.len() <= ID_BYTES_MAX
            && !event.event_type.is_empty();
        (is_named && event.timestamp > 0).then_some(event)
    }
}

/// Reads every event of an NDJSON body; `None` when one line is none.
pub fn read_all(body: &[u8]) -> Option<Vec<Event<'_>>> {
    // Events of this shape take about 130 bytes, so that the vector rarely grows.
    let mut events = Vec::with_capacity(body.len() / 128 + 1);
    let mut start = 0;
    while start < body.len() {
        let end = memchr::memchr(b'\n', &body[start..]).map_or(body.len(), |length| start + length);
        let line = body[start..end].trim_ascii();
        if !line.is_empty() {
            events.push(Event::read(line)?);
        }
        start = end + 1;
    }
    Some(events)
}

/// Event types of made-up events, of equal length so that bodies can be changed in place.
pub const TYPES: [&str; 8] =
    ["page_view", "add_cart_", "purchase_", "search___", "sign_up__", "log_in___", "log_out__", "share____"];

/// Bytes of a made-up event's id: 128 bits in hex.
pub const ID_BYTES: usize = 32;
/// Bytes of a made-up event's timestamp: milliseconds have 13 digits until the year 2286.
pub const TIMESTAMP_BYTES: usize = 13;

/// A small fast random generator (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Writes 128 random bits as hex digits.
    pub fn write_id(&mut self, target: &mut [u8]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let (mut high, mut low) = (self.bits(), self.bits());
        let (left, right) = target.split_at_mut(ID_BYTES / 2);
        for (first, second) in left.iter_mut().zip(right) {
            *first = HEX[(high & 15) as usize];
            *second = HEX[(low & 15) as usize];
            high >>= 4;
            low >>= 4;
        }
    }
}

/// Returns 2,900 postcodes such as `SW19`.
pub fn postcodes() -> Vec<String> {
    const AREAS: [&str; 29] = [
        "SW", "SE", "NW", "CR", "BR", "KT", "TW", "EN", "IG", "RM", "DA", "UB", "HA", "WD", "AL", "CM", "SS",
        "CO", "IP", "NR", "PE", "CB", "LU", "MK", "NN", "OX", "SL", "RG", "GU",
    ];
    AREAS.iter().flat_map(|area| (0..100).map(move |number| format!("{area}{number:02}"))).collect()
}

/// Where the parts of a made-up event that change with every request stand in its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// First byte of the id.
    pub id: usize,
    /// First byte of the timestamp.
    pub timestamp: usize,
}

/// Appends one made-up event of about 130 bytes.
pub fn write(body: &mut Vec<u8>, random: &mut Random, postcodes: &[String], timestamp_ms: i64) -> Places {
    let bits = random.bits();
    body.extend_from_slice(b"{\"event_id\":\"");
    let id = body.len();
    body.resize(id + ID_BYTES, b'0');
    random.write_id(&mut body[id..]);
    let user = 1_000 + (bits & 0xffff) % 9_000;
    let kind = TYPES[(bits >> 16 & 7) as usize];
    let postcode = &postcodes[(bits >> 20 & 0xffff) as usize % postcodes.len()];
    let rest =
        format!("\",\"user_id\":{user},\"event_type\":\"{kind}\",\"postcode\":\"{postcode}\",\"timestamp\":");
    body.extend_from_slice(rest.as_bytes());
    let timestamp = body.len();
    body.extend_from_slice(timestamp_ms.to_string().as_bytes());
    body.push(b'}');
    Places { id, timestamp }
}

#[cfg(test)]
mod tests;
