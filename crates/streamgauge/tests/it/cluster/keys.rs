//! Keys hold in every process soon after they were made or revoked in one.

use crate::harness::services::Services;
use crate::harness::{PATIENCE, Server, until};
use crate::keys::{command, create, get};

use super::{Cluster, turn};

fn status(server: &Server, key: &str) -> u16 {
    get(server, key, "/v1/status").status
}

#[test]
fn what_one_process_knows_of_keys_all_know_soon() {
    let Some(services) = Services::shared() else { return };
    let _turn = turn();
    let cluster = Cluster::new(services);
    // The first has made no tables when the second starts: nobody can have made a key.
    let ingest = cluster.start("ingest");
    assert_eq!(ingest.get("/v1/demo").status, 200);
    let others = cluster.start("process,query");
    let admin = create(&others, "", &["--name", "me", "--scope", "admin"]);
    until(PATIENCE, "the other asks for a key", || ingest.get("/v1/demo").status == 401);
    assert_eq!(status(&ingest, &admin), 200);
    let asker = create(&ingest, &admin, &["--name", "asker", "--scope", "query"]);
    until(PATIENCE, "the key works in the other", || status(&others, &asker) == 200);
    assert_eq!(command(&others, &admin, &["keys", "revoke", "asker"]).status.code(), Some(0));
    assert_eq!(status(&others, &asker), 401);
    until(PATIENCE, "the key works nowhere", || status(&ingest, &asker) == 401);
}
