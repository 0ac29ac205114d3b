//! Conditions as they are written, and which events they select.

use proptest::prelude::*;

use super::Selection;
use crate::event::{Canonical, OwnNames};
use crate::limits::{SELECTION_BYTES_MAX, SELECTION_TERMS_MAX};
use crate::query::StoredEvent;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp(1_735_693_200_000);

fn event() -> StoredEvent {
    StoredEvent {
        partition: 2,
        offset: 40,
        event_id: "e-1".to_owned(),
        user_id: Some("test-7".to_owned()),
        session_id: None,
        event_type: "it's".to_owned(),
        properties:
            r#"{"plan":"pro","price":"12.50","n":7,"ok":true,"deep":{"er":-0.5},"a.b":1,"none":null}"#
                .to_owned(),
        event_time: Timestamp(1_735_689_600_000),
        received_at: NOW,
    }
}

fn check(text: &str, expect: bool) {
    let selection = Selection::parse(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(selection.selects("events", &event()), expect, "{text}");
}

#[test]
fn conditions_select() {
    for (text, expect) in [
        ("", true),
        ("stream = 'events' and partition = 2 and offset = 40", true),
        ("stream = 'pageviews'", false),
        ("offset >= 40 and offset < 41 AND offset != 39", true),
        ("event_id in ('e-0', 'e-1')", true),
        ("event_id in ('e-0')", false),
        ("event_type = 'it''s'", true),
        ("event_type = \"it's\"", true),
        ("user_id ^= 'test-'", true),
        ("user_id ^= 'est'", false),
        ("user_id > 'test-6' and user_id < 'test-8'", true),
        ("session_id = 's'", false),
        ("session_id != 's'", false),
        ("timestamp = '2025-01-01T00:00:00Z'", true),
        ("timestamp = 1735689600", true),
        ("timestamp >= '-1h' and timestamp < '-59m'", true),
        ("received_at <= 'now'", true),
        ("received_at < 'now'", false),
        ("plan = 'pro' and properties.plan != 'free'", true),
        ("price = 12.5 and price > 12.49 and price <= 1.25e1", true),
        ("price = '12.5'", false),
        ("n = 7.0 and n = '7' and n < 10", true),
        ("ok = true and ok != false", true),
        ("ok = 'true'", false),
        ("deep.er > -1 and properties.deep.er < 0", true),
        ("deep = '{}'", false),
        ("a.b = 1", true),
        ("none = 'null'", false),
        ("plan > 3", false),
    ] {
        check(text, expect);
    }
}

#[test]
fn what_cannot_be_understood_is_named_with_its_place() {
    for (text, at) in [
        ("user_id", 8),
        ("user_id = ", 11),
        ("user_id = 'x", 11),
        ("user_id = 'x' or 1 = 1", 15),
        ("user_id = x", 11),
        ("ü = 'x' xor", 9),
        ("= 'x'", 1),
        ("properties = 'x'", 1),
        ("properties..a = 'x'", 1),
        ("event_id in 'x'", 13),
        ("event_id in ('x' 'y')", 18),
        ("event_id in ()", 14),
        ("offset = 'many'", 10),
        ("partition = -1", 13),
        ("timestamp > 'soon'", 13),
        ("timestamp ^= '2025'", 11),
        ("plan ^= 3", 6),
        ("user_id = true", 11),
        ("n = 1.2.3", 5),
        ("n = 'a' and", 12),
        ("n in ('a',", 11),
    ] {
        let error = Selection::parse(text, NOW).expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
    }
}

#[test]
fn a_stream_has_names_of_its_own() {
    let named = [
        (Canonical::EventType, "kind"),
        (Canonical::Timestamp, "at"),
        (Canonical::UserId, "plan"),
        (Canonical::Properties, "attributes"),
    ];
    let names = OwnNames::new(named.map(|(field, name)| (field, name.to_owned())).to_vec());
    let of_stream = |text: &str| Selection::parse(text, NOW).expect("conditions").of_stream(&names);
    for (text, expect) in [
        ("kind = 'it''s' and event_type = 'it''s'", true),
        ("kind ^= 'it'", true),
        ("at >= '-1h' and at < '-59m' and timestamp = 1735689600", true),
        // It is the user now; the property of that name is asked for in full.
        ("plan = 'test-7' and user_id = 'test-7'", true),
        ("plan = 'pro'", false),
        ("properties.plan = 'pro' and attributes.plan = 'pro'", true),
        ("deep.er = -0.5 and attributes.deep.er = -0.5", true),
        ("stream = 'events' and n = 7", true),
    ] {
        let selection = of_stream(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selection.selects("events", &event()), expect, "{text}");
    }
    for (text, at) in
        [("at ^= '2025'", 4), ("n = 7 and at = 'soon'", 16), ("kind = true", 8), ("plan in (true)", 10)]
    {
        assert_eq!(of_stream(text).map_err(|error| error.at), Err(at), "{text}");
    }
}

#[test]
fn there_are_limits() {
    let many = |count: usize| vec!["n = 7"; count].join(" and ");
    assert!(Selection::parse(&many(SELECTION_TERMS_MAX), NOW).is_ok());
    assert!(Selection::parse(&many(SELECTION_TERMS_MAX + 1), NOW).is_err());
    let long = |bytes: usize| format!("n = '{}'", "x".repeat(bytes - 6));
    assert!(Selection::parse(&long(SELECTION_BYTES_MAX), NOW).is_ok());
    assert!(Selection::parse(&long(SELECTION_BYTES_MAX + 1), NOW).is_err());
}

#[test]
fn streams_and_partitions_are_ruled_out_early() {
    let selection = Selection::parse("stream = 'a' and partition in (1, 2)", NOW).expect("conditions");
    assert!(selection.may_be_in("a") && !selection.may_be_in("b"));
    assert!(selection.may_be_in_partition(2) && !selection.may_be_in_partition(3));
    assert!(!selection.is_empty() && Selection::default().is_empty());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        if let Err(error) = Selection::parse(&text, NOW) {
            prop_assert!(!error.what.is_empty());
        }
    }

    #[test]
    fn nearly_sound_text_is_read_or_refused_inside_of_it(
        text in "(user_id|timestamp|n|properties\\.a|offset|in|and|=|!=|<=|\\^=|\\(|\\)|,|'x'|'|7|-1e3| ){0,12}"
    ) {
        if let Err(error) = Selection::parse(&text, NOW) {
            prop_assert!(error.at >= 1 && error.at <= text.chars().count() + 1);
        }
    }

    #[test]
    fn any_text_is_found_by_itself(text in "[^\\x00]{0,40}") {
        let event = StoredEvent { event_id: text.clone(), ..event() };
        let quoted = format!("event_id = '{}'", text.replace('\'', "''"));
        prop_assert!(Selection::parse(&quoted, NOW).expect("a text in quotes").selects("s", &event));
    }

    #[test]
    fn numbers_order_as_numbers(left in -1_000_000i64..1_000_000, right in -1_000_000i64..1_000_000, scale in 0usize..4) {
        let shown = |number: i64| {
            let digits = format!("{:0>1$}", number.unsigned_abs(), scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let sign = if number < 0 { "-" } else { "" };
            if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
        };
        let event = StoredEvent { properties: format!("{{\"n\":{}}}", shown(left)), ..event() };
        for (sign, expect) in [("=", left == right), ("<", left < right), (">=", left >= right), ("!=", left != right)] {
            let text = format!("n {sign} {}", shown(right));
            prop_assert_eq!(Selection::parse(&text, NOW).expect("a number").selects("s", &event), expect, "{}", text);
        }
    }
}

#[test]
fn conditions_tell_which_times_can_be_meant() {
    let at = NOW.0;
    for (text, from, to) in [
        ("user_id = 'a'", i64::MIN, i64::MAX),
        ("timestamp = 'now'", at, at + 1),
        ("timestamp in ('now', '-1s')", at - 1_000, at + 1),
        ("timestamp != 'now' and received_at = 'now'", i64::MIN, i64::MAX),
        ("timestamp >= '-1s' and timestamp < 'now'", at - 1_000, at),
        ("timestamp > '-1s' and timestamp <= 'now'", at - 999, at + 1),
        ("timestamp < '-1s' and timestamp > 'now'", at + 1, at - 1_000),
    ] {
        let selection = Selection::parse(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selection.times(), (Timestamp(from), Timestamp(to)), "{text}");
    }
}
