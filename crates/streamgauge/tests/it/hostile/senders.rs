//! What a sender may send: by key and by address, one below, at and one above. Times are so long that no pause of the
//! machine makes a difference.

use std::io::Read as _;
use std::net::TcpStream;

use serde_json::json;

use super::super::harness::http::Answer;
use super::super::harness::{Launch, PATIENCE, Server, run_with, until};
use super::super::keys::{GIVEN, create};

fn events(count: usize) -> String {
    let all: Vec<_> = (0..count).map(|_| json!({"event_type": "a"})).collect();
    serde_json::Value::from(all).to_string()
}

/// Returns status, code and the headers that a sender acts on.
fn told(answer: &Answer) -> (u16, String, [Option<u64>; 4]) {
    let code = if answer.status == 202 {
        String::new()
    } else {
        answer.json()["code"].as_str().unwrap_or("").to_owned()
    };
    let names = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"];
    (answer.status, code, names.map(|name| answer.header(name).and_then(|value| value.parse().ok())))
}

#[test]
fn a_key_sends_its_rate() {
    let server = Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]));
    let slow = create(&server, GIVEN, &["--name", "slow", "--scope", "ingest", "--rate-events", "1/s"]);
    let other = create(&server, GIVEN, &["--name", "other", "--scope", "ingest", "--rate-bytes", "1KiB/s"]);
    let post = |key: &str, body: String| told(&server.post("/v1/events", &[("x-api-key", key)], body));
    // Ten seconds' worth at once.
    let (status, code, _) = post(&slow, events(11));
    assert_eq!((status, code.as_str()), (413, "too_many_events"));
    let (status, _, [limit, remaining, ..]) = post(&slow, events(9));
    assert_eq!((status, limit), (202, Some(10)));
    assert!(remaining.is_some_and(|remaining| (1..=9).contains(&remaining)), "{remaining:?}");
    let (status, code, [limit, _, reset, after]) = post(&slow, events(10));
    assert_eq!((status, code.as_str(), limit), (429, "rate_limited", Some(10)));
    assert!(after.is_some_and(|after| (1..=9).contains(&after)) && reset.is_some(), "{after:?} {reset:?}");
    // Others have their own, and a single event counts as well.
    assert_eq!(post(&other, r#"{"event_type":"a"}"#.to_owned()).0, 202);
    let padded = |bytes: usize| format!("{}{}", r#"{"event_type":"a"}"#, " ".repeat(bytes - 18));
    assert_eq!(post(&other, padded(10_241)).1, "body_too_large");
    assert_eq!(post(&other, padded(10_000)).0, 202);
    assert_eq!(post(&other, padded(10_240)).1, "rate_limited");
    assert_eq!(post(GIVEN, events(11)).2, [None; 4], "who has no rate is told none");
    assert_eq!(
        limited(&server),
        [("key_events", 1), ("key_bytes", 1), ("address_events", 0), ("address_bytes", 0)]
    );
}

/// Returns how many batches each rate refused.
fn limited(server: &Server) -> [(&'static str, u64); 4] {
    let answer = server.client().request("GET", "/metrics", &[("x-api-key", GIVEN)], b"").expect("an answer");
    let text = answer.text();
    ["key_events", "key_bytes", "address_events", "address_bytes"].map(|limit| {
        let name = format!("streamgauge_http_requests_limited_total{{limit=\"{limit}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
        (limit, count.unwrap_or_else(|| panic!("no {name} in\n{text}")))
    })
}

#[test]
fn an_address_sends_its_rate_and_only_a_trusted_proxy_names_another() {
    let trusting = "[limits]\naddress_events = 1\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    for (config, is_believed) in [(trusting, true), ("[limits]\naddress_events = 1\n", false)] {
        let server = Server::start_with(config, &[]);
        let post = |from: &str| {
            let answer = server.post("/v1/events", &[("x-forwarded-for", from)], events(10));
            told(&answer).0
        };
        assert_eq!(post("203.0.113.1"), 202);
        assert_eq!(post("203.0.113.1"), 429);
        let of_another = if is_believed { 202 } else { 429 };
        assert_eq!(post("203.0.113.2"), of_another);
        assert_eq!(post("198.51.100.1, 203.0.113.2"), 429, "what a client says of itself is not believed");
    }
}

#[test]
fn an_address_has_so_many_connections() {
    let server = Server::start_with("[limits]\naddress_connections = 3\n", &[]);
    let connect = || {
        let stream = TcpStream::connect(server.address()).expect("the system accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream
    };
    let is_closed = |mut stream: TcpStream| matches!(stream.read(&mut [0]), Ok(0) | Err(_));
    let mut kept: Vec<TcpStream> = (0..3).map(|_| connect()).collect();
    assert!(is_closed(connect()), "a fourth is closed at once");
    drop(kept.pop());
    until(PATIENCE, "a place is free", || {
        server.client().get("/livez").is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn limits_have_limits() {
    for (setting, is_right) in [
        ("key_events = 1000000000", true),
        ("key_events = 4000000001", false),
        ("address_bytes = \"3GiB\"", true),
        ("address_bytes = \"4GiB\"", false),
        ("questions = 0", false),
        ("questions = 1", true),
        ("questions = 1000", true),
        ("questions = 1001", false),
        ("questions_waiting = 0", true),
        ("questions_waiting = 100000", true),
        ("questions_waiting = 100001", false),
        ("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]", true),
        ("trusted_proxies = [\"proxy.example\"]", false),
        ("key_event = 1", false),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("limits.toml");
        std::fs::write(&path, format!("[limits]\n{setting}\n")).expect("it can be written");
        let path = path.to_str().expect("a path of letters");
        let checked = run_with(&[], &["config", "check", "--config", path]);
        assert_eq!(checked.status.code(), Some(if is_right { 0 } else { 78 }), "{setting}");
    }
}
