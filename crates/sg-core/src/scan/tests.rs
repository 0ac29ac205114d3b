//! The fast way against serde_json.

use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

fn scanned(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut found = Vec::new();
    members(text, |name, value| found.push((name, value))).map(|()| found)
}

#[test]
fn cuts_plain_objects() {
    for (text, expect) in [
        ("{}", vec![]),
        ("{ }", vec![]),
        (r#"{"a":1}"#, vec![("a", "1")]),
        (
            "{\n \"a\" : -0.5 ,\t\"long name of it\":\"x y\" }",
            vec![("a", "-0.5"), ("long name of it", "\"x y\"")],
        ),
        (
            r#"{"a":true,"b":null,"c":[1,{"d":[]}],"é":"ü"}"#,
            vec![("a", "true"), ("b", "null"), ("c", r#"[1,{"d":[]}]"#), ("é", "\"ü\"")],
        ),
    ] {
        assert_eq!(scanned(text), Some(expect), "{text}");
    }
}

#[test]
fn leaves_everything_else() {
    let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(scanned(&deep(JSON_DEPTH_MAX - 1)).is_some());
    for text in [
        "",
        "{",
        "[]",
        "{}x",
        "{}{}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{,}"#,
        r#"{"a":1 "b":2}"#,
        r#"{a:1}"#,
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":-}"#,
        r#"{"a":+1}"#,
        r#"{"a":1e5}"#,
        r#"{"a":1E5}"#,
        r#"{"a":tru}"#,
        r#"{"a":truex}"#,
        r#"{"a":nul"#,
        r#"{"a":"b\n"}"#,
        "{\"a\":\"tab\there and more text\"}",
        r#"{"a":"open}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":[1 2]}"#,
        r#"{"a":{"b":1,}}"#,
        r#"{"a":{"b"}}"#,
        r#"{"a":[}"#,
        deep(JSON_DEPTH_MAX).as_str(),
    ] {
        assert_eq!(scanned(text), None, "{text}");
    }
}

proptest! {
    /// Scraps of JSON in any order: whatever the fast way takes is JSON, with these members.
    #[test]
    fn agrees_with_serde_json(scraps in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"a\"", "\"key\"", "\"some longer text\"", "1", "-2.5", "0", "true", "null", " ", "\"é\"", "\"", "\\", "1e3", "\u{1}",
    ]), 0..14), opened in any::<bool>()) {
        let text = if opened { format!("{{\"k\":{}}}", scraps.concat()) } else { scraps.concat() };
        if let Some(found) = scanned(&text) {
            let theirs: BTreeMap<&str, &RawValue> = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            let ours: BTreeMap<&str, &str> = found.into_iter().collect();
            prop_assert_eq!(ours, theirs.into_iter().map(|(name, value)| (name, value.get())).collect::<BTreeMap<_, _>>());
        }
    }

    #[test]
    fn takes_every_plain_object(members in prop::collection::btree_map("[a-zé ]{0,12}", "[ -!#-\\[\\]-~é]{0,20}", 0..6)) {
        let text = serde_json::to_string(&members).expect("strings");
        let found: Option<BTreeMap<String, String>> = scanned(&text).map(|found| {
            found.into_iter().map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
        });
        prop_assert_eq!(found, Some(members));
    }
}
