//! What the server promises to those who call it, seen from outside only: bodies in, rows out, problems, commands.
//! Crashes are not played here, nor senders who mean harm.

mod bodies;
mod boundaries;
mod commands;
mod events;
mod fates;
mod help;
mod live;
mod own_names;
mod problems;
mod queries;
mod refusals;
mod spellings;
mod sql;
mod status;
mod times;
mod zones;

use serde_json::Value;

use super::harness::Server;
use super::harness::http::Answer;

/// Posts a body to the first stream and waits until queries see it.
fn post_seen(server: &Server, body: &str) -> Answer {
    post_seen_at(server, "/v1/events?wait=true", body)
}

/// Posts a body to a path that says `wait=true`; everything in it must be accepted.
fn post_seen_at(server: &Server, path: &str, body: &str) -> Answer {
    let answer = server.post(path, &[], body);
    assert_eq!(answer.status, 202, "{body:.200}: {}", answer.text());
    answer
}

/// Asks for JSON that must be there.
fn get_json(server: &Server, path: &str) -> Value {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Returns the rows of an answer, each as a line of its values, without what describes history.
fn rows(answer: &Value) -> Vec<String> {
    let row_line = |row: &Value| {
        let members = row.as_object().expect("a row is an object").iter();
        let shown =
            members.filter(|(name, _)| !["late_count", "revision", "is_final"].contains(&name.as_str()));
        let values: Vec<String> = shown.map(|(_, value)| bare(value)).collect();
        values.join(" ")
    };
    answer["data"].as_array().expect("an answer has data").iter().map(row_line).collect()
}

/// Returns a value as text, a text without its quotes.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns JSON laid out for a snapshot, with the values of these members, which differ from run to run, masked.
fn masked(value: &Value, names: &[&str]) -> String {
    let mut value = value.clone();
    mask(&mut value, names);
    serde_json::to_string_pretty(&value).expect("a value can be written")
}

fn mask(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                if names.contains(&name.as_str()) && !inner.is_null() {
                    *inner = "…".into();
                } else {
                    mask(inner, names);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, names)),
        _ => {}
    }
}

/// Returns an answer for a snapshot: status, the headers that a client acts on, and its JSON.
fn shown(answer: &Answer) -> String {
    let mut text = answer.status.to_string();
    for name in ["content-type", "allow", "retry-after", "accept-encoding", "connection"] {
        if let Some(value) = answer.header(name) {
            text += &format!("\n{name}: {value}");
        }
    }
    text + "\n" + &masked(&answer.json(), &["request_id"])
}

/// Asserts that a code of an answer has its page.
fn assert_page(code: &str) {
    let path = format!("{}/../../docs/errors/{code}.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(page.starts_with(&format!("# {code}\n")), "{path} is about something else");
}
