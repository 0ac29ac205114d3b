//! The events that lie in a topic: JSON of 125 bytes with one of 1000 keys, dated a little out of order.
//! Written as a producer that knows nothing of Streamgauge would write them, and read for the control that parses.

use std::borrow::Cow;
use std::io::Write;

use serde::Deserialize;

use crate::event::{ID_BYTES, Random, TYPES};

/// An event, borrowed from its record.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct KeyedEvent<'a> {
    /// The id under which a resend is the same event.
    #[serde(borrow)]
    pub event_id: Cow<'a, str>,
    /// What happened.
    #[serde(borrow)]
    pub event_type: Cow<'a, str>,
    /// What is counted by, and the record's key.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// A number to add up.
    pub amount: u64,
    /// When, in milliseconds since 1970.
    pub timestamp: i64,
}

/// Keys of the events.
pub const KEYS: u64 = 1_000;
/// Bytes of an event.
pub const EVENT_BYTES: usize = 125;
/// How far an event may lie before or behind its place in the order of time.
pub const DISORDER_MS: u64 = 5_000;
/// Event time that a million events cover: ten minutes.
pub const MS_PER_MILLION: u64 = 600_000;

/// Makes events one after the other.
#[derive(Debug)]
pub struct KeyedEvents {
    random: Random,
    start_ms: i64,
    number: u64,
    key: String,
    value: Vec<u8>,
}

impl KeyedEvents {
    /// Prepares `count` events that all lie before `now_ms`; the same seed and times make the same events.
    pub fn before(now_ms: i64, count: u64, seed: u64) -> KeyedEvents {
        let start_ms = now_ms - offset_ms(count) - DISORDER_MS as i64;
        let (key, value) = (String::new(), Vec::with_capacity(EVENT_BYTES));
        KeyedEvents { random: Random(seed), start_ms, number: 0, key, value }
    }

    /// Makes the next event; returns its key and its JSON.
    pub fn next_event(&mut self) -> (&str, &[u8]) {
        let bits = self.random.bits();
        let kind = TYPES[(bits & 7) as usize];
        let amount = 1_000 + (bits >> 3 & 0xffff) % 9_000;
        let disorder_ms = ((bits >> 40) % (2 * DISORDER_MS)) as i64 - DISORDER_MS as i64;
        let timestamp = self.start_ms + offset_ms(self.number) + disorder_ms;
        self.number += 1;
        self.key = format!("k{:03}", (bits >> 19 & 0xf_ffff) % KEYS);
        let value = &mut self.value;
        value.clear();
        value.extend_from_slice(b"{\"event_id\":\"");
        let id = value.len();
        value.resize(id + ID_BYTES, b'0');
        self.random.write_id(&mut value[id..]);
        let key = &self.key;
        write!(value, r#"","event_type":"{kind}","key":"{key}","amount":{amount},"timestamp":{timestamp}}}"#)
            .expect("writing to memory does not fail");
        (&self.key, &self.value)
    }
}

/// Returns how long after the first event the one with a number happens.
fn offset_ms(number: u64) -> i64 {
    (number * MS_PER_MILLION / 1_000_000) as i64
}

#[cfg(test)]
mod tests;
