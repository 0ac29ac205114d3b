//! What is not in the table.

use super::*;

#[test]
fn a_route_without_a_line_is_open_to_nobody() {
    for (method, path, is_door, expect) in [
        (Method::POST, "/v1/status", false, Admin),
        (Method::GET, "/nowhere", false, Admin),
        (Method::GET, "", false, Admin),
        (Method::GET, "/events", true, Admin),
        (Method::POST, "/events", true, Ingest),
        (Method::POST, "/events", false, Admin),
        // A stream may not open what has a line.
        (Method::POST, "/v1/flush", true, Admin),
        (Method::HEAD, "/v1/status", false, Query),
        (Method::OPTIONS, "/v1/events", false, Open),
    ] {
        assert_eq!(of(&method, path, is_door).0, expect, "{method} {path}");
    }
}

#[test]
fn a_path_is_meant_in_other_letters_and_with_a_slash_too_many() {
    for (path, expect) in [
        ("/v1/events/", Some("/v1/events")),
        ("/V1/Events", Some("/v1/events")),
        ("/v1/status//", Some("/v1/status")),
        ("/v1/events", None),
        ("/API/pageviews/", Some("/api/pageviews")),
        ("/v1/event", Some("/v1/events")),
        ("/v1/rollup", Some("/v1/rollups")),
        ("/v1/state", None),
        ("/v2/events", None),
        ("/nothing", None),
        ("/", None),
        ("//", None),
        ("", None),
    ] {
        assert_eq!(meant(path, ["/api/pageviews"].into_iter()), expect, "{path}");
    }
}
