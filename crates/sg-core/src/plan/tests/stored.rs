//! An event that is read again out of a raw table gives its rollups what it gave them at first.

use super::*;
use crate::definition::FieldType;
use crate::flush::{RawRow, RawRows};
use crate::limits::{EVENT_BYTES_MAX, JSON_DEPTH_MAX};
use std::sync::Arc;

/// Reads an event as sent, and again as a raw table has it; returns what stands for `page.path` and `amount` both times.
fn read_twice(plan: &Plan, text: &str) -> [(String, i128); 2] {
    let batch = accept(plan, text).expect("the event is right");
    let given = |batch: &EventBatch| {
        let fields = batch.fields.as_ref().expect("they were read");
        (batch.text(fields.texts[1]).to_owned(), fields.numbers[0])
    };
    let first = given(&batch);
    let row = RawRow { index: 0, offset: 3, event_time: NOW, received_at: NOW };
    let rows = RawRows { batch: Arc::new(batch), rows: vec![row] };
    let stored = plan.stored(0, &rows, &row).expect("there is a raw table");
    let mut again = EventBatch::clone(&plan.as_records(&[stored]).events);
    plan.read_back(&mut again);
    assert!(again.refused.is_empty(), "{text}: {:?}", again.refused);
    [first, given(&again)]
}

#[test]
fn a_path_means_the_same_in_an_event_and_in_a_raw_table() {
    let plan = Plan::new(stream(), &[rollup()]);
    for (event, expect) in [
        (r#"{"type":"x","page.path":"/a"}"#, "/a"),
        (r#"{"type":"x","page":{"path":"/a"}}"#, "/a"),
        (r#"{"type":"x","properties":{"page.path":"/a"}}"#, "/a"),
        (r#"{"type":"x","properties":{"page":{"path":"/a"}}}"#, "/a"),
        (r#"{"type":"x","page":{"path":"/top"},"properties":{"page":{"path":"/in"}}}"#, "/top"),
        (r#"{"type":"x","page":1,"properties":{"page":{"path":"/in"}}}"#, ""),
        (r#"{"type":"x","page":{"path":"/nested"},"page.path":"/whole"}"#, "/whole"),
        (r#"{"type":"x","page":{"path":"/nested"},"properties":{"page.path":"/whole"}}"#, "/whole"),
        (r#"{"type":"x","page":{"other":"/a"}}"#, ""),
    ] {
        let [first, again] = read_twice(&plan, event);
        assert_eq!(first.0, expect, "{event}");
        assert_eq!(first, again, "{event}");
    }
}

#[test]
fn numbers_are_read_again_with_all_their_digits() {
    let plan = Plan::new(stream(), &[rollup()]);
    for event in [
        r#"{"type":"x","amount":99999999999999999999.25}"#,
        r#"{"type":"x","amount":"1.005"}"#,
        r#"{"type":"x","properties":{"amount":7}}"#,
        r#"{"type":"x"}"#,
    ] {
        let [first, again] = read_twice(&plan, event);
        assert_eq!(first, again, "{event}");
    }
}

/// A raw table has texts for what was a number: that a stream asks for one is decided at the door, once.
#[test]
fn what_the_door_let_in_is_not_refused_when_it_is_read_again() {
    let types = vec![("user_id".to_owned(), FieldType::Number)];
    let plan = Plan::new(Stream { types, ..stream() }, &[rollup()]);
    let [first, again] = read_twice(&plan, r#"{"type":"x","user_id":7,"page":{"path":"/a"}}"#);
    assert_eq!((first.0.as_str(), &first), ("/a", &again));
}

/// In a raw table, what stood at the top stands among the properties, beside names that its sender need not have sent.
#[test]
fn the_deepest_and_the_largest_event_that_the_door_lets_in_are_read_again() {
    let plan = Plan::new(stream(), &[rollup()]);
    let start = r#"{"type":"x","amount":7,"page":{"path":"/a"},"more":"#;
    let lists = JSON_DEPTH_MAX - 1;
    let deepest = format!("{start}{}{}}}", "[".repeat(lists), "]".repeat(lists));
    let largest = format!("{start}\"{}\"}}", "x".repeat(EVENT_BYTES_MAX - start.len() - 3));
    assert_eq!(largest.len(), EVENT_BYTES_MAX);
    for event in [deepest, largest] {
        let [first, again] = read_twice(&plan, &event);
        assert_eq!((first.0.as_str(), &first), ("/a", &again));
    }
}
