//! Events as clients spell them, and the poison that some send.

use super::*;

fn read(text: &str) -> Members<'_> {
    Members::read(text, &SHARED).unwrap_or_else(|refusal| panic!("{text}: {refusal}"))
}

fn code(text: &str) -> Option<Code> {
    Members::read(text, &SHARED).err().map(|refusal| refusal.code)
}

#[test]
fn every_spelling_is_known_and_the_first_in_the_table_wins() {
    for (canonical, spellings) in SPELLINGS {
        for (rank, spelling) in spellings.iter().enumerate() {
            assert_eq!(Canonical::of_spelling(spelling), Some((canonical, rank as u8)), "{spelling}");
            let text = format!("{{\"{spelling}\":\"x\"}}");
            assert_eq!(read(&text).raw(canonical), Some("\"x\""), "{spelling}");
        }
        if let [first, second, ..] = spellings {
            let text = format!("{{\"{second}\":\"second\",\"{first}\":\"first\"}}");
            let members = read(&text);
            assert_eq!(members.raw(canonical), Some("\"first\""), "{text}");
            assert_eq!(members.others()[0].0, *second, "the losing spelling stays a property");
        }
    }
    assert_eq!(Canonical::of_spelling("event_Type"), None);
}

#[test]
fn null_is_absent_and_scalars_are_text() {
    let members =
        read(r#"{"user_id":17,"session_id":null,"event_type":true,"id":"a\"b","timestamp":1611662684}"#);
    assert_eq!(members.text_of(Canonical::UserId).ok().flatten().as_deref(), Some("17"));
    assert_eq!(members.text_of(Canonical::SessionId), Ok(None));
    assert_eq!(members.text_of(Canonical::EventType).ok().flatten().as_deref(), Some("true"));
    assert_eq!(members.text_of(Canonical::EventId).ok().flatten().as_deref(), Some("a\"b"));
    assert_eq!(members.timestamp(), Ok(Some(Timestamp(1_611_662_684_000))));
}

#[test]
fn faults_of_fields_name_the_spelling_that_was_sent() {
    let fault =
        |text: &str, field| read(text).text_of(field).err().map(|refusal| (refusal.code, refusal.field));
    assert_eq!(
        fault(r#"{"sessionId":"  "}"#, Canonical::SessionId),
        Some((Code::BlankField, "sessionId".into()))
    );
    assert_eq!(
        fault(r#"{"event_name":{}}"#, Canonical::EventType),
        Some((Code::BadField, "event_name".into()))
    );
    let time = |text: &str| read(text).timestamp().err().map(|refusal| (refusal.code, refusal.field));
    assert_eq!(time(r#"{"ts":"soon"}"#), Some((Code::BadTimestamp, "ts".into())));
    assert_eq!(time(r#"{"ts":{}}"#), Some((Code::BadTimestamp, "ts".into())));
    assert_eq!(time(r#"{"time":9e30}"#), Some((Code::TimestampOutOfRange, "time".into())));
    assert_eq!(time(r#"{"time":"1611662684"}"#), None);
}

#[test]
fn properties_are_an_object_or_a_text_that_holds_one() {
    let properties = |text: &str| read(text).properties().map(Cow::into_owned);
    assert_eq!(properties(r#"{"payload":"{\"path\":\"/home\"}"}"#).as_deref(), Some(r#"{"path":"/home"}"#));
    assert_eq!(properties(r#"{"metadata":{"a":1}}"#).as_deref(), Some(r#"{"a":1}"#));
    for text in [
        r#"{"payload":"plain"}"#,
        r#"{"payload":"{broken"}"#,
        r#"{"payload":[1]}"#,
        r#"{"payload":"{\"a\":\"\\u0000\"}"}"#,
        "{}",
    ] {
        assert_eq!(properties(text), None, "{text}");
    }
}

#[test]
fn poison_is_named() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40));
    let wide = format!("{{{}}}", (0..300).map(|at| format!("\"m{at}\":1")).collect::<Vec<_>>().join(","));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(EVENT_BYTES_MAX));
    for (text, expect) in [
        ("", Code::InvalidJson),
        ("{", Code::InvalidJson),
        ("{\"a\":1}x", Code::InvalidJson),
        ("{\"a\":01}", Code::InvalidJson),
        ("{\"a\":NaN}", Code::InvalidJson),
        ("{\"a\":\"tab\there\"}", Code::InvalidJson),
        ("{\"a\":1,}", Code::InvalidJson),
        ("[1]", Code::NotAnObject),
        ("\"text\"", Code::NotAnObject),
        ("null", Code::NotAnObject),
        (r#"{"a":"\u0000"}"#, Code::InvalidText),
        (r#"{"a":"\ud800"}"#, Code::InvalidText),
        (r#"{"a":1e999}"#, Code::NumberOutOfRange),
        (r#"{"a":1E999}"#, Code::NumberOutOfRange),
        (r#"{"a":1,"a":2}"#, Code::DuplicateMember),
        (r#"{"user_id":1,"user_id":2}"#, Code::DuplicateMember),
        (deep.as_str(), Code::TooDeep),
        (wide.as_str(), Code::TooManyMembers),
        (large.as_str(), Code::EventTooLarge),
    ] {
        assert_eq!(code(text), Some(expect), "{}", &text[..text.len().min(60)]);
    }
}

#[test]
fn holds_its_limits_to_the_byte() {
    let sized = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    assert_eq!(code(&sized(EVENT_BYTES_MAX - 1)), None);
    assert_eq!(code(&sized(EVENT_BYTES_MAX)), None);
    assert_eq!(code(&sized(EVENT_BYTES_MAX + 1)), Some(Code::EventTooLarge));
    let members = |count: usize| {
        format!("{{{}}}", (0..count).map(|at| format!("\"m{at}\":1")).collect::<Vec<_>>().join(","))
    };
    assert_eq!(code(&members(MEMBERS_MAX)), None);
    assert_eq!(code(&members(MEMBERS_MAX + 1)), Some(Code::TooManyMembers));
}
