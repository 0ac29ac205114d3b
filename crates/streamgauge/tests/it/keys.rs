//! Keys as their owners meet them: made, shown once, sent in every way, revoked; who is let in without one, and what each
//! may do.

mod browsers;
mod canary;
mod routes;
mod start;

use std::io::{BufRead as _, Write as _};
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::http::{Answer, connect};
use crate::harness::{Launch, PATIENCE, Server, run_with, until};

/// A key as an operator gives one to a container.
pub(crate) const GIVEN: &str = "0123456789abcdef0123456789abcdef";

/// Runs a command against a server, with a key.
pub(crate) fn command(server: &Server, key: &str, args: &[&str]) -> Output {
    let url = server.url();
    let mut words = args.to_vec();
    words.extend(["--url", &url]);
    run_with(&[("STREAMGAUGE_KEY", key)], &words)
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

/// Makes a key and returns its text.
pub(crate) fn create(server: &Server, by: &str, args: &[&str]) -> String {
    let made = command(server, by, &[&["keys", "create"], args].concat());
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    stdout(&made)
}

/// Asks for a path by a key.
pub(crate) fn get(server: &Server, key: &str, path: &str) -> Answer {
    let value = format!("Bearer {key}");
    server.client().request("GET", path, &[("authorization", &value)], b"").expect("an answer")
}

pub(super) fn code(answer: &Answer) -> (u16, String) {
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn from_the_first_key_on_every_request_needs_one() {
    let mut server = Server::start(&[]);
    assert_eq!(server.get("/v1/status").status, 200);
    let early = command(&server, "", &["keys", "create", "--name", "n", "--scope", "query"]);
    assert_eq!(early.status.code(), Some(1));
    assert!(stderr(&early).contains("the first key needs the scope admin"), "{}", stderr(&early));
    let admin = create(&server, "", &["--name", "me", "--scope", "admin"]);
    assert!(admin.starts_with("sgk_") && admin.len() == 89, "{admin}");

    let missing = server.get("/v1/status");
    assert_eq!(code(&missing), refused(401, "key_missing"));
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"streamgauge\""));
    assert_eq!(get(&server, &admin, "/v1/status").status, 200);
    let asker = create(&server, &admin, &["--name", "asker", "--scope", "query"]);
    let sender = create(&server, &admin, &["--name", "app", "--scope", "ingest", "--expires", "90d"]);
    assert_eq!(get(&server, &asker, "/v1/status").status, 200);
    assert_eq!(code(&get(&server, &sender, "/v1/status")), refused(403, "scope_missing"));
    let last = if sender.ends_with('0') { '1' } else { '0' };
    let mistyped = format!("{}{last}", &sender[..sender.len() - 1]);
    for wrong in [mistyped.as_str(), "x", &sender.replace("sgk_", "sgk-"), &"9".repeat(10_000)] {
        assert_eq!(code(&get(&server, wrong, "/v1/status")), refused(401, "key_unknown"), "{wrong}");
    }

    // What a restart finds is in the file, and no text of a key is.
    server.terminate();
    let bytes = std::fs::read(server.data_dir().join("streamgauge.db")).expect("the store is a file");
    let secret = &sender.as_bytes()[17..];
    assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the secret lies in the file");
    let server = Server::start_in(server.data_dir(), &[]);
    assert_eq!(code(&server.get("/v1/status")), refused(401, "key_missing"));
    assert_eq!(get(&server, &asker, "/v1/status").status, 200);

    let listed = command(&server, &admin, &["keys", "list", "--json"]);
    let listed: Value = serde_json::from_str(&stdout(&listed)).expect("JSON");
    let seen: Vec<(&Value, &Value, &Value)> = listed["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| (&key["name"], &key["scopes"], &key["works"]))
        .collect();
    let works = json!(true);
    assert_eq!(
        seen,
        [
            (&json!("me"), &json!(["admin"]), &works),
            (&json!("asker"), &json!(["query"]), &works),
            (&json!("app"), &json!(["ingest"]), &works)
        ]
    );
    assert!(!listed.to_string().contains(secret_of(&sender)), "{listed}");

    let revoked = command(&server, &admin, &["keys", "revoke", "asker"]);
    assert_eq!(revoked.status.code(), Some(0), "{}", stderr(&revoked));
    assert_eq!(code(&get(&server, &asker, "/v1/status")), refused(401, "key_unknown"));
    let again = command(&server, &admin, &["keys", "revoke", "asker"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("there is no working key asker"), "{}", stderr(&again));
    let table = stdout(&command(&server, &admin, &["keys", "list"]));
    assert!(table.lines().any(|line| line.contains("asker") && line.contains("revoked")), "{table}");
}

/// Returns the part of a key that nobody may see twice.
pub(super) fn secret_of(key: &str) -> &str {
    &key[17..]
}

/// What goes on by a key ends with it.
#[test]
fn a_live_stream_ends_with_its_key() {
    let server = Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]));
    let asker = create(&server, GIVEN, &["--name", "asker", "--scope", "query"]);
    let mut stream = connect(server.address()).expect("the server listens");
    let request = format!("GET /metrics/stream HTTP/1.1\r\nhost: here\r\nx-api-key: {asker}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).expect("the server reads");
    let mut lines = stream.lines().map(|line| line.expect("the server ends it in order"));
    assert!(lines.any(|line| line.starts_with("data:")), "it begins");
    assert_eq!(command(&server, GIVEN, &["keys", "revoke", "asker"]).status.code(), Some(0));
    assert!(lines.any(|line| line == "0"), "the last chunk comes");
}

#[test]
fn two_keys_of_a_name_follow_each_other() {
    let server = Server::start(&[]);
    let admin = create(&server, "", &["--name", "me", "--scope", "admin"]);
    let first = create(&server, &admin, &["--name", "app", "--scope", "ingest"]);
    let second = create(&server, &admin, &["--name", "app", "--scope", "ingest"]);
    assert_ne!(first, second);
    let third = command(&server, &admin, &["keys", "create", "--name", "app", "--scope", "ingest"]);
    assert!(stderr(&third).contains("app has 2 working keys already"), "{}", stderr(&third));
    let unclear = command(&server, &admin, &["keys", "revoke", "app"]);
    let both = [&first, &second].map(|key| stderr(&unclear).find(&format!("{} (made 20", &key[4..16])));
    assert!(both[0].is_some() && both[0] < both[1], "{}", stderr(&unclear));
    let older = ["keys", "revoke", "app", "--older"];
    assert_eq!(command(&server, &admin, &older).status.code(), Some(0));
    let again = command(&server, &admin, &older);
    assert!(stderr(&again).contains("only one key app works"), "{}", stderr(&again));
    let event = r#"{"event_type":"a"}"#;
    for (key, status) in [(&first, 401), (&second, 202)] {
        assert_eq!(server.post("/v1/events", &[("x-api-key", key)], event).status, status);
    }
    create(&server, &admin, &["--name", "app", "--scope", "ingest"]);
}

#[test]
fn a_key_is_sent_in_four_places_and_never_in_the_url() {
    let server = Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]));
    // `me:` and the key, in base64.
    let basic = "Basic bWU6MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for (name, value, status) in [
        ("authorization", format!("Bearer {GIVEN}"), 200),
        ("authorization", format!("bearer  {GIVEN}"), 200),
        ("authorization", basic.to_owned(), 200),
        ("x-api-key", GIVEN.to_owned(), 200),
        ("cookie", format!("a=b; streamgauge_session={GIVEN}; c=d"), 200),
        ("authorization", format!("Token {GIVEN}"), 401),
        ("authorization", GIVEN.to_owned(), 401),
        ("authorization", "Basic %%%".to_owned(), 401),
        ("authorization", "Basic /////w==".to_owned(), 401),
        ("cookie", format!("streamgauge={GIVEN}"), 401),
        ("x-api-key", format!("{GIVEN}0"), 401),
    ] {
        let answer = server.client().request("GET", "/v1/status", &[(name, &value)], b"").expect("an answer");
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    for query in ["key", "api_key", "token"] {
        assert_eq!(server.get(&format!("/v1/status?{query}={GIVEN}")).status, 401, "{query}");
    }
}

#[test]
fn what_is_no_key_is_not_made() {
    let server = Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]));
    let post = |wish: &Value| server.post("/v1/keys", &[("x-api-key", GIVEN)], wish.to_string());
    let long = |bytes: usize| "n".repeat(bytes);
    let many = |count: usize| vec!["https://a.example"; count];
    let with = |member: &str, value: Value| {
        let mut wish = json!({"name": long(64), "scopes": ["ingest"]});
        wish[member] = value;
        wish
    };
    for (wish, status) in [
        (with("name", json!("")), 422),
        (with("name", json!(long(1))), 201),
        (with("name", json!(long(64))), 201),
        (with("name", json!(long(65))), 422),
        (with("name", json!("a\nb")), 422),
        (with("scopes", json!([])), 422),
        (with("scopes", json!(["root"])), 422),
        (with("origins", json!(many(32))), 201),
        (with("origins", json!(many(33))), 422),
        (with("origins", json!(["a.example"])), 422),
        (json!({"name": "b", "scopes": ["ingest", "query"], "origins": many(1)}), 422),
        (json!({"name": "r", "scopes": ["ingest"], "events_per_s": 0}), 422),
        (json!({"name": "r", "scopes": ["ingest"], "events_per_s": 1, "bytes_per_s": 1}), 201),
        (json!({"name": "r", "scopes": ["ingest"], "bytes_per_s": 4_000_000_000_u64}), 201),
        (json!({"name": "s", "scopes": ["ingest"], "bytes_per_s": 4_000_000_001_u64}), 422),
        (json!({"name": "e", "scopes": ["ingest"], "expires_in": "0s"}), 422),
        (json!({"name": "e", "scopes": ["ingest"], "expires_in": "3650d"}), 201),
        (json!({"name": "e", "scopes": ["ingest"], "expires_in": "3651d"}), 422),
        (json!({"name": "e", "scopes": ["ingest"], "expires_in": "soon"}), 422),
        (json!({"name": "u", "scopes": ["ingest"], "nonsense": 1}), 400),
        (json!({"name": "u"}), 400),
    ] {
        let answer = post(&wish);
        assert_eq!(answer.status, status, "{wish}: {}", answer.text());
        if status == 201 {
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(get(&server, answer.json()["key"].as_str().expect("a key"), "/v1/status").status, 403);
        }
    }
}

#[test]
fn a_key_works_until_it_expires() {
    let server = Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]));
    let asker = create(&server, GIVEN, &["--name", "asker", "--scope", "query", "--expires", "2s"]);
    assert_eq!(get(&server, &asker, "/v1/status").status, 200);
    until(PATIENCE, "it expires", || get(&server, &asker, "/v1/status").status == 401);
}

/// Every command that asks a server shows it the key, and says which variable it wants when it has none.
#[test]
fn every_command_shows_its_key() {
    let server = Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let expect = folder.path().join("expect.json");
    let expect = expect.to_str().expect("a path of letters");
    for args in [
        &["simulate", "--events", "50", "--expect", expect][..],
        &["load", "--rate", "200", "--duration", "1s", "--connections", "2"],
        &["flush"],
        &["audit"],
        &["smoke"],
        &["dead-letters", "list"],
        &["rebuild", "--dry-run", "--rollup", "hourly_aggregations"],
        &["keys", "list"],
    ] {
        let without = command(&server, "", args);
        assert_ne!(without.status.code(), Some(0), "{args:?}: {}", stdout(&without));
        let said = format!("{}{}", stdout(&without), stderr(&without));
        assert!(said.contains("STREAMGAUGE_KEY"), "{args:?}: {said}");
        let with = command(&server, GIVEN, args);
        assert_eq!(with.status.code(), Some(0), "{args:?}: {}{}", stdout(&with), stderr(&with));
    }
    for (key, status) in [("", 0), (GIVEN, 0)] {
        assert_eq!(command(&server, key, &["healthcheck"]).status.code(), Some(status), "{key}");
    }
}

#[test]
fn the_demo_needs_no_key_of_anybody() {
    let server =
        Server::ready(&Launch::new().args(&["--demo"]).variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]));
    let ends = || {
        let status = get(&server, GIVEN, "/v1/status").json();
        status["streams"][0]["partitions"][0]["log_end"].as_u64()
    };
    until(PATIENCE, "the demo sends", || ends().is_some_and(|end| end > 0));
}

#[test]
fn who_is_kept_out_is_counted_by_what_was_wrong() {
    let server = Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]));
    let sender = create(&server, GIVEN, &["--name", "app", "--scope", "ingest"]);
    let origin = ["--name", "shop", "--scope", "ingest", "--origin", "https://shop.example"];
    let shop = create(&server, GIVEN, &origin);
    let post = |key: &str| server.post("/v1/events", &[("x-api-key", key)], r#"{"event_type":"a"}"#);
    assert_eq!(server.get("/v1/status").status, 401);
    assert_eq!(server.post("/v1/events", &[], "{}").status, 401);
    assert_eq!(post("x").status, 401);
    assert_eq!(server.post("/v1/session", &[], r#"{"key":"y"}"#).status, 401);
    assert_eq!(get(&server, &sender, "/v1/status").status, 403);
    assert_eq!(code(&post(&shop)), refused(403, "origin_refused"));
    assert_eq!(post(&sender).status, 202);
    let text = get(&server, GIVEN, "/metrics").text();
    for (reason, count) in
        [("key_missing", 2), ("key_unknown", 2), ("scope_missing", 1), ("origin_refused", 1)]
    {
        let line = format!("streamgauge_http_requests_barred_total{{reason=\"{reason}\"}} {count}\n");
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
}
