//! What members mean under names of a stream's own.

use super::super::Members;
use super::*;
use crate::reason::Code;

fn names(named: &[(Canonical, &str)]) -> OwnNames {
    OwnNames::new(named.iter().map(|(field, name)| (*field, (*name).to_owned())).collect())
}

#[test]
fn only_the_name_that_is_given_is_the_field() {
    let own = names(&[(Canonical::EventType, "kind"), (Canonical::EventId, "uuid")]);
    let check = |text: &str, field: Canonical, value: Option<&str>, others: &[&str]| {
        let members = Members::read(text, &own).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        assert_eq!(members.raw(field), value, "{text}");
        let found: Vec<&str> = members.others().iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(found, others, "{text}");
    };
    check(r#"{"kind":"a","type":"b","name":"c"}"#, Canonical::EventType, Some("\"a\""), &["type", "name"]);
    check(r#"{"event_type":"b"}"#, Canonical::EventType, None, &["event_type"]);
    check(r#"{"kind":null,"type":"b"}"#, Canonical::EventType, None, &["type"]);
    check(r#"{"Kind":"a"}"#, Canonical::EventType, None, &["Kind"]);
    check(r#"{"id":7,"uuid":"u"}"#, Canonical::EventId, Some("\"u\""), &["id"]);
    // What is not named is read as ever.
    check(r#"{"userId":7,"kind":"a"}"#, Canonical::UserId, Some("7"), &[]);
    // Names with escapes take the slow way.
    check(r#"{"k\u0069nd":"a","event":"b"}"#, Canonical::EventType, Some("\"a\""), &["event"]);
}

#[test]
fn a_name_that_is_taken_is_no_other_field() {
    let own = names(&[(Canonical::UserId, "id"), (Canonical::Timestamp, "created_at")]);
    let text = r#"{"id":7,"event_id":"e","name":"n","created_at":1700000000,"ts":"soon"}"#;
    let members = Members::read(text, &own).expect("an event");
    assert_eq!((members.raw(Canonical::UserId), members.raw(Canonical::EventId)), (Some("7"), Some("\"e\"")));
    assert_eq!(members.timestamp().ok().flatten().map(|time| time.0), Some(1_700_000_000_000));
    let alone = Members::read(r#"{"id":7}"#, &own).expect("an event");
    assert_eq!(alone.raw(Canonical::EventId), None);
}

#[test]
fn faults_name_the_own_name() {
    let own = names(&[(Canonical::EventType, "kind"), (Canonical::Timestamp, "at")]);
    let members = Members::read(r#"{"kind":{},"at":"soon"}"#, &own).expect("an event");
    let kind = members.text_of(Canonical::EventType).expect_err("it is an object");
    assert_eq!((kind.code, kind.field.as_str()), (Code::BadField, "kind"));
    let time = members.timestamp().expect_err("it is no time");
    assert_eq!((time.code, time.field.as_str()), (Code::BadTimestamp, "at"));
    assert!(time.detail.starts_with("at, the timestamp by [stream.fields], is a time"), "{}", time.detail);
    let twice = Members::read(r#"{"kind":"a","kind":"b"}"#, &own).err().map(|refusal| refusal.code);
    assert_eq!(twice, Some(Code::DuplicateMember));
}

#[test]
fn definitions_may_use_both_names() {
    let own = names(&[(Canonical::EventType, "kind"), (Canonical::UserId, "id")]);
    for (name, expect) in [
        ("kind", Some(Canonical::EventType)),
        ("event_type", Some(Canonical::EventType)),
        ("id", Some(Canonical::UserId)),
        ("user_id", Some(Canonical::UserId)),
        ("timestamp", Some(Canonical::Timestamp)),
        ("ts", None),
        ("type", None),
        ("properties.kind", None),
    ] {
        assert_eq!(own.meaning(name), expect, "{name}");
    }
}

#[test]
fn without_own_names_every_spelling_is_read() {
    for (field, spellings) in SPELLINGS {
        assert_eq!(SHARED.spellings(field), spellings);
        for (rank, spelling) in spellings.iter().enumerate() {
            assert_eq!(SHARED.field_of(spelling), Some((field, rank as u8)), "{spelling}");
            assert_eq!(SHARED.spelling(field, rank as u8), *spelling);
        }
    }
}
