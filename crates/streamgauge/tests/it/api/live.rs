//! The live stream, the late events, the switch of the demo and the dashboard's files, as a client sees them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::watching::Watching;
use crate::harness::{Launch, PATIENCE, Server, until};

use super::{get_json, post_seen, post_seen_at};

/// How long the feed goes on when nobody watches any more.
const LINGER: Duration = Duration::from_secs(20);

fn watch(server: &Server, last_id: Option<&str>) -> Watching {
    let (watching, first) = Watching::begin(server, "/v1/stream", last_id);
    assert_eq!(first, "HTTP/1.1 200 OK");
    watching
}

fn minute_rollup() -> &'static str {
    r#"
[[stream]]
name = "events"
[[rollup]]
name = "kinds"
stream = "events"
window = "1m"
grace = "0s"
by = ["event_type"]
  [[rollup.measure]]
  name = "events"
  fn = "count"
"#
}

#[test]
fn everything_comes_first_and_then_what_changes() {
    let server = Server::start_with(minute_rollup(), &[]);
    post_seen(&server, r#"{"event_type":"a","timestamp":"2025-01-01T00:00:00Z"}"#);
    let mut watching = watch(&server, None);
    let told = watching.next().expect("an event at once");
    assert_eq!(told.name, "reset");
    let all = told.data;
    assert_eq!(all["health"], json!({"state": "ok", "causes": []}));
    assert_eq!(all["stats"]["total"]["received"], 1);
    let rollup = &all["rollups"][0];
    assert_eq!(rollup["definition"]["name"], "kinds");
    assert_eq!((&rollup["rows"][0]["event_type"], &rollup["rows"][0]["events"]), (&"a".into(), &1.into()));
    assert_eq!(rollup["panes"][0]["start"], "2025-01-01T00:00:00Z");
    post_seen(&server, r#"{"event_type":"b","timestamp":"2025-01-01T00:00:30Z"}"#);
    let cells = watching.find("cells", |_| true).data;
    assert_eq!(cells["rollup"], "kinds");
    let rows = cells["rows"].as_array().expect("rows");
    assert_eq!((rows.len(), &rows[0]["event_type"]), (1, &"b".into()));
    assert_eq!(cells["panes"][0]["events"], 2);
    watching.find("stats", |stats| stats["total"]["written"] == 2 && stats["total"]["lag"] == 0);
}

#[test]
fn a_window_closes_and_is_corrected_on_the_stream() {
    let server = Server::start_with(minute_rollup(), &[]);
    let mut watching = watch(&server, None);
    let old = r#"{"event_type":"a","timestamp":"2025-01-01T00:00:00Z"}"#;
    post_seen(&server, old);
    let newer = r#"{"event_type":"a","timestamp":"2025-01-01T00:05:00Z"}"#;
    post_seen(&server, newer);
    let is_there = |closed: &serde_json::Value| closed["closed_to"] == "2025-01-01T00:05:00Z";
    let closed = watching.find("closed", is_there).data;
    assert_eq!(closed["rollup"], "kinds");
    post_seen(&server, old);
    let corrected = watching.find("corrected", |_| true).data;
    let row = &corrected["rows"][0];
    assert_eq!((&row["events"], &row["revision"], &row["is_final"]), (&2.into(), &1.into(), &true.into()));
}

#[test]
fn one_who_comes_back_goes_on_where_it_was() {
    let server = Server::start(&[]);
    let mut watching = watch(&server, None);
    let all = watching.next().expect("an event at once");
    let first = watching.next().expect("an event a second");
    drop(watching);
    let mut back = watch(&server, Some(&all.id));
    let again = back.next().expect("an event at once");
    assert_eq!((&again.id, &again.name), (&first.id, &first.name), "the same one");
    // An id of nobody's, or of a server before: everything.
    for unknown in ["1-1", "x", &format!("{}0", first.id)] {
        assert_eq!(watch(&server, Some(unknown)).next().expect("an event").name, "reset", "{unknown}");
    }
}

#[test]
fn nothing_is_looked_at_when_nobody_watches() {
    let server = Server::start(&[]);
    let mut watching = watch(&server, None);
    let all = watching.next().expect("everything at once");
    drop(watching);
    // Another stream, which needs no feed, tells the time meanwhile.
    let (mut other, _) = Watching::begin(&server, "/metrics/stream", None);
    let began = Instant::now();
    while began.elapsed() < LINGER + Duration::from_secs(5) {
        other.next().expect("the server goes on");
    }
    // What was said has been forgotten, and another feed has begun.
    let again = watch(&server, Some(&all.id)).next().expect("an event at once");
    let run = |id: &str| id.split('-').next().map(str::to_owned);
    assert_eq!(again.name, "reset");
    assert_ne!(run(&again.id), run(&all.id));
}

#[test]
fn late_events_are_listed_with_how_late_they_were() {
    let server = Server::start(&[]);
    for second in ["00:00:00", "02:00:00", "00:00:30"] {
        let body =
            format!(r#"{{"user_id":1,"postcode":"SW19","webpage":"x","timestamp":"2025-01-01T{second}Z"}}"#);
        post_seen_at(&server, "/api/pageviews?wait=true", &body);
    }
    let late = get_json(&server, "/v1/late?rollup=pageview_aggregates");
    let [event] = late["data"].as_array().expect("data").as_slice() else { panic!("{late}") };
    assert_eq!(event["window_end"], "2025-01-01T00:01:00Z");
    assert_eq!(event["dimensions"], json!({"postcode": "SW19"}));
    assert!(event["late_by_ms"].as_i64().is_some_and(|ms| ms > 300_000), "{event}");
    assert!(event["raw"].as_str().is_some_and(|raw| raw.contains("00:00:30")));
    let summary = &late["summary"][0];
    assert_eq!(
        (&summary["policy"], &summary["counted"], &summary["late"], &summary["is_complete"]),
        (&"divert".into(), &2.into(), &1.into(), &true.into())
    );
    assert_eq!(summary["grace_ms_for_999_of_1000"].as_i64(), event["late_by_ms"].as_i64().map(|ms| ms + 1));
    let none = get_json(&server, "/v1/late?rollup=pageview_aggregates&to=2025-01-01T00:00:30Z");
    assert_eq!((&none["data"], &none["summary"][0]["counted"]), (&json!([]), &1.into()));
    let all = get_json(&server, "/v1/late");
    assert_eq!(all["summary"].as_array().map(Vec::len), Some(3));
    for (query, code) in [
        ("rollup=no", 404),
        ("cursor=x", 400),
        ("limit=0", 400),
        ("limit=1001", 400),
        ("from=2&to=1", 400),
        ("a=b", 400),
    ] {
        assert_eq!(server.get(&format!("/v1/late?{query}")).status, code, "{query}");
    }
}

#[test]
fn the_pages_of_late_events_make_the_whole() {
    let server = Server::start(&[]);
    let event = |minute: usize, user: usize| {
        format!(
            r#"{{"user_id":{user},"postcode":"A","webpage":"x","timestamp":"2025-01-01T00:{minute:02}:00Z"}}"#
        )
    };
    post_seen_at(&server, "/api/pageviews?wait=true", &event(30, 0));
    let late: Vec<String> = (0..7).map(|user| event(0, user)).collect();
    post_seen_at(&server, "/api/pageviews/batch?wait=true", &format!("[{}]", late.join(",")));
    let (mut offsets, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get_json(&server, &format!("/v1/late?limit=3&cursor={cursor}"));
        let data = page["data"].as_array().expect("data");
        offsets.extend(data.iter().filter_map(|late| late["offset"].as_u64()));
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(offsets, [7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn the_demo_can_be_switched_where_it_disturbs_nobody() {
    let server = Server::start(&[]);
    assert_eq!(get_json(&server, "/v1/demo"), json!({"available": true, "running": false}));
    for origin in ["http://a.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(server.post("/v1/demo/start", &[("origin", origin)], "").status, 403, "{origin}");
    }
    let own = server.url();
    assert_eq!(server.post("/v1/demo/start", &[("origin", &own)], "").json()["running"], true);
    let received = || get_json(&server, "/v1/status")["streams"][0]["partitions"][0]["log_end"].as_u64();
    until(PATIENCE, "it sends", || received().is_some_and(|end| end > 0));
    assert_eq!(server.post("/v1/demo/stop", &[], "").json()["running"], false);
    let reachable = Launch::new().config("auth = \"off\"\n").listening("0.0.0.0:0").start();
    let reachable = reachable.expect("it starts");
    assert_eq!(get_json(&reachable, "/v1/demo"), json!({"available": false, "running": false}));
    let refused = reachable.post("/v1/demo/start", &[], "");
    assert_eq!((refused.status, &refused.json()["code"]), (404, &"not_found".into()));
}

/// Returns the addresses in the page that are assets of its own.
fn assets(page: &str) -> Vec<&str> {
    let quoted = page.split('"').skip(1).step_by(2);
    quoted
        .filter_map(|address| address.strip_prefix('.'))
        .filter(|path| path.starts_with("/assets/"))
        .collect()
}

#[test]
fn the_page_is_there_and_loads_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    let page = server.get("/");
    if page.status == 404 {
        // Built without the dashboard, as a build without Node is.
        assert!(page.text().contains("npm run build"), "{}", page.text());
        assert_eq!(server.get("/assets/main.js").status, 404);
        assert_eq!(server.get("/favicon.ico").status, 404);
        return;
    }
    let text = page.text();
    let assets = assets(&text);
    assert!(["js", "css", "svg"].iter().all(|kind| assets.iter().any(|path| path.ends_with(kind))), "{text}");
    for path in assets.iter().copied().chain(["/"]) {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let cache = if path == "/" { "no-cache" } else { "public, max-age=31536000, immutable" };
        assert_eq!(answer.header("cache-control"), Some(cache), "{path}");
        let policy = answer.header("content-security-policy").expect("there is a policy");
        for part in ["default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let tag = answer.header("etag").expect("a file has a tag");
        let again = server.client().request("GET", path, &[("if-none-match", tag)], b"").expect("an answer");
        assert_eq!((again.status, again.text().len()), (304, 0), "{path}");
        let packed = server.client().request("GET", path, &[("accept-encoding", "gzip, br")], b"");
        let packed = packed.expect("an answer");
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{path}");
        assert_ne!(packed.header("etag"), Some(tag), "{path}");
    }
    let icon = server.get("/favicon.ico");
    assert_eq!((icon.status, icon.header("content-type")), (200, Some("image/svg+xml")));
    let loads = ["src=\"http", "href=\"http", "src=\"//", "href=\"//", "style=", "onclick="];
    let found: Vec<_> = loads.iter().filter(|part| text.contains(**part)).collect();
    assert!(found.is_empty(), "{found:?} in {text}");
    for path in ["/assets/none.js", "/assets/..%2Findex.html", "/assets/%2e%2e%2fCargo.toml", "/index.html"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}
