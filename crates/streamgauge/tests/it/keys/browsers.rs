//! Browsers: the dashboard's session, and keys that stand in everybody's pages.

use serde_json::json;

use super::{GIVEN, code, create, refused};
use crate::harness::{Launch, Server};

fn guarded() -> Server {
    Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]))
}

fn session(server: &Server, headers: &[(&str, &str)]) -> serde_json::Value {
    let answer = server.client().request("GET", "/v1/session", headers, b"").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn a_session_stands_for_its_key() {
    let server = guarded();
    let asker = create(&server, GIVEN, &["--name", "asker", "--scope", "query"]);
    assert_eq!(session(&server, &[]), json!({"auth": "keys", "scopes": [], "session": false}));
    let login = |key: &str| server.post("/v1/session", &[], json!({"key": key}).to_string());
    let wrong = login("sgk_wrong");
    assert_eq!(code(&wrong), refused(401, "key_unknown"));
    assert_eq!(wrong.header("set-cookie"), None);
    let begun = login(&asker);
    assert_eq!((begun.status, begun.text().as_str()), (204, ""));
    let cookie = begun.header("set-cookie").expect("a cookie");
    assert_eq!(cookie, format!("streamgauge_session={asker}; HttpOnly; SameSite=Strict; Path=/"));
    let pair = cookie.split(';').next().expect("a pair");
    assert_eq!(
        session(&server, &[("cookie", pair)]),
        json!({"auth": "keys", "scopes": ["query"], "session": true})
    );
    let status = server.client().request("GET", "/v1/status", &[("cookie", pair)], b"").expect("an answer");
    assert_eq!(status.status, 200);
    let ended =
        server.client().request("DELETE", "/v1/session", &[("cookie", pair)], b"").expect("an answer");
    assert_eq!(ended.status, 204);
    let cleared = "streamgauge_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0";
    assert_eq!(ended.header("set-cookie"), Some(cleared));
    assert_eq!(
        session(&server, &[("x-api-key", GIVEN)]),
        json!({"auth": "keys", "scopes": ["ingest", "query", "admin"], "session": false})
    );
    for body in ["", "{}", "\"sgk_secret\"", "{\"key\":1}", "{\"key\":\"a\",\"more\":1}"] {
        let answer = server.post("/v1/session", &[], body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(!answer.text().contains("sgk_secret"), "{}", answer.text());
    }
}

#[test]
fn a_server_that_asks_for_no_key_says_that_all_is_allowed() {
    let all = json!(["ingest", "query", "admin"]);
    let open = Server::start(&[]);
    assert_eq!(session(&open, &[]), json!({"auth": "keys", "scopes": all, "session": false}));
    let off = Server::start_with("auth = \"off\"\n", &[]);
    assert_eq!(session(&off, &[]), json!({"auth": "off", "scopes": all, "session": false}));
}

/// What a session changes comes from the server's own pages.
#[test]
fn other_pages_cannot_use_a_session() {
    let server = guarded();
    let own = server.url();
    let cookie = format!("streamgauge_session={GIVEN}");
    for (headers, status) in [
        (vec![("origin", own.as_str())], 200),
        (vec![("sec-fetch-site", "same-origin")], 200),
        (vec![("sec-fetch-site", "same-origin"), ("origin", "https://proxied.example")], 200),
        (vec![], 403),
        (vec![("origin", "null")], 403),
        (vec![("origin", "http://127.0.0.1:1")], 403),
        (vec![("sec-fetch-site", "same-site"), ("origin", own.as_str())], 403),
        (vec![("sec-fetch-site", "cross-site")], 403),
    ] {
        let mut all = headers.clone();
        all.push(("cookie", &cookie));
        let answer = server.post("/v1/flush", &all, "");
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        if status == 403 {
            assert_eq!(answer.json()["code"], "origin_refused");
        }
        // Who writes the key into a header is no browser that was talked into it.
        let mut by_header = headers.clone();
        by_header.push(("x-api-key", GIVEN));
        assert_eq!(server.post("/v1/flush", &by_header, "").status, 200, "{headers:?}");
    }
    let read = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-site")];
    assert_eq!(server.client().request("GET", "/v1/status", &read, b"").expect("an answer").status, 200);
    let login = json!({"key": GIVEN}).to_string();
    assert_eq!(server.post("/v1/session", &[("origin", "https://a.example")], login).status, 403);
}

/// A server without keys must not be changed by whatever page its owner looks at.
#[test]
fn other_pages_change_nothing_on_an_open_server() {
    for config in ["", "auth = \"off\"\n"] {
        let server = Server::start_with(config, &[]);
        let origin = [("origin", "https://a.example")];
        for path in ["/v1/flush", "/v1/keys", "/v1/rebuild", "/v1/demo/start"] {
            assert_eq!(code(&server.post(path, &origin, "{}")), refused(403, "origin_refused"), "{path}");
        }
        assert_eq!(server.post("/v1/flush", &[], "").status, 200);
        assert_eq!(server.post("/v1/flush", &[("origin", &server.url())], "").status, 200);
    }
}

#[test]
fn a_key_in_a_page_only_sends_and_only_from_there() {
    let server = guarded();
    let page = "https://shop.example";
    let key = create(&server, GIVEN, &["--name", "shop", "--scope", "ingest", "--origin", page]);
    let preflight = |origin: &str, path: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        server.client().request("OPTIONS", path, &headers, b"").expect("an answer")
    };
    for (origin, path, allowed) in [
        (page, "/v1/events", Some(page)),
        (page, "/api/pageviews", Some(page)),
        ("https://evil.example", "/v1/events", None),
        (page, "/v1/stream", None),
    ] {
        let answer = preflight(origin, path);
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin} {path}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    let post = |headers: &[(&str, &str)]| {
        let mut all = vec![("x-api-key", key.as_str())];
        all.extend(headers);
        server.post("/v1/events", &all, r#"{"event_type":"a"}"#)
    };
    let taken = post(&[("origin", page)]);
    assert_eq!((taken.status, taken.header("access-control-allow-origin")), (202, Some(page)));
    for headers in [&[][..], &[("origin", "https://evil.example")], &[("origin", "http://localhost:3000")]] {
        assert_eq!(code(&post(headers)), refused(403, "origin_refused"), "{headers:?}");
    }
    // A page reads why its key does not work.
    let wrong = server.post("/v1/events", &[("x-api-key", "sgk_wrong"), ("origin", page)], "{}");
    assert_eq!((wrong.status, wrong.header("access-control-allow-origin")), (401, Some(page)));
    let headers = [("x-api-key", key.as_str()), ("origin", page)];
    let read = server.client().request("GET", "/v1/rollups", &headers, b"").expect("an answer");
    assert_eq!(code(&read), refused(403, "scope_missing"));
    let login = server.post("/v1/session", &[], json!({"key": key}).to_string());
    assert_eq!(code(&login), refused(403, "scope_missing"));
}
