//! Every route has a line in the table of who may use it, and each line is kept.

use std::collections::BTreeSet;

use super::{GIVEN, create};
use crate::harness::{Launch, Server};
use crate::openapi::routes::{ROUTES, paths_without, served};

/// Where the table stands.
const TABLE: &str = include_str!("../../../../sg-http/src/access.rs");

/// Returns method, path and what the route asks for, line by line.
fn lines() -> Vec<(String, String, String)> {
    let table = TABLE.split("const TABLE").nth(1).and_then(|rest| rest.split("];").next()).expect("a table");
    let line = |line: &str| {
        let parts: Vec<&str> = line.trim().strip_prefix("(\"")?.strip_suffix("),")?.split(", ").collect();
        let [method, path, access, _role] = parts[..] else { return None };
        let bare = |text: &str| text.trim_matches('"').to_owned();
        Some((bare(method), bare(path), access.to_owned()))
    };
    table.lines().filter_map(line).collect()
}

#[test]
fn every_route_has_a_line_and_every_line_a_route() {
    let server = Server::start(&[]);
    let described: BTreeSet<String> =
        lines().iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(described.len(), lines().len(), "a line stands twice");
    assert_eq!(described, served(&server, paths_without(&[], ROUTES)));
}

#[test]
fn each_key_opens_what_its_scope_says() {
    let server = Server::ready(&Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]));
    let sender = create(&server, GIVEN, &["--name", "sender", "--scope", "ingest"]);
    let asker = create(&server, GIVEN, &["--name", "asker", "--scope", "query"]);
    let both = create(&server, GIVEN, &["--name", "both", "--scope", "ingest,query"]);
    let doors = ["/events", "/api/pageviews", "/api/pageviews/batch"];
    let doors = doors.map(|path| ("POST".to_owned(), path.to_owned(), "Ingest".to_owned()));
    for (method, path, access) in lines().into_iter().chain(doors) {
        // Streams of answers do not end; that they begin says enough.
        let is_endless = path.ends_with("/stream");
        let tried: String = path
            .split(['{', '}'])
            .enumerate()
            .map(|(at, part)| if at % 2 == 0 { part } else { "x" })
            .collect();
        let opens = |key: &str| match access.as_str() {
            "Open" => true,
            "Ingest" => key == sender || key == both || key == GIVEN,
            "Query" | "Ask" | "Export" | "Metrics" => key == asker || key == both || key == GIVEN,
            "Admin" => key == GIVEN,
            other => panic!("{other} is no access"),
        };
        let wrong = "sgk_wrong";
        for key in ["", wrong, &sender, &asker, &both, GIVEN] {
            if opens(key) && is_endless {
                continue;
            }
            let headers: &[(&str, &str)] = if key.is_empty() { &[] } else { &[("x-api-key", key)] };
            let answer = server.client().request(&method, &tried, headers, b"").expect("an answer");
            let expect = match key {
                _ if opens(key) => None,
                "" | "sgk_wrong" => Some(401),
                _ => Some(403),
            };
            let found = Some(answer.status).filter(|status| matches!(status, 401 | 403));
            // A session is not begun by an empty body; whose key it is, is not asked before.
            assert_eq!(found, expect, "{method} {path} by {key:?}: {}", answer.text());
        }
    }
}

/// Metrics may be told without a key; rows are answers all the same.
#[test]
fn metrics_may_be_open() {
    let launch = Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]);
    let closed = Server::ready(&launch);
    let open = Server::ready(&launch.config("open_metrics = true\n"));
    for (path, when_open) in [
        ("/metrics", 200),
        ("/prometheus", 200),
        ("/actuator/metrics", 200),
        ("/metrics?minutes=10", 401),
        ("/metrics/latest", 401),
    ] {
        assert_eq!(closed.get(path).status, 401, "{path}");
        assert_eq!(open.get(path).status, when_open, "{path}");
    }
    let rows = Launch::new().variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]).config("open_metrics = true\n");
    let rows = Server::ready(&rows.listening("127.0.0.1:0,metrics=rows"));
    assert_eq!(rows.get("/metrics").status, 401);
}
