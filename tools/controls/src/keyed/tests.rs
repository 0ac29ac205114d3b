//! Events of a topic have the size, the keys and the times that are promised, and no id twice.

use std::collections::HashSet;

use super::*;

const NOW_MS: i64 = 1_735_689_600_000;
const EVENTS: u64 = 20_000;

#[test]
fn events_are_as_promised() {
    let mut events = KeyedEvents::before(NOW_MS, EVENTS, 7);
    let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
    let start_ms = NOW_MS - offset_ms(EVENTS) - DISORDER_MS as i64;
    for number in 0..EVENTS {
        let (key, value) = events.next_event();
        assert_eq!(value.len(), EVENT_BYTES);
        let event: KeyedEvent<'_> = serde_json::from_slice(value).expect("it is JSON");
        assert_eq!(event.key, key);
        assert!((1_000..10_000).contains(&event.amount), "{}", event.amount);
        assert!(event.timestamp < NOW_MS);
        let off_ms = event.timestamp - start_ms - offset_ms(number);
        assert!(off_ms.unsigned_abs() <= DISORDER_MS, "{off_ms} ms out of order");
        ids.insert(event.event_id.to_string());
        keys.insert(key.to_owned());
    }
    assert_eq!((ids.len() as u64, keys.len() as u64), (EVENTS, KEYS));
}

#[test]
fn a_million_events_cover_ten_minutes() {
    assert_eq!(offset_ms(1_000_000), 600_000);
}
