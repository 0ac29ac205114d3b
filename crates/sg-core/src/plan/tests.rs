//! What the door accepts, what it reads, and that reading back from a log gives the same.

mod names;
mod stored;

use super::*;
use crate::definition::{Dedup, LatePolicy, Measure, RawTable};
use crate::limits::DIMENSION_BYTES_MAX;
use crate::output::Outputs;
use bytes::Bytes;
use std::time::Duration;

pub(super) fn stream() -> Stream {
    Stream {
        name: "s".into(),
        default_type: String::new(),
        fields: Default::default(),
        derive_id: true,
        partition_by: vec!["session_id".into(), "user_id".into()],
        require: Vec::new(),
        types: Vec::new(),
        raw_table: Some(RawTable { name: "raw".into(), keep: Duration::from_secs(1), rows_max: None }),
        dedup: Dedup { records: 10, horizon: Duration::from_secs(1) },
        max_future: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(30),
        outputs: Outputs::default(),
        letters: Default::default(),
    }
}

pub(super) fn rollup() -> Rollup {
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
    let mut arrival = Arrival { received_at: Some(NOW), new_id: &mut || "given".to_owned() };
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
    let mut arrival = Arrival { received_at: Some(NOW), new_id: &mut || "given".to_owned() };
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

/// Takes records that others wrote; the first is at place 0.
fn take_foreign(plan: &Plan, values: &[&[u8]]) -> EventBatch {
    let main = Bytes::from(values.concat());
    let mut batch = EventBatch::new(plan.name.clone(), main.clone());
    let mut at = 0;
    for (index, value) in values.iter().enumerate() {
        plan.take_foreign(&main[at..at + value.len()], &|| format!("topic-0-{index}"), &mut batch);
        at += value.len();
    }
    batch
}

#[test]
fn a_record_of_others_is_read_as_the_door_reads_and_never_refused_back() {
    let plan = Plan::new(stream(), &[rollup()]);
    let good =
        br#"{"eventId":"e1","type":"t","sessionId":"s1","amount":"1.005","country":"NP","ts":1700000000}"#;
    let from_others = take_foreign(&plan, &[good]);
    let from_the_door = accept(&plan, std::str::from_utf8(good).expect("text")).expect("accepted");
    assert_eq!(from_others.fields, from_the_door.fields);
    let expect = Entry { received_at: None, ..from_the_door.entries[0] };
    assert_eq!(from_others.entries, [expect]);
    assert!(from_others.refused.is_empty());
}

#[test]
fn what_the_door_would_have_refused_is_refused_in_its_place() {
    let plan = Plan::new(stream(), &[rollup()]);
    let values: [&[u8]; 9] = [
        br#"{"type":"t"}"#,
        b"",
        b"\xff\xfe",
        b"not json",
        b"[1]",
        br#"{"id":"e5","ts":1700000000}"#,
        br#"{"id":"e6","type":"t","ts":"soon"}"#,
        br#"{"id":"e7","type":"t","ts":1700000000,"amount":"many"}"#,
        br#"{"id":"e8","type":"t"}"#,
    ];
    let batch = take_foreign(&plan, &values);
    let refused: Vec<(u32, Code)> =
        batch.refused.iter().map(|(index, refusal)| (*index, refusal.code)).collect();
    let expect = [
        (1, Code::InvalidJson),
        (2, Code::InvalidJson),
        (3, Code::InvalidJson),
        (4, Code::NotAnObject),
        (5, Code::MissingEventType),
        (6, Code::BadTimestamp),
        (7, Code::BadNumber),
    ];
    assert_eq!(refused, expect);
    let ids: Vec<&str> = batch.entries.iter().map(|entry| batch.text(entry.id)).collect();
    assert_eq!(
        ids,
        ["topic-0-0", "topic-0-1", "topic-0-2", "topic-0-3", "topic-0-4", "e5", "e6", "e7", "e8"]
    );
    for (entry, value) in batch.entries.iter().zip(values) {
        assert_eq!(batch.bytes(entry.raw), value);
    }
    assert_eq!(batch.entries[5].event_time, Some(NOW), "its time moves the clock though it is refused");
    let fields = batch.fields.as_ref().expect("read");
    assert_eq!(fields.texts.len(), values.len() * plan.text_slots());
    assert_eq!(fields.numbers.len(), values.len() * plan.number_slots());
    // A log may drop the fields of a batch: reading back keeps what was refused.
    let mut again = EventBatch { fields: None, ..batch.clone() };
    plan.read_back(&mut again);
    assert_eq!(
        (again.refused, again.fields.map(|fields| fields.numbers)),
        (batch.refused, batch.fields.map(|fields| fields.numbers))
    );
}

#[test]
fn reading_back_adds_refusals_in_their_order() {
    let loose = Plan::new(stream(), &[]);
    let values: [&[u8]; 4] = [br#"{"type":"t"}"#, br#"{"type":"t","amount":"x"}"#, b"no", br#"{"type":"t"}"#];
    let mut batch = take_foreign(&loose, &values);
    assert_eq!(batch.refused.len(), 1);
    batch.fields = None;
    Plan::new(stream(), &[rollup()]).read_back(&mut batch);
    let codes: Vec<Option<Code>> = (0..4).map(|at| batch.refusal(at).map(|refusal| refusal.code)).collect();
    assert_eq!(codes, [None, Some(Code::BadNumber), Some(Code::InvalidJson), None]);
}

#[test]
fn the_partition_key_is_the_first_that_is_present_else_the_id() {
    let plan = Plan::new(stream(), &[rollup()]);
    for (text, key) in [
        (r#"{"id":"i","type":"t","session_id":"s","user_id":"u"}"#, "s"),
        (r#"{"id":"i","type":"t","user_id":7}"#, "7"),
        (r#"{"id":"i","type":"t"}"#, "i"),
        (r#"{"type":"t"}"#, "given"),
    ] {
        let batch = accept(&plan, text).expect("accepted");
        let entry = batch.entries[0];
        assert_eq!(batch.text(entry.key), key, "{text}");
        assert_eq!(entry.key_hash, key_hash(key.as_bytes()), "{text}");
        assert_eq!(plan.key_of(text, batch.text(entry.id)), key, "{text}");
    }
}

#[test]
fn fields_have_the_types_that_the_stream_says() {
    let types = vec![("user_id".to_owned(), FieldType::Number), ("webpage".to_owned(), FieldType::Text)];
    let plan = Plan::new(Stream { types, ..stream() }, &[]);
    for (members, expect) in [
        (r#""user_id":7,"webpage":"w""#, None),
        (r#""user_id":-7.5e3,"webpage":"""#, None),
        (r#""user_id":null,"webpage":null"#, None),
        ("\"other\":1", None),
        (r#""user_id":"7""#, Some("user_id is a number, without quotes")),
        (r#""user_id":true"#, Some("user_id is a number, without quotes")),
        // A spelling is its field.
        (r#""userId":"7""#, Some("user_id is a number, without quotes")),
        (r#""webpage":7"#, Some("webpage is a string")),
        (r#""webpage":{"a":1}"#, Some("webpage is a string")),
        (r#""webpage":["w"]"#, Some("webpage is a string")),
    ] {
        let mut new_id = || "id".to_owned();
        let mut arrival = Arrival { received_at: Some(Timestamp(0)), new_id: &mut new_id };
        let mut batch = EventBatch::new(plan.name.clone(), Bytes::new());
        let text = format!(r#"{{"event_type":"a",{members}}}"#);
        let refusal = plan.accept(&text, &mut arrival, &mut batch).err();
        let found = refusal.map(|refusal| (refusal.code, refusal.detail));
        assert_eq!(found, expect.map(|detail| (Code::BadField, detail.to_owned())), "{text}");
    }
}
