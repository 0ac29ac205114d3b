//! What is a key and what is none, what scopes allow, and when a key ends.

use super::*;

fn sample() -> (String, String) {
    text_of([1, 2, 3, 4, 5, 6], [0xab; SECRET_BYTES])
}

#[test]
fn a_key_carries_its_id_and_a_checksum() {
    let (id, text) = sample();
    assert_eq!(id, "010203040506");
    assert!(text.starts_with("sgk_010203040506_abab") && text.len() == 89, "{text}");
    assert_eq!(id_in(&text), Some("010203040506"));
}

#[test]
fn one_wrong_character_anywhere_is_no_key() {
    let (_, text) = sample();
    for at in 0..text.len() {
        let mut wrong = text.clone().into_bytes();
        wrong[at] = if wrong[at] == b'1' { b'2' } else { b'1' };
        let wrong = String::from_utf8(wrong).expect("ASCII");
        assert_eq!(id_in(&wrong), None, "{at}");
    }
    for wrong in ["", "sgk_", "sgk__", "sgk_010203040506_", &text[1..], &text[..88], &format!("{text}0")] {
        assert_eq!(id_in(wrong), None, "{wrong}");
    }
    assert_eq!(id_in(&text.to_uppercase()), None);
    assert_eq!(id_in(&"ä".repeat(45)), None);
}

#[test]
fn admin_allows_everything_and_others_themselves() {
    for (names, allowed) in [
        (&["ingest"][..], [true, false, false]),
        (&["query"], [false, true, false]),
        (&["query", "ingest"], [true, true, false]),
        (&["admin"], [true, true, true]),
        (&[], [false, false, false]),
    ] {
        let scopes = Scopes::of_names(names.iter().copied()).expect("they are scopes");
        assert_eq!(Scope::ALL.map(|scope| scopes.allow(scope)), allowed, "{names:?}");
    }
    assert_eq!(Scopes::of_names(["query", "ingest"]).map(Scopes::names), Ok(vec!["ingest", "query"]));
    assert_eq!(Scopes::of_names(["query", "root"]), Err("root".to_owned()));
    assert_eq!(Scopes::ALL.names(), ["ingest", "query", "admin"]);
}

#[test]
fn a_key_ends_at_its_end() {
    let (id, text) = sample();
    let key = StoredKey {
        id,
        name: "n".to_owned(),
        hash: KeyHash::of(&text),
        scopes: Scopes::ALL,
        origins: Vec::new(),
        rates: Rates::default(),
        created_at: Timestamp(0),
        expires_at: Some(Timestamp(10)),
        revoked_at: None,
    };
    for (now, works) in [(9, true), (10, false), (11, false)] {
        assert_eq!(key.works_at(Timestamp(now)), works, "{now}");
    }
    assert!(!format!("{key:?}").contains("171"), "no byte of the hash is shown");
    let revoked = StoredKey { revoked_at: Some(Timestamp(5)), ..key };
    assert!(!revoked.works_at(Timestamp(0)));
    assert_eq!(revoked.ends_at(), Some(Timestamp(5)));
}
