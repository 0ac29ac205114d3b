//! Names of a stream's own, and those that are refused.

use sg_core::event::Canonical;
use sg_core::limits::FIELD_NAME_BYTES_MAX;

use super::super::{Layers, Settings};

fn resolve(fields: &str) -> Result<Settings, Vec<String>> {
    let text = format!(
        "stream = [{{ name = \"s\", fields = {{ {fields} }} }}]\n\
         rollup = [{{ name = \"r\", stream = \"s\", window = \"1m\", measure = [{{ name = \"n\", fn = \"count\" }}] }}]"
    );
    let mut layers = Layers::builtin().expect("the built-in configuration is TOML");
    for (key, value) in text.parse::<toml::Table>().expect("the case is TOML") {
        layers.flag(&key, value, "--test");
    }
    Settings::resolve(&layers)
}

#[test]
fn a_stream_names_what_it_wants_to() {
    let settings = resolve(r#"event_type = "kind", timestamp = "at", event_id = "uuid""#).expect("right");
    let names = &settings.streams[0].stream.fields;
    let own: Vec<Option<&str>> = Canonical::ALL.iter().map(|field| names.own(*field)).collect();
    assert_eq!(own, [Some("uuid"), Some("kind"), Some("at"), None, None, None]);
    assert!(resolve("").expect("right").streams[0].stream.fields.is_empty());
    // One that all clients share frees the others; one of another field is that field's no longer.
    for fine in
        [r#"event_id = "event_id""#, r#"event_type = "id""#, r#"user_id = "type", event_type = "name""#]
    {
        assert!(resolve(fine).is_ok(), "{fine}");
    }
}

#[test]
fn names_that_cannot_be_meant_are_refused() {
    let check = |fields: &str, expect: &[&str]| {
        let errors = resolve(fields).err().unwrap_or_default();
        assert_eq!(errors, expect, "{fields}");
    };
    check(
        r#"event_type = """#,
        &[
            "stream.0.fields.event_type: is empty: name the member of an event that is its event_type, or leave it out",
        ],
    );
    check(
        r#"timestamp = "  ""#,
        &[
            "stream.0.fields.timestamp: is empty: name the member of an event that is its timestamp, or leave it out",
        ],
    );
    check(
        r#"event_type = "kind", user_id = "kind""#,
        &["stream.0.fields.user_id: kind is the event_type already: a member has one meaning"],
    );
    check(
        r#"timestamp = "user_id""#,
        &[
            "stream.0.fields.timestamp: user_id means the event's user_id in rollups and conditions: it cannot be its timestamp",
        ],
    );
    check(r#"event_type = 7"#, &["stream.0.fields.event_type: is a text in quotes, not 7"]);
    check(
        r#"event_typ = "kind""#,
        &["stream.0.fields.event_typ: there is no such key; did you mean event_type?"],
    );
    check(
        r#"kind = "event_type""#,
        &[
            "stream.0.fields.kind: there is no such key; there are event_id, event_type, timestamp, user_id, session_id, properties",
        ],
    );
}

#[test]
fn a_name_has_its_length() {
    let named = |bytes: usize| resolve(&format!("event_type = \"{}\"", "k".repeat(bytes)));
    assert!(named(FIELD_NAME_BYTES_MAX - 1).is_ok());
    assert!(named(FIELD_NAME_BYTES_MAX).is_ok());
    let errors = named(FIELD_NAME_BYTES_MAX + 1).err().unwrap_or_default();
    assert_eq!(errors, ["stream.0.fields.event_type: has at most 256 bytes, this one 257"]);
}
