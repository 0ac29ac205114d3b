//! The bytes of records, as consumers know them.

use super::*;
use crate::cell::Value;
use crate::definition::{Condition, Function, LatePolicy, Measure, NumberField};

fn rollup(by: &[&str]) -> Rollup {
    let measure =
        |name: &str, function| Measure { name: name.to_owned(), function, filter: Condition::default() };
    Rollup {
        name: "by_minute".to_owned(),
        stream: "s".to_owned(),
        window_ms: 60_000,
        pane_ms: 60_000,
        grace_ms: 0,
        late: LatePolicy::Correct,
        keep_ms: 1,
        by: by.iter().map(|&name| name.to_owned()).collect(),
        measures: vec![
            measure("hits", Function::Count),
            measure("usd", Function::Sum(NumberField { name: "usd".to_owned(), scale: 2 })),
            measure("most", Function::Max(NumberField { name: "usd".to_owned(), scale: 2 })),
        ],
    }
}

/// A row of 2021-01-26T14:44.
fn row(dimensions: &[&str]) -> Row {
    let start = 1_611_672_240_000;
    Row {
        start: Timestamp(start),
        end: Timestamp(start + 60_000),
        dimensions: dimensions.iter().map(|&text| text.to_owned()).collect(),
        values: vec![Value::Count(42), Value::Sum(1_050), Value::Max(None)],
        events: 42,
        late_count: 1,
        revision: 3,
    }
}

fn closed(has_zone: bool, fields: &[&str]) -> ClosedOutput {
    let fields = fields.iter().map(|&name| name.to_owned()).collect();
    ClosedOutput { topic: "out".to_owned(), shape: CellShape { has_zone, fields } }
}

fn event() -> OutboxEvent {
    OutboxEvent {
        partition: 2,
        offset: 17,
        key: Some(b"k".to_vec()),
        event_id: "e1".to_owned(),
        received_at: Timestamp(0),
        reason: "invalid_json".to_owned(),
        detail: "no object".to_owned(),
        raw: b"\xff{".to_vec(),
    }
}

fn origin() -> Origin {
    Origin { stream: "s".to_owned(), topic: "t".to_owned() }
}

fn texts(headers: &[(&'static str, Vec<u8>)]) -> Vec<(&'static str, String)> {
    headers.iter().map(|(name, value)| (*name, String::from_utf8_lossy(value).into_owned())).collect()
}

#[track_caller]
fn check(output: &ClosedOutput, dimensions: &[(&str, &str)], key: &str, value: &str) {
    let (names, values): (Vec<&str>, Vec<&str>) = dimensions.iter().copied().unzip();
    let record = cell_record(output, &rollup(&names), OutboxKind::Closed, &row(&values));
    assert_eq!(String::from_utf8_lossy(&record.value), value);
    assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
    serde_json::from_slice::<serde_json::Value>(&record.value).expect("the value is JSON");
}

#[test]
fn a_cell_has_the_members_that_were_asked_for() {
    check(
        &closed(false, &["postcode", "window_start", "hits"]),
        &[("postcode", "SW19")],
        "SW19",
        r#"{"postcode":"SW19","window_start":"2021-01-26T14:44:00","hits":42}"#,
    );
    check(
        &closed(true, &[]),
        &[("postcode", "a\"b")],
        "a\"b",
        r#"{"window_start":"2021-01-26T14:44:00Z","window_end":"2021-01-26T14:45:00Z","postcode":"a\"b","hits":42,"usd":10.50,"most":null,"late_count":1,"revision":3,"is_final":true}"#,
    );
    check(&closed(true, &["rollup", "usd"]), &[], "by_minute", r#"{"rollup":"by_minute","usd":10.50}"#);
    check(&closed(true, &["b"]), &[("a", "1"), ("b", "2")], r#"["1","2"]"#, r#"{"b":"2"}"#);
}

#[test]
fn headers_of_a_cell_tell_what_to_keep() {
    let record = cell_record(&closed(false, &[]), &rollup(&[]), OutboxKind::Corrected, &row(&[]));
    let headers = texts(&record.headers);
    let shown: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("kind", "corrected"),
            ("rollup", "by_minute"),
            ("window_start", "2021-01-26T14:44:00Z"),
            ("revision", "3")
        ]
    );
}

#[test]
fn a_dead_letter_is_as_it_was_sent() {
    let record = dead_letter_record("dlq", &origin(), &event());
    assert_eq!((record.key.as_deref(), record.value.as_slice()), (Some(&b"k"[..]), &b"\xff{"[..]));
    let names: Vec<&str> = record.headers.iter().map(|(name, _)| *name).collect();
    let all = ["reason", "detail", "stream", "topic", "partition", "offset", "event_id", "received_at"];
    assert_eq!(names, all);
    assert_eq!(texts(&record.headers)[5], ("offset", "17".to_owned()));
}

#[test]
fn what_is_cut_short_says_how_long_it_was() {
    let whole = dead_letter_record("dlq", &origin(), &event());
    let short = whole.shortened(1);
    assert_eq!((short.value.as_slice(), short.key.clone()), (&b"\xff"[..], whole.key.clone()));
    assert_eq!(texts(&short.headers).last(), Some(&("truncated_from", "2".to_owned())));
    let empty = short.shortened(0);
    assert_eq!((empty.value.len(), empty.headers.len()), (0, short.headers.len()));
    assert_eq!(texts(&empty.headers).last(), Some(&("truncated_from", "2".to_owned())));
}

#[test]
fn a_late_event_says_which_window_did_not_take_it() {
    let late = OutboxRow {
        id: 1,
        kind: OutboxKind::Late,
        rollup: "by_minute".to_owned(),
        window_start: Timestamp(60_000),
        dimensions: Vec::new(),
        revision: 0,
        event: Some(event()),
    };
    let record = late_record("late", &origin(), &late, &event());
    let headers = texts(&record.headers);
    assert_eq!(headers[0], ("rollup", "by_minute".to_owned()));
    assert_eq!(headers[1], ("window_start", "1970-01-01T00:01:00Z".to_owned()));
    assert!(headers.iter().all(|(name, _)| *name != "reason"), "{headers:?}");
}
