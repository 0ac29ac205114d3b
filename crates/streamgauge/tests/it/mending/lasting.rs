//! Answers that are still being made while they are sent: the server tells them from others by their length, which it does
//! not know, and lets them be silent for as long as they need.

use super::{MEASURES, ORDERS, flush, launch};
use crate::harness::Server;

#[test]
fn exports_deletes_and_rebuilds_do_not_tell_their_length() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = Server::ready(&launch(folder.path(), &format!("{ORDERS}{MEASURES}")));
    flush(&server);
    let answers = [
        server.get("/v1/events/export?format=ndjson"),
        server.get("/v1/events/export?format=csv"),
        server.post("/v1/events/delete", &[], r#"{"where":"user_id = 'u1'","dry_run":true}"#),
        server.post("/v1/rebuild", &[], r#"{"rollup":"hourly","dry_run":true}"#),
    ];
    for answer in answers {
        let lengths = (answer.header("content-length"), answer.header("transfer-encoding"));
        assert_eq!((answer.status, lengths), (200, (None, Some("chunked"))));
    }
    let known = server.get("/v1/rollups");
    assert!(known.header("content-length").is_some() && known.header("transfer-encoding").is_none());
}
