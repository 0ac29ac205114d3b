//! Derived ids and the canonical form under them.

use super::*;
use crate::event::SHARED;

#[test]
fn prints_numbers_as_ecmascript_does() {
    for (value, expect) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (123456.789, "123456.789"),
        (333333333.3333333, "333333333.3333333"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (0.002, "0.002"),
        (1e23, "1e+23"),
    ] {
        assert_eq!(ecma_number(value), expect);
    }
}

fn id(text: &str) -> Option<String> {
    let members = Members::read(text, &SHARED).expect("an event");
    let time = members.timestamp().expect("a time");
    derive(&members, members.properties().as_deref(), time)
}

#[test]
fn equal_content_gives_equal_ids() {
    let first = id(
        r#"{"user_id":"u1","event_name":"signup","metadata":{"b":1.0,"a":"é"},"timestamp":"2025-01-01T00:00:00Z"}"#,
    );
    let same =
        id(r#"{"timestamp":1735689600,"userId":"u1","event":"signup","properties":{"a":"\u00e9","b":1}}"#);
    let other =
        id(r#"{"user_id":"u1","event_name":"signup","metadata":{"a":"e","b":1},"timestamp":1735689600}"#);
    assert!(first.as_ref().is_some_and(|id| id.len() == 64));
    assert_eq!(first, same);
    assert_ne!(first, other);
}

#[test]
fn needs_user_name_and_time() {
    for text in [
        r#"{"event_name":"signup","timestamp":1735689600}"#,
        r#"{"user_id":"u1","event_name":"signup"}"#,
        r#"{"user_id":"u1","event_type":"signup","timestamp":1735689600}"#,
    ] {
        assert_eq!(id(text), None, "{text}");
    }
}
