//! Streams whose events have names of their own: the door, records of others, what is read back and what is replayed all
//! read alike.

use super::*;
use crate::event::OwnNames;
use crate::plan::stored::sent;
use crate::plan::{Edit, Letter};
use crate::query::StoredEvent;

const EVENT: &str = r#"{"kind":"signup","at":1700000000,"uuid":"u-1","account":7,"plan":"pro","name":"Ann","id":42,"type":"x","attributes":{"amount":"2.50"}}"#;

fn names() -> OwnNames {
    let named = [
        (Canonical::EventType, "kind"),
        (Canonical::Timestamp, "at"),
        (Canonical::EventId, "uuid"),
        (Canonical::UserId, "account"),
        (Canonical::Properties, "attributes"),
    ];
    OwnNames::new(named.map(|(field, name)| (field, name.to_owned())).to_vec())
}

/// A plan that reads fields by all their names.
fn plan() -> Plan {
    let stream = Stream {
        fields: names(),
        derive_id: false,
        partition_by: vec!["account".into()],
        require: vec!["at".into(), "timestamp".into(), "plan".into()],
        types: vec![("account".to_owned(), FieldType::Number)],
        ..stream()
    };
    let by = ["kind", "event_type", "plan", "name", "id", "type", "account", "at"];
    let is_signup = Condition(vec![("kind".to_owned(), vec!["signup".to_owned()])]);
    let measures = vec![Measure {
        name: "total".into(),
        function: Function::Sum(NumberField { name: "amount".into(), scale: 2 }),
        filter: is_signup,
    }];
    Plan::new(stream, &[Rollup { by: by.map(str::to_owned).to_vec(), measures, ..rollup() }])
}

#[test]
fn every_way_in_reads_the_same() {
    let plan = plan();
    let from_the_door = accept(&plan, EVENT).expect("fine");
    let entry = from_the_door.entries[0];
    assert_eq!((from_the_door.text(entry.id), from_the_door.text(entry.kind)), ("u-1", "signup"));
    assert_eq!((entry.event_time, from_the_door.text(entry.key)), (Some(NOW), "7"));
    assert_eq!(
        texts(&from_the_door),
        [
            "signup",
            "pro",
            "Ann",
            "42",
            "x",
            "7",
            "1700000000",
            "",
            r#"{"amount":"2.50","plan":"pro","name":"Ann","id":42,"type":"x"}"#
        ],
        "both names of the type are one field; what others read as type and id are properties"
    );
    assert_eq!(from_the_door.fields.as_ref().map(|fields| fields.numbers.clone()), Some(vec![250]));

    let from_others = take_foreign(&plan, &[EVENT.as_bytes()]);
    assert_eq!(from_others.fields, from_the_door.fields);
    assert_eq!(from_others.entries, [Entry { received_at: None, ..entry }]);

    let mut from_the_log = EventBatch { fields: None, ..from_the_door.clone() };
    plan.read_back(&mut from_the_log);
    assert_eq!(texts(&from_the_log), texts(&from_the_door));
    assert_eq!(plan.key_of(EVENT, "u-1"), "7");
}

#[test]
fn what_is_missing_is_told_by_its_own_name() {
    let plan = plan();
    for (text, expect) in [
        (r#"{"event_type":"a","at":1,"plan":"p"}"#, (Code::MissingEventType, "kind")),
        (r#"{"kind":" ","at":1,"plan":"p"}"#, (Code::BlankField, "kind")),
        (r#"{"kind":"a","timestamp":1,"plan":"p"}"#, (Code::MissingField, "at")),
        (r#"{"kind":"a","at":"soon","plan":"p"}"#, (Code::BadTimestamp, "at")),
        (r#"{"kind":"a","at":1800000000,"plan":"p"}"#, (Code::FutureTimestamp, "at")),
        (r#"{"kind":"a","at":1,"plan":"p","account":"x"}"#, (Code::BadField, "account")),
        (r#"{"kind":"a","at":1,"plan":"p","account":true}"#, (Code::BadField, "account")),
    ] {
        assert_eq!(code(&plan, text), Some((expect.0, expect.1.to_owned())), "{text}");
        let foreign = take_foreign(&plan, &[text.as_bytes()]);
        let refused = foreign.refusal(0).map(|refusal| refusal.code);
        let is_of_the_fold = expect.0 == Code::FutureTimestamp;
        assert_eq!(refused, Some(expect.0).filter(|_| !is_of_the_fold), "{text}");
    }
    let measures = vec![Measure {
        name: "largest".into(),
        function: Function::Max(NumberField { name: "user_id".into(), scale: 0 }),
        filter: Condition::default(),
    }];
    let numbered = Plan::new(Stream { fields: names(), ..stream() }, &[Rollup { measures, ..rollup() }]);
    let no_number = code(&numbered, r#"{"kind":"a","account":"x"}"#);
    assert_eq!(no_number, Some((Code::BadNumber, "account".to_owned())));
    let refusal = accept(&plan, r#"{"event_type":"a","at":1,"plan":"p"}"#).expect_err("it has no kind");
    assert_eq!(
        refusal.detail,
        "the event has no kind, its event_type by [stream.fields]: send it, or set the stream's default_type; see \
         /docs/errors/missing_event_type"
    );
    let shared = Plan::new(stream(), &[]);
    let refusal = accept(&shared, "{}").expect_err("it has no type");
    assert_eq!(
        refusal.detail,
        "the event has none of event_type, eventType, event_name, eventName, event, type, name: send one, or name \
         another field in [stream.fields], or set the stream's default_type; see /docs/errors/missing_event_type"
    );
}

#[test]
fn a_default_type_stands_in_for_an_own_name() {
    let plan = Plan::new(Stream { fields: names(), default_type: "visit".into(), ..stream() }, &[]);
    let batch = accept(&plan, r#"{"type":"a"}"#).expect("fine");
    assert_eq!(batch.text(batch.entries[0].kind), "visit");
}

#[test]
fn ids_are_derived_from_fields_by_their_own_names() {
    let id_under = |names: OwnNames, text: &str| {
        let plan = Plan::new(Stream { fields: names, ..stream() }, &[]);
        let batch = accept(&plan, text).expect("fine");
        batch.text(batch.entries[0].id).to_owned()
    };
    let own = id_under(names(), r#"{"account":"u","kind":"n","at":1,"attributes":{"a":1}}"#);
    let shared =
        id_under(OwnNames::default(), r#"{"user_id":"u","event_name":"n","ts":1,"properties":{"a":1}}"#);
    assert_eq!((own.len(), &own), (64, &shared));
    // The stream has said that this is the name of what happened.
    let typed = OwnNames::new(vec![(Canonical::EventType, "event_type".to_owned())]);
    let plain = r#"{"user_id":"u","event_type":"n","ts":1,"properties":{"a":1}}"#;
    assert_eq!(id_under(typed, plain), own);
    assert_eq!(id_under(OwnNames::default(), plain), "given");
}

#[test]
fn a_letter_is_mended_by_the_own_name() {
    let plan = plan();
    let raw = br#"{"account":7,"at":1,"plan":"p"}"#;
    let letter = Letter { place: (0, 1), id: "kept", received_at: NOW, raw };
    let set = |name: &str| {
        let value = serde_json::value::RawValue::from_string("\"mended\"".to_owned()).expect("JSON");
        let mut batch = EventBatch::new(plan.name.clone(), Bytes::new());
        let again = plan.accept_again(&letter, (&Edit::new(vec![(name.to_owned(), value)]), NOW), &mut batch);
        again.map(|()| {
            let entry = batch.entries[0];
            (batch.text(entry.id).to_owned(), batch.text(entry.kind).to_owned())
        })
    };
    assert_eq!(set("kind"), Ok(("kept".to_owned(), "mended".to_owned())));
    assert_eq!(set("event_type").map_err(|refusal| refusal.field), Err("kind".to_owned()));
    let with_kind = Letter { raw: br#"{"kind":"a","account":7,"at":1,"plan":"p"}"#, ..letter };
    let mut batch = EventBatch::new(plan.name.clone(), Bytes::new());
    let value = serde_json::value::RawValue::from_string("\"new\"".to_owned()).expect("JSON");
    plan.accept_again(&with_kind, (&Edit::new(vec![("uuid".to_owned(), value)]), NOW), &mut batch)
        .expect("it is mended");
    assert_eq!(batch.text(batch.entries[0].id), "new", "the edit sets the id");
}

#[test]
fn a_stored_event_is_read_again_as_it_was_sent() {
    let stream = Stream { fields: names(), ..stream() };
    let plan =
        Plan::new(stream, &[Rollup { by: vec!["kind".into(), "plan".into(), "account".into()], ..rollup() }]);
    let stored = StoredEvent {
        partition: 0,
        offset: 3,
        event_id: "u-1".to_owned(),
        user_id: Some("7".to_owned()),
        session_id: None,
        event_type: "signup".to_owned(),
        properties: r#"{"amount":2.50,"plan":"pro","event_type":"x"}"#.to_owned(),
        event_time: NOW,
        received_at: NOW,
    };
    assert_eq!(
        sent(&stored, &plan.stream.fields),
        r#"{"uuid":"u-1","kind":"signup","at":"2023-11-14T22:13:20Z","account":"7","attributes":{"amount":2.50,"plan":"pro","event_type":"x"}}"#
    );
    let records = plan.as_records(std::slice::from_ref(&stored));
    let mut batch = (*records.events).clone();
    plan.read_back(&mut batch);
    assert!(batch.refused.is_empty(), "{:?}", batch.refused);
    assert_eq!(&texts(&batch)[..3], ["signup", "pro", "7"]);
}
