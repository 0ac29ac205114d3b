//! What an edit makes of an event, and what a letter keeps when it is taken in again.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::batch::{EventBatch, key_hash};
use crate::event::SHARED;
use crate::plan::tests::{rollup, stream};
use crate::plan::{Edit, Letter, Plan};
use crate::reason::Code;
use crate::time::Timestamp;

/// 2025-01-01T00:00:00Z.
const T0: i64 = 1_735_689_600_000;

fn edit(members: &[(&str, &str)]) -> Edit {
    let raw = |value: &str| RawValue::from_string(value.to_owned()).expect("the case is JSON");
    Edit::new(members.iter().map(|(name, value)| ((*name).to_owned(), raw(value))).collect())
}

#[test]
fn an_edit_sets_members_at_the_top() {
    let check = |event: &str, members: &[(&str, &str)], expect: &str| {
        assert_eq!(edit(members).apply(event, &SHARED), expect, "{event}");
    };
    check(r#"{"a": 1}"#, &[], r#"{"a": 1}"#);
    check(r#"{"a": 1, "b":[1, 2]}"#, &[("a", "2")], r#"{"b":[1, 2],"a":2}"#);
    check(r#"{"a":1,"a":2,"b":3}"#, &[("a", "null")], r#"{"b":3}"#);
    check(r#"{"a":1}"#, &[("q\"", "\"x\"")], r#"{"a":1,"q\"":"x"}"#);
    check(r#"{"eventType":7,"name":"n"}"#, &[("event_type", "\"t\"")], r#"{"name":"n","event_type":"t"}"#);
    check(r#"{"event":7,"name":"n"}"#, &[("name", "\"t\"")], r#"{"name":"t"}"#);
    check(r#"{"ts":"soon"}"#, &[("timestamp", "null")], "{}");
    check("[1]", &[("a", "1")], "[1]");
    check("{broken", &[("a", "1")], "{broken");
}

fn again(raw: &[u8], members: &[(&str, &str)], derive_id: bool) -> Result<EventBatch, Code> {
    let mut stream = stream();
    stream.derive_id = derive_id;
    let plan = Plan::new(stream, &[rollup()]);
    let mut batch = EventBatch::new(plan.name.clone(), Bytes::new());
    let letter = Letter { place: (2, 17), id: "kept", received_at: Timestamp(T0), raw };
    plan.accept_again(&letter, (&edit(members), Timestamp(T0 + 5_000)), &mut batch)
        .map_err(|refusal| refusal.code)?;
    Ok(batch)
}

#[test]
fn a_letter_keeps_its_id_and_its_time() {
    let check = |raw: &str, members: &[(&str, &str)], id: &str, key: &str, time_ms: i64| {
        for derive_id in [false, true] {
            let batch = again(raw.as_bytes(), members, derive_id).expect("it is mended");
            let entry = batch.entries[0];
            assert_eq!(batch.text(entry.id), id, "{raw}");
            assert_eq!((entry.key_hash, batch.text(entry.key)), (key_hash(key.as_bytes()), key), "{raw}");
            assert_eq!(entry.event_time, Some(Timestamp(time_ms)));
            assert_eq!(entry.received_at, Some(Timestamp(T0 + 5_000)));
            assert_eq!(batch.replay_of(0), Some((2, 17)));
        }
    };
    check(r#"{"type":"a"}"#, &[], "kept", "kept", T0);
    check(r#"{"type":"a","user_id":"u"}"#, &[], "kept", "u", T0);
    check(r#"{"type":"a","id":"kept","ts":1735689600}"#, &[], "kept", "kept", T0);
    check(r#"{"event_name":"a","user_id":"u","ts":1735689601}"#, &[("x", "1")], "kept", "u", T0 + 1_000);
    check(r#"{"type":"a"}"#, &[("id", "\"new\"")], "new", "new", T0);
    check(r#"{"type":"a","user_id":"u"}"#, &[("user_id", "\"v\"")], "kept", "v", T0);
}

#[test]
fn a_letter_that_is_not_mended_is_refused_with_its_reason() {
    let check = |raw: &[u8], code: Code| assert_eq!(again(raw, &[("b", "1")], false).err(), Some(code));
    check(b"{broken", Code::InvalidJson);
    check(b"\xff", Code::InvalidJson);
    check(b"[]", Code::NotAnObject);
    check(br#"{"type":"a","amount":"much"}"#, Code::BadNumber);
    check(br#"{"type":"a","ts":"2999-01-01T00:00:00Z"}"#, Code::FutureTimestamp);
}
