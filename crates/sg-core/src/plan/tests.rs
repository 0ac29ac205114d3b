//! What the door accepts, what it reads, and that reading back from a log gives the same.

use super::*;
use crate::definition::{Dedup, LatePolicy, Measure, RawTable};
use bytes::Bytes;
use std::time::Duration;

fn stream() -> Stream {
    Stream {
        name: "s".into(),
        default_type: String::new(),
        derive_id: true,
        partition_by: vec!["session_id".into(), "user_id".into()],
        require: Vec::new(),
        raw_table: Some(RawTable { name: "raw".into(), keep: Duration::from_secs(1) }),
        dedup: Dedup { records: 10, horizon: Duration::from_secs(1) },
        max_future: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(30),
    }
}

fn rollup() -> Rollup {
    let amount = NumberField { name: "amount".into(), scale: 2 };
    Rollup {
        name: "r".into(),
        stream: "s".into(),
        window_ms: 60_000,
        pane_ms: 60_000,
        grace_ms: 0,
        late: LatePolicy::Correct,
        keep_ms: 1,
        by: vec!["country".into(), "page.path".into()],
        measures: vec![Measure {
            name: "total".into(),
            function: Function::Sum(amount),
            filter: Condition::default(),
        }],
    }
}

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn accept(plan: &Plan, text: &str) -> Result<EventBatch, Refusal> {
    let main = Bytes::copy_from_slice(text.as_bytes());
    let mut batch = EventBatch::new(plan.name.clone(), main.clone());
    let mut arrival = Arrival { received_at: NOW, new_id: &mut || "given".to_owned() };
    let text = std::str::from_utf8(&main).expect("it was text");
    plan.accept(text, &mut arrival, &mut batch).map(|()| batch)
}

fn texts(batch: &EventBatch) -> Vec<&str> {
    batch
        .fields
        .as_ref()
        .map_or(&[][..], |fields| &fields.texts)
        .iter()
        .map(|span| batch.text(*span))
        .collect()
}

fn code(plan: &Plan, text: &str) -> Option<(Code, String)> {
    accept(plan, text).err().map(|refusal| (refusal.code, refusal.field))
}

#[test]
fn reads_dimensions_numbers_and_raw_columns() {
    let plan = Plan::new(stream(), &[rollup()]);
    let batch = accept(&plan, r#"{"type":"buy","userId":7,"country":"GB","props":{"page":{"path":"/a"},"amount":"12.345","country":"FR"},"x":[1,
 2]}"#).expect("fine");
    assert_eq!(
        texts(&batch),
        ["GB", "/a", "7", "", r#"{"page":{"path":"/a"},"amount":"12.345","country":"GB","x":[1, 2]}"#]
    );
    assert_eq!(batch.fields.as_ref().map(|fields| fields.numbers.clone()), Some(vec![1234]));
    let entry = batch.entries[0];
    assert_eq!((batch.text(entry.id), batch.text(entry.kind), entry.event_time), ("given", "buy", None));
    assert!(!batch.text(entry.raw).contains('\n'), "line breaks between tokens go");
    assert_eq!(entry.key_hash, key_hash(b"7"), "the first present of session and user is the key");
}

#[test]
fn a_missing_field_is_empty_and_not_a_fault() {
    let plan = Plan::new(stream(), &[rollup()]);
    let batch = accept(&plan, r#"{"type":"x","amount":null}"#).expect("fine");
    assert_eq!(texts(&batch), ["", "", "", "", "{}"]);
    assert_eq!(batch.fields.as_ref().map(|fields| fields.numbers[0]), Some(MISSING));
    assert_eq!(batch.entries[0].key_hash, key_hash(b"given"), "without session and user the id is the key");
}

#[test]
fn refuses_with_the_field_named() {
    let plan = Plan::new(Stream { require: vec!["stream_id".into()], ..stream() }, &[rollup()]);
    let with = |rest: &str| format!("{{\"type\":\"x\",\"stream_id\":\"s\"{rest}}}");
    let long = "x".repeat(DIMENSION_BYTES_MAX + 1);
    for (text, expect) in [
        (r#"{"stream_id":"s"}"#.to_owned(), (Code::MissingEventType, "event_type")),
        (r#"{"type":"x"}"#.to_owned(), (Code::MissingField, "stream_id")),
        (r#"{"type":"x","stream_id":" "}"#.to_owned(), (Code::BlankField, "stream_id")),
        (with(r#","sessionId":"""#), (Code::BlankField, "sessionId")),
        (with(r#","amount":"ten""#), (Code::BadNumber, "amount")),
        (with(r#","amount":true"#), (Code::BadNumber, "amount")),
        (with(r#","amount":[1]"#), (Code::BadNumber, "amount")),
        (with(r#","amount":1e26"#), (Code::NumberOutOfRange, "amount")),
        (with(&format!(",\"country\":\"{long}\"")), (Code::DimensionTooLong, "country")),
        (with(&format!(",\"user_id\":\"{long}\"")), (Code::DimensionTooLong, "user_id")),
        (with(&format!(",\"event_id\":\"{long}\"")), (Code::IdTooLong, "event_id")),
        (with(",\"ts\":1700000301"), (Code::FutureTimestamp, "ts")),
    ] {
        assert_eq!(code(&plan, &text), Some((expect.0, expect.1.to_owned())), "{text}");
    }
    for fine in [
        with(",\"ts\":1700000300"),
        with(&format!(",\"country\":\"{}\"", &long[1..])),
        with(&format!(",\"event_id\":\"{}\"", &long[1..])),
    ] {
        assert_eq!(code(&plan, &fine), None, "{fine}");
    }
}

#[test]
fn a_default_type_and_a_derived_id() {
    let plan = Plan::new(Stream { default_type: "pageview".into(), ..stream() }, &[]);
    let batch = accept(&plan, r#"{"postcode":"SW19"}"#).expect("fine");
    assert_eq!(batch.text(batch.entries[0].kind), "pageview");
    let named = r#"{"user_id":"u","event_name":"n","timestamp":1}"#;
    let ids: Vec<String> = (0..2)
        .map(|_| accept(&plan, named).map(|batch| batch.text(batch.entries[0].id).to_owned()).expect("fine"))
        .collect();
    assert_eq!(ids[0].len(), 64);
    assert_eq!(ids[0], ids[1]);
    let without = Plan::new(Stream { derive_id: false, ..stream() }, &[]);
    assert_eq!(
        accept(&without, named).map(|batch| batch.text(batch.entries[0].id).to_owned()),
        Ok("given".into())
    );
}

#[test]
fn a_refused_event_leaves_the_batch_as_it_was() {
    let plan = Plan::new(stream(), &[rollup()]);
    let lines = "{\"type\":\"a\"}\n{\"type\":\"b\",\"amount\":\"x\"}\n{\"type\":\"c\"}";
    let main = Bytes::copy_from_slice(lines.as_bytes());
    let mut batch = EventBatch::new(plan.name.clone(), main.clone());
    let mut arrival = Arrival { received_at: NOW, new_id: &mut || "given".to_owned() };
    let text = std::str::from_utf8(&main).expect("it was text");
    let results: Vec<bool> =
        text.lines().map(|line| plan.accept(line, &mut arrival, &mut batch).is_ok()).collect();
    assert_eq!(results, [true, false, true]);
    assert_eq!(batch.len(), 2);
    let fields = batch.fields.as_ref().expect("read");
    assert_eq!((fields.texts.len(), fields.numbers.len()), (2 * plan.text_slots(), 2 * plan.number_slots()));
}

#[test]
fn reading_back_gives_the_same_fields_and_marks_what_no_longer_fits() {
    let plan = Plan::new(stream(), &[rollup()]);
    for text in [
        r#"{"type":"buy","userId":7,"country":"GB","amount":"12.345","props":{"a":"\u00e9"}}"#,
        r#"{"type":"b\"uy","payload":"{\"page\":{\"path\":\"/\\u00e9\"}}","ts":5}"#,
    ] {
        let at_the_door = accept(&plan, text).expect("fine");
        let mut from_the_log = EventBatch { fields: None, ..at_the_door.clone() };
        plan.read_back(&mut from_the_log);
        assert_eq!(texts(&at_the_door), texts(&from_the_log), "{text}");
        assert_eq!(
            at_the_door.fields.map(|fields| fields.numbers),
            from_the_log.fields.map(|fields| fields.numbers)
        );
    }
    let old = Plan::new(stream(), &[]);
    let mut batch = accept(&old, r#"{"type":"x","amount":"ten"}"#).expect("nothing sums it yet");
    batch.fields = None;
    plan.read_back(&mut batch);
    assert_eq!(batch.refusal(0).map(|refusal| refusal.code), Some(Code::BadNumber));
    assert_eq!(batch.fields.map(|fields| fields.texts.len()), Some(plan.text_slots()));
}
