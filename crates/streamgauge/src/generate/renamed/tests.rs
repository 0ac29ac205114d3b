//! Names that are given, and values that stay.

use super::*;

const LINE: &str = r#"{"event_id":"01","ts":"2025-01-01T00:00:00Z","event_type":"donation","stream_id":"a","amount_usd":1.10}"#;

fn names(named: &[(Canonical, &str)]) -> OwnNames {
    OwnNames::new(named.iter().map(|(field, name)| (*field, (*name).to_owned())).collect())
}

#[test]
fn fields_are_renamed_and_members_stay() {
    let check = |named: &[(Canonical, &str)], expect: &str| {
        assert_eq!(renamed(LINE, &names(named)).expect("an event"), expect, "{named:?}");
    };
    check(&[], LINE);
    check(
        &[(Canonical::EventType, "kind"), (Canonical::Timestamp, "at"), (Canonical::Properties, "more")],
        r#"{"amount_usd":1.10,"at":"2025-01-01T00:00:00Z","event_id":"01","kind":"donation","stream_id":"a"}"#,
    );
    // The session is what the event has already; the time has another field's usual name.
    check(
        &[(Canonical::Timestamp, "id"), (Canonical::SessionId, "stream_id")],
        r#"{"amount_usd":1.10,"event_id":"01","event_type":"donation","id":"2025-01-01T00:00:00Z","stream_id":"a"}"#,
    );
    // A spelling that is another field's is avoided.
    check(
        &[(Canonical::UserId, "ts")],
        r#"{"amount_usd":1.10,"event_id":"01","event_type":"donation","stream_id":"a","timestamp":"2025-01-01T00:00:00Z"}"#,
    );
}

#[test]
fn two_meanings_of_one_name_are_refused() {
    let refused = renamed(LINE, &names(&[(Canonical::EventType, "stream_id")]));
    let why = refused.expect_err("the event has a stream_id").to_string();
    assert!(why.contains("have a stream_id of their own"), "{why}");
}
