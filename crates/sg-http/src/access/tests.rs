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
        assert_eq!(of(&method, path, is_door), expect, "{method} {path}");
    }
}
