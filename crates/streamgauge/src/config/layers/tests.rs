//! Which layer wins, and where values say they came from.

use super::*;
use crate::config::Settings;

fn layered(file: &str, variables: &[(&str, &str)]) -> (Layers, Vec<String>) {
    let mut layers = Layers::builtin().expect("the built-in configuration is TOML");
    let table: Table = file.parse().expect("TOML");
    merge(&mut layers.table, table, "", &Origin::File("f".into()), &mut layers.origins);
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let errors = layers.environment(variables);
    (layers, errors)
}

fn value(layers: &Layers, path: &[&str]) -> String {
    let (first, rest) = path.split_first().expect("a path");
    let mut value = layers.table.get(*first).cloned().unwrap_or(Value::Boolean(false));
    for key in rest {
        value = match (&value, key.parse::<usize>()) {
            (Value::Array(items), Ok(at)) => items[at].clone(),
            (value, _) => value.get(*key).cloned().unwrap_or(Value::Boolean(false)),
        };
    }
    value.to_string()
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let (mut layers, errors) = layered(
        "data_dir = \"f\"\n[flush]\nmax_events = 7",
        &[("STREAMGAUGE_FLUSH__INTERVAL", "1s"), ("STREAMGAUGE_STORE", "sqlite:e"), ("HOME", "/")],
    );
    assert_eq!(errors, Vec::<String>::new());
    layers.flag("store", Value::String("sqlite:x".into()), "--store");
    for (path, expect, origin) in [
        (vec!["data_dir"], "\"f\"", "file f"),
        (vec!["flush", "max_events"], "7", "file f"),
        (vec!["flush", "interval"], "\"1s\"", "environment STREAMGAUGE_FLUSH__INTERVAL"),
        (vec!["store"], "\"sqlite:x\"", "flag --store"),
        (vec!["log"], "\"embedded:\"", "default"),
    ] {
        assert_eq!(
            (value(&layers, &path).as_str(), layers.origin(&path.join(".")).to_string().as_str()),
            (expect, origin),
            "{path:?}"
        );
    }
}

#[test]
fn variables_reach_lists_by_name_and_index() {
    let (layers, errors) = layered(
        "",
        &[
            ("STREAMGAUGE_STREAM__STREAM_EVENTS__DEDUP__RECORDS", "9"),
            ("STREAMGAUGE_LISTEN__0__ADDRESS", "127.0.0.1:1"),
            ("STREAMGAUGE_ROLES", "[\"ingest\"]"),
            ("STREAMGAUGE_STREAM__NOWHERE__NAME", "x"),
        ],
    );
    assert_eq!(errors, ["STREAMGAUGE_STREAM__NOWHERE__NAME: there is no such key"]);
    assert_eq!(value(&layers, &["stream", "2", "dedup", "records"]), "9");
    assert_eq!(value(&layers, &["listen", "0", "address"]), "\"127.0.0.1:1\"");
    assert_eq!(value(&layers, &["roles"]), "[\"ingest\"]");
    assert_eq!(
        layers.origin("stream.2.dedup.records").to_string(),
        "environment STREAMGAUGE_STREAM__STREAM_EVENTS__DEDUP__RECORDS"
    );
}

#[test]
fn lists_of_texts_are_read_with_commas_between_or_as_toml() {
    for (text, expect) in [
        ("a,b", r#"["a", "b"]"#),
        (" a , b,", r#"["a", "b"]"#),
        ("a", r#"["a"]"#),
        ("7,true", r#"["7", "true"]"#),
        ("7", r#"["7"]"#),
        ("", "[]"),
        ("[]", "[]"),
        (r#"["a","b"]"#, r#"["a", "b"]"#),
        (r#" ["a,b"] "#, r#"["a,b"]"#),
        // That is neither, and is told as it was typed.
        ("[a,b]", r#""[a,b]""#),
    ] {
        let (layers, errors) = layered(
            "",
            &[
                ("STREAMGAUGE_HTTP__CORS_ORIGINS", text),
                ("STREAMGAUGE_STREAM__STREAM_EVENTS__PARTITION_BY", text),
                ("STREAMGAUGE_STREAM__EVENTS__OUTPUTS__CLOSED__FIELDS", text),
                ("STREAMGAUGE_ROLLUP__0__BY", text),
            ],
        );
        assert_eq!(errors, Vec::<String>::new());
        for path in [
            &["http", "cors_origins"][..],
            &["stream", "2", "partition_by"],
            &["stream", "0", "outputs", "closed", "fields"],
            &["rollup", "0", "by"],
        ] {
            assert_eq!(value(&layers, path), expect, "{path:?} of {text:?}");
        }
    }
    let (layers, _) = layered("", &[("STREAMGAUGE_LOG", "kafka://a:1,b:1"), ("STREAMGAUGE_ROLES", "[query")]);
    assert_eq!(value(&layers, &["log"]), "\"kafka://a:1,b:1\"", "a text with commas stays one");
    let errors = Settings::resolve(&layers).expect_err("it is no list");
    let told = r#"roles: is a list of texts such as ["a", "b"], or a,b in a variable, not "[query""#;
    assert!(errors.iter().any(|error| error == told), "{errors:?}");
}

#[test]
fn a_list_in_a_file_replaces_the_built_in_one() {
    let (layers, _) = layered("[[stream]]\nname = \"mine\"", &[]);
    assert_eq!(layers.table["stream"].as_array().map(Vec::len), Some(1));
    assert_eq!(layers.table["rollup"].as_array().map(Vec::len), Some(3));
}
