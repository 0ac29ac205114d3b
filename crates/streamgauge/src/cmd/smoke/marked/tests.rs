//! That the events add up to what is looked for.

use serde_json::Value;

use super::*;
use crate::generate::exact::Exact;

const MARKED: u64 = 0x1234_abcd;

fn marked() -> Marked {
    Marked::new(MARKED, Timestamp(1_735_689_600_123))
}

fn read(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn cents(event: &str) -> i128 {
    let amount = event.split_once("\"amount_usd\":").map_or("0", |(_, amount)| amount.trim_end_matches('}'));
    Exact::parse(amount).and_then(|amount| amount.scaled(2)).expect("an amount")
}

#[test]
fn what_is_looked_for_is_what_is_sent() {
    let sent = marked().broadcast();
    let mut different: Vec<&str> = sent.lines().collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len() + 1, sent.lines().count(), "one is sent twice, with the same bytes");
    assert_eq!(different.iter().map(|line| cents(line)).sum::<i128>(), DONATED_CENTS);
    assert_eq!(cents(&marked().donation_to_topic()), DONATED_TO_TOPIC_CENTS);
    let messages = different.iter().filter(|line| read(line)["event_type"] == "chat_message").count();
    assert_eq!(messages as i128, CHAT_MESSAGES);
}

#[test]
fn every_event_carries_the_mark() {
    let marked = marked();
    assert_eq!(marked.mark, "smoke-1234abcd");
    for (event, member) in [
        (marked.donation_to_topic(), "stream_id"),
        (marked.event("x"), "session_id"),
        (marked.named(), "user_id"),
        (marked.of_session(), "sessionId"),
        (marked.pageview(), "postcode"),
    ] {
        assert_eq!(read(&event)[member], "smoke-1234abcd", "{event}");
    }
    assert!(marked.broadcast().lines().all(|line| read(line)["stream_id"] == "smoke-1234abcd"));
    assert!(marked.stays().contains("smoke-1234abcd"));
}
