//! What is storable, and finding members.

use super::*;
use crate::limits::JSON_DEPTH_MAX;

fn fault(text: &str) -> Option<Code> {
    assert!(
        serde_json::from_str::<serde_json::Value>(text).is_ok()
            || text.contains("\\ud")
            || text.contains('e'),
        "{text}"
    );
    check_storable(text, JSON_DEPTH_MAX).err().map(|refusal| refusal.code)
}

#[test]
fn names_what_a_store_could_not_hold() {
    for (text, expect) in [
        (r#"{"a":"\u0000"}"#, Some(Code::InvalidText)),
        (r#"{"\u0000":1}"#, Some(Code::InvalidText)),
        (r#"{"a":"\\u0000"}"#, None),
        (r#"{"a":"\\\u0000"}"#, Some(Code::InvalidText)),
        (r#"{"a":"\ud83d\ude00"}"#, None),
        (r#"{"a":"\ud83d"}"#, Some(Code::InvalidText)),
        (r#"{"a":"\ud83dx\ude00"}"#, Some(Code::InvalidText)),
        (r#"{"a":"\ude00"}"#, Some(Code::InvalidText)),
        (r#"{"a":1e400}"#, Some(Code::NumberOutOfRange)),
        (r#"{"a":1e300}"#, Some(Code::NumberOutOfRange)),
        (r#"{"a":1e299}"#, None),
        (r#"{"a":-1E-301}"#, Some(Code::NumberOutOfRange)),
        (r#"{"a":"1e400"}"#, None),
        (r#"{"a":[1,-2.5,{"b":3}]}"#, None),
    ] {
        assert_eq!(fault(text), expect, "{text}");
    }
}

#[test]
fn holds_the_depth_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(fault(&nested(JSON_DEPTH_MAX - 1)), None);
    assert_eq!(fault(&nested(JSON_DEPTH_MAX)), None);
    assert_eq!(fault(&nested(JSON_DEPTH_MAX + 1)), Some(Code::TooDeep));
    assert_eq!(fault(r#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}"#), None);
}

#[test]
fn finds_members_by_path() {
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let object = r#"{"a":{"b":[1, 2],"b":"last"},"caf\u00e9":3}"#;
    for (name, expect) in
        [("a.b", Some("\"last\"")), ("café", Some("3")), ("a.c", None), ("x", None), ("café.x", None)]
    {
        assert_eq!(find(object, &path(name)), expect, "{name}");
    }
}
