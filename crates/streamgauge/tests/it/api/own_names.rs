//! Events whose fields have names of their own: counted, kept, asked for, deleted and refused by these names. How they are
//! read from a topic is `cluster`'s.

use serde_json::{Value, json};

use super::super::harness::{Launch, Server};
use super::spellings::database;
use super::{bare, get_json, masked, post_seen_at, rows};

const PAGE: &str = include_str!("../../../../../docs/sending.md");
const SEND: &str = "/v1/events?stream=accounts&wait=true";

/// Returns the only block of the page in a language.
fn block(language: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("```{language}\n")).expect("the page has such a block");
    rest.split_once("```").expect("a block ends").0
}

/// Starts a server with the configuration of the page, and adds to it.
fn server(more: &str) -> Server {
    Server::start_with(&format!("{}{more}", block("toml")), &[])
}

const BY_ALL: &str = r#"
[[rollup]]
name = "all"
stream = "accounts"
window = "1h"
by = ["kind", "event_type", "name", "uuid"]
measure = [{ name = "n", fn = "count" }]
"#;

fn event(id: &str, more: &str) -> String {
    format!(r#"{{"kind":"signup","at":"2026-01-01T10:00:00Z","uuid":"{id}","plan":"pro"{more}}}"#)
}

#[test]
fn the_example_of_the_page_is_counted() {
    let server = server("");
    // The first JSON of the page is the event that is explained there.
    let answer = post_seen_at(&server, SEND, block("json")).json();
    assert_eq!(answer, json!({"status": "accepted", "event_id": "5f0c"}));
    let csv = server.get("/v1/rollups/signups?format=csv").text();
    let told = block("console").split_once("format=csv'\n").expect("the page shows the answer").1;
    assert_eq!(csv.replace("\r\n", "\n"), told);
}

#[test]
fn one_an_array_and_lines_are_read_alike() {
    let server = server(BY_ALL);
    post_seen_at(&server, SEND, &event("1", ""));
    post_seen_at(&server, SEND, &format!("[{},{}]", event("2", ""), event("3", r#","name":"Ann""#)));
    let lines = format!("{}\n{}\n", event("4", ""), event("4", ""));
    let headers = [("content-type", "application/x-ndjson")];
    let answer = server.post(SEND, &headers, &lines);
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(2)), "{}", answer.text());
    // What others read as type, time and id means nothing here.
    let odd =
        r#","event_type":"no","type":"no","timestamp":"soon","ts":7,"id":"1","event_id":"2","name":"Bo""#;
    post_seen_at(&server, SEND, &event("5", odd));
    let login = r#"{"kind":"login","at":1767261600123,"uuid":6,"plan":"pro"}"#;
    post_seen_at(&server, SEND, login);

    let signups = rows(&get_json(&server, "/v1/rollups/signups"));
    assert_eq!(
        signups,
        ["2026-01-01T10:00:00Z 2026-01-01T11:00:00Z pro 5"],
        "six events, one of them a copy"
    );
    let mut all: Vec<String> = rows(&get_json(&server, "/v1/rollups/all"));
    all.sort();
    let hour = "2026-01-01T10:00:00Z 2026-01-01T11:00:00Z";
    let expect = [
        "login login  6 1",
        "signup signup  1 1",
        "signup signup  2 1",
        "signup signup  4 1",
        "signup signup Ann 3 1",
        "signup signup Bo 5 1",
    ];
    assert_eq!(all, expect.map(|row| format!("{hour} {row}")));

    let stored = get_json(&server, "/v1/events?stream=accounts&event_id=5");
    insta::assert_snapshot!(masked(&stored["data"][0], &["received_at"]), @r#"
    {
      "event_id": "5",
      "event_type": "signup",
      "timestamp": "2026-01-01T10:00:00Z",
      "user_id": null,
      "session_id": null,
      "properties": {
        "plan": "pro",
        "event_type": "no",
        "type": "no",
        "timestamp": "soon",
        "ts": 7,
        "id": "1",
        "event_id": "2",
        "name": "Bo"
      },
      "received_at": "…",
      "partition": 0,
      "offset": 5
    }
    "#);
    let in_sql: (String, String) = database(&server)
        .query_row("SELECT event_name, timestamp FROM account_events WHERE event_id = '6'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("the row is there");
    assert_eq!(in_sql, ("login".to_owned(), "2026-01-01T10:00:00.123Z".to_owned()));
    let fate = get_json(&server, "/v1/events/5");
    assert_eq!(fate["found"][0]["cells"][1]["dimensions"]["kind"], "signup", "{fate}");
    let status = get_json(&server, "/v1/status");
    assert_eq!(
        status["streams"][0]["fields"],
        json!({"event_id": "uuid", "event_type": "kind", "timestamp": "at"})
    );
}

#[test]
fn refusals_name_the_own_name() {
    let server = server("");
    for (body, code, field) in [
        (r#"{"event_type":"a","at":1,"uuid":"1"}"#, "missing_event_type", "kind"),
        (r#"{"kind":"","at":1}"#, "blank_field", "kind"),
        (r#"{"kind":"a","at":"soon"}"#, "bad_timestamp", "at"),
        (r#"{"kind":"a","at":"9999-01-01T00:00:00Z"}"#, "future_timestamp", "at"),
        (r#"{"kind":"a","timestamp":1}"#, "missing_field", "at"),
        (r#"{"kind":"a","at":1,"uuid":{}}"#, "bad_field", "uuid"),
    ] {
        let problem = server.post(SEND, &[], body).json();
        assert_eq!(
            (bare(&problem["code"]), bare(&problem["field"])),
            (code.into(), field.into()),
            "{problem}"
        );
    }
    let batch = server.post(SEND, &[], format!("[{},{{\"at\":1}}]", event("1", ""))).json();
    insta::assert_snapshot!(bare(&batch["errors"][0]["detail"]), @"the event has no kind, its event_type by [stream.fields]: send it, or set the stream's default_type; see /docs/errors/missing_event_type");
    assert_eq!(server.get("/docs/errors/missing_event_type").status, 200, "the page that it names is there");
}

#[test]
fn conditions_mean_the_own_names() {
    let server = server(BY_ALL);
    let lines = ["1", "2", "3"].map(|id| event(id, ""));
    let login = r#"{"kind":"login","at":"2026-01-01T12:00:00Z","uuid":"4","plan":"pro"}"#;
    post_seen_at(&server, SEND, &format!("[{},{login}]", lines.join(",")));
    let exported = |conditions: &str| {
        let output = server.command(&["events", "export", "--stream", "accounts", "--where", conditions]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    assert_eq!(exported("kind = 'signup' and uuid in ('1', '2', '4')"), 2);
    assert_eq!(exported("at >= '2026-01-01T11:00:00Z' and event_type = 'login'"), 1);
    let refused = server.command(&["events", "export", "--stream", "accounts", "--where", "at ^= '2026'"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("in the stream accounts: at character 4: only a text"), "{said}");

    let deleted =
        server.command(&["events", "delete", "--json", "--where", "kind = 'signup' and uuid != '3'"]);
    assert!(deleted.status.success(), "{deleted:?}");
    assert_eq!(
        rows(&get_json(&server, "/v1/rollups/signups")),
        [
            "2026-01-01T10:00:00Z 2026-01-01T11:00:00Z pro 1",
            "2026-01-01T12:00:00Z 2026-01-01T13:00:00Z pro 0"
        ]
    );
    let audit = server.command(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
    let rebuilt = server.command(&["rebuild", "--dry-run"]);
    assert!(rebuilt.status.success(), "{rebuilt:?}");
}

#[test]
fn raw_events_are_asked_for_by_either_name() {
    let own = "user_id = \"format\"\n";
    let toml =
        block("toml").replacen("  event_id   = \"uuid\"\n", &format!("  event_id = \"uuid\"\n  {own}"), 1);
    assert!(toml.contains(own), "{toml}");
    let server = Server::start_with(&toml, &[]);
    let login = r#"{"kind":"login","at":"2026-01-01T12:00:00Z","uuid":"3","format":"Ann"}"#;
    let sent = format!("[{},{},{login}]", event("1", ""), event("2", ""));
    post_seen_at(&server, SEND, &sent);
    let ids = |asked: &str| {
        let answer = get_json(&server, &format!("/v1/events?stream=accounts&{asked}"));
        let events = answer["data"].as_array().unwrap_or_else(|| panic!("{asked}: {answer}"));
        events.iter().map(|event| bare(&event["event_id"])).collect::<Vec<_>>().join(" ")
    };
    for (asked, found) in [
        ("kind=signup", "2 1"),
        ("event_type=signup", "2 1"),
        ("kind=", "3 2 1"),
        ("uuid=2", "2"),
        ("event_id=2&kind=login", ""),
        ("user_id=Ann", "3"),
        // What a question says of itself is not asked of events.
        ("format=json", "3 2 1"),
    ] {
        assert_eq!(ids(asked), found, "{asked}");
    }
    let refused = |asked: &str| {
        let answer = server.get(&format!("/v1/events?{asked}"));
        assert_eq!(answer.status, 400, "{asked}: {}", answer.text());
        bare(&answer.json()["detail"])
    };
    insta::assert_snapshot!(refused("plan=pro"), @"there is no parameter plan; there are stream, event_id, user_id, session_id, event_type, from, to, limit, format, uuid, kind");
    insta::assert_snapshot!(refused("kind=a&event_type=a"), @"kind is event_type here: give one of them");
}

#[test]
fn what_was_decided_stays_when_names_change() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let renamed = block("toml").replace("\"kind\"", "\"sort\"").replace("{ kind =", "{ event_type =");
    let before = format!("{}{BY_ALL}", block("toml").replace("{ kind =", "{ event_type ="));
    let after = format!("{renamed}{}", BY_ALL.replace("\"kind\", ", ""));
    let by_type = before.replace("\"kind\", ", "");
    let mut server = Server::ready(&Launch::new().data_dir(folder.path()).config(&by_type));
    post_seen_at(&server, SEND, &event("1", r#","sort":"other""#));
    server.terminate();
    let server = Server::ready(&Launch::new().data_dir(folder.path()).config(&after));
    post_seen_at(&server, SEND, &event("2", r#","sort":"other""#));
    let expect = [
        "2026-01-01T10:00:00Z 2026-01-01T11:00:00Z other  2 1",
        "2026-01-01T10:00:00Z 2026-01-01T11:00:00Z signup  1 1",
    ];
    assert_eq!(rows(&get_json(&server, "/v1/rollups/all")), expect);
    let rebuilt = server.command(&["rebuild", "--json"]);
    assert!(rebuilt.status.success(), "{rebuilt:?}");
    assert_eq!(rows(&get_json(&server, "/v1/rollups/all")), expect, "an old event keeps its type");
}

/// The streams that made-up events are for, under names of their own; by these they are counted, too.
const MADE_UP: &str = r#"
[[stream]]
name = "events"
paths = ["/events"]
require = ["at"]
raw_table = { name = "events" }
fields = { event_type = "kind", timestamp = "at", event_id = "uuid", properties = "more" }
[[rollup]]
name = "hourly_aggregations"
stream = "events"
window = "1h"
by = ["kind", "path"]
measure = [{ name = "event_count", fn = "count" }, { name = "clicks", fn = "count", where = { kind = "click" } }]
[[stream]]
name = "stream.events"
require = ["kind", "at"]
fields = { event_type = "kind", timestamp = "at", user_id = "who" }
[[rollup]]
name = "minutes"
stream = "stream.events"
window = "1m"
by = ["event_type", "stream_id"]
measure = [{ name = "usd", fn = "sum", field = "amount_usd", scale = 2 }]
"#;

#[test]
fn made_up_events_have_the_names_of_the_stream() {
    let server = Server::start_with(MADE_UP, &[]);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("expected.json");
    let file = file.to_str().expect("a path of ASCII");
    for stream in ["events", "stream.events"] {
        let args = ["--events", "3000", "--duplicates", "2%", "--expect", file, "--json"];
        let output = server.command(&[&["simulate", "--stream", stream], &args[..]].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!((&report["accepted"], &report["rejected"]), (&report["sent"], &0.into()), "{report}");
        let audit = server.command(&["audit", "--expect", file]);
        assert!(audit.status.success(), "{stream}: {audit:?}");
        let loaded =
            server.command(&["load", "--stream", stream, "--duration", "1s", "--rate", "2000", "--json"]);
        let report: Value = serde_json::from_slice(&loaded.stdout).unwrap_or_else(|_| panic!("{loaded:?}"));
        assert!(loaded.status.success() && report["accepted"].as_u64() > Some(0), "{report}");
    }
    let stored = get_json(&server, "/v1/events?limit=1&kind=purchase&to=2025-02-01")["data"][0].clone();
    assert!(stored["properties"]["total"].is_number(), "{stored}");
    assert!(stored["user_id"].is_string() && stored["session_id"].is_string(), "{stored}");
    let minutes = get_json(&server, "/v1/rollups/minutes?event_type=donation&limit=1");
    assert!(!rows(&minutes).is_empty(), "donations were counted");
}

#[test]
fn made_up_events_whose_members_would_be_misread_are_not_sent() {
    let toml = MADE_UP
        .replace(r#"event_type = "kind", timestamp = "at", user_id = "who""#, r#"user_id = "stream_id""#);
    let server = Server::start_with(&toml.replace(r#"require = ["kind", "at"]"#, ""), &[]);
    let output = server.command(&["simulate", "--stream", "stream.events", "--events", "10"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("have a stream_id of their own"), "{said}");
    let output = server.command(&["smoke", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &report["ok"]), (Some(0), &true.into()), "{report}");
    let left_out = report["left_out"].as_array().expect("a list");
    assert!(left_out.iter().any(|why| bare(why).contains("under names of its own")), "{report}");
    for stream in get_json(&server, "/v1/status")["streams"].as_array().expect("a list") {
        assert_eq!(stream["partitions"][0]["log_end"], 0, "nothing was sent");
    }
}

#[test]
fn the_document_shows_an_event_with_the_own_names() {
    let toml =
        block("toml").replacen("name      = \"accounts\"", "name = \"accounts\"\npaths = [\"/accounts\"]", 1);
    let server = Server::start_with(&toml, &[]);
    let document = get_json(&server, "/openapi.json");
    for path in ["/accounts", "/v1/events"] {
        let operation = &document["paths"][path]["post"];
        let said = bare(&operation["description"]);
        let named = "The stream accounts reads `uuid` as event_id, `kind` as event_type, `at` as timestamp";
        assert!(said.contains(named), "{path}: {said}");
        let example = &operation["requestBody"]["content"]["application/json"]["examples"]["one"]["value"];
        assert_eq!((&example["kind"], &example["at"]), (&"example".into(), &"2025-01-31T12:00:00Z".into()));
        assert_eq!(server.post(path, &[], example.to_string()).status, 202, "{example}");
    }
    let parameters = document["paths"]["/v1/events"]["get"]["parameters"].as_array().expect("a list");
    let named = |name: &str| parameters.iter().find(|parameter| parameter["name"] == name);
    assert_eq!(
        bare(&named("kind").expect("the own name is there")["description"]),
        "`event_type` of the stream accounts, under its own name."
    );
    assert!(named("uuid").is_some() && named("at").is_none(), "{parameters:?}");
}
