//! Batches come back as they were given; anything else decodes to nothing or to something, but never panics.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, proptest};
use sg_core::batch::{Entry, EventBatch, Span, content_hash};
use sg_core::testing::log_suite::{rows, sample};
use sg_core::time::Timestamp;

use super::{decode, encode};
use crate::frame::HEADER_BYTES;

/// Where a text of a generated event stands.
#[derive(Debug, Clone)]
enum Text {
    Absent,
    InRaw(usize, usize),
    InMain(usize, usize),
    Aside(String),
}

#[derive(Debug, Clone)]
struct Event {
    raw: String,
    is_raw_aside: bool,
    texts: [Text; 2],
    key_hash: u64,
    times: [Option<i64>; 2],
    replay_of: Option<(u32, u64)>,
}

fn text() -> impl Strategy<Value = Text> {
    (0..4_u8, any::<(usize, usize)>(), ".{0,20}").prop_map(|(kind, (at, bytes), aside)| match kind {
        0 => Text::Absent,
        1 => Text::InRaw(at, bytes),
        2 => Text::InMain(at, bytes),
        _ => Text::Aside(aside),
    })
}

fn event() -> impl Strategy<Value = Event> {
    let times = (option::of(any::<i64>()), option::of(any::<i64>()));
    let replay_of = option::of(any::<(u32, u64)>());
    (".{0,200}", any::<bool>(), text(), text(), any::<u64>(), times, replay_of).prop_map(
        |(raw, is_raw_aside, id, kind, key_hash, (event_time, received_at), replay_of)| Event {
            raw,
            is_raw_aside,
            texts: [id, kind],
            key_hash,
            times: [event_time, received_at],
            replay_of,
        },
    )
}

fn batch(events: &[Event]) -> EventBatch {
    let main: String = events.iter().map(|event| event.raw.as_str()).collect();
    let mut batch = EventBatch::new(Arc::from("events"), Bytes::from(main));
    let mut at = 0;
    for (index, event) in events.iter().enumerate() {
        batch.replays.extend(event.replay_of.map(|letter| (index as u32, letter)));
        let in_main = Span::main(at, event.raw.len());
        at += event.raw.len();
        let raw = if event.is_raw_aside { batch.push_side(event.raw.as_bytes()) } else { in_main };
        let [id, kind] = event.texts.clone().map(|text| match text {
            Text::Absent => Span::NONE,
            Text::InRaw(start, bytes) => {
                let start = start % (in_main.len() + 1);
                Span::main(at - in_main.len() + start, bytes % (in_main.len() - start + 1))
            }
            Text::InMain(start, bytes) => {
                let start = start % (batch.main.len() + 1);
                Span::main(start, bytes % (batch.main.len() - start + 1))
            }
            Text::Aside(text) => batch.push_side(text.as_bytes()),
        });
        let [event_time, received_at] = event.times.map(|time| time.map(Timestamp));
        let content = content_hash(batch.bytes(raw));
        batch.entries.push(Entry {
            raw,
            id,
            kind,
            key_hash: event.key_hash,
            key: Span::NONE,
            event_time,
            received_at,
            content,
        });
    }
    batch
}

/// Encodes and decodes; returns what came back.
fn again(batch: &EventBatch) -> EventBatch {
    let encoded = encode(batch).expect("the batch is small");
    assert_eq!(encoded.count as usize, batch.len());
    assert_eq!(encoded.has_replays, !batch.replays.is_empty());
    let payload = Bytes::from(encoded.frame).slice(HEADER_BYTES..);
    assert_eq!(payload.len() % 8, 0);
    assert_eq!(crc32fast::hash(&payload), encoded.payload_checksum);
    decode(batch.stream.clone(), encoded.count, payload).expect("what was encoded can be decoded")
}

proptest! {
    #[test]
    fn batches_come_back(events in vec(event(), 0..20)) {
        let given = batch(&events);
        let read = again(&given);
        assert_eq!(rows(&read), rows(&given));
        assert!(read.side.is_empty() && read.fields.is_none());
    }

    #[test]
    fn damaged_payloads_never_panic(events in vec(event(), 1..5), flips in vec(any::<(usize, u8)>(), 1..4), count in 0..9_u32) {
        let encoded = encode(&batch(&events)).expect("the batch is small");
        let mut payload = encoded.frame[HEADER_BYTES..].to_vec();
        for (at, value) in flips {
            let at = at % payload.len();
            payload[at] = value;
        }
        if let Some(read) = decode(Arc::from("events"), count, Bytes::from(payload)) {
            assert_eq!(rows(&read).len(), count as usize);
        }
    }

    #[test]
    fn garbage_never_panics(payload in vec(any::<u8>(), 0..200), count in any::<u32>()) {
        if let Some(read) = decode(Arc::from("events"), count, Bytes::from(payload)) {
            assert_eq!(rows(&read).len(), count as usize);
        }
    }
}

#[test]
fn texts_inside_the_raw_bytes_are_not_copied() {
    let given = sample("events", 7, 1_000);
    let encoded = encode(&given).expect("the batch is small");
    let raw: usize = given.entries.iter().map(|entry| entry.raw.len()).sum();
    let aside = given.side.len();
    let per_event = (encoded.frame.len() - raw - aside) / 1_000;
    assert!(per_event <= 20, "{per_event} bytes beside each event's texts");
}

#[test]
fn texts_are_not_copied_when_decoded() {
    let read = again(&sample("events", 7, 10));
    for entry in &read.entries {
        for span in [entry.raw, entry.id, entry.kind] {
            assert!(span.main_at().is_some());
        }
    }
}
