//! Which layer wins, and where values say they came from.

use super::*;

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
fn a_list_in_a_file_replaces_the_built_in_one() {
    let (layers, _) = layered("[[stream]]\nname = \"mine\"", &[]);
    assert_eq!(layers.table["stream"].as_array().map(Vec::len), Some(1));
    assert_eq!(layers.table["rollup"].as_array().map(Vec::len), Some(3));
}
