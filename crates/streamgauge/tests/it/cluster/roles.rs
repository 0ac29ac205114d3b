//! A process that is asked for what another role serves says so, and says which.

use crate::harness::services::Services;

use super::{Cluster, turn};

#[test]
fn a_path_of_another_role_is_answered_with_the_role() {
    let Some(services) = Services::shared() else { return };
    let _turn = turn();
    let cluster = Cluster::new(services);
    let servers = ["ingest", "process", "query", "archive"].map(|role| (role, cluster.start(role)));
    for (method, path, serves) in [
        ("POST", "/v1/events", "ingest"),
        ("POST", "/events", "ingest"),
        ("GET", "/v1/events", "query"),
        ("GET", "/v1/rollups/hourly_aggregations", "query"),
        ("GET", "/v1/dead-letters", "query"),
        ("GET", "/api/stats", "query"),
        ("GET", "/streams/top", "query"),
        ("GET", "/", "query"),
    ] {
        for (role, server) in &servers {
            let answer = server.client().request(method, path, &[], b"{}").expect("there is an answer");
            let told = answer.text();
            let is_refused = told.contains("\"code\":\"role_missing\"");
            assert_eq!(is_refused, *role != serves, "{method} {path} at {role}: {told}");
            if is_refused {
                let says = format!("this process has the roles {role} only: ");
                assert!(answer.status == 404 && told.contains(&says), "{told}");
                assert!(told.contains(&format!("add {serves} to its roles")), "{told}");
            }
        }
    }
    for (role, server) in &servers {
        for asked in ["ingest", "process", "query"] {
            let is_ready = server.get(&format!("/readyz?role={asked}")).status == 200;
            assert_eq!(is_ready, asked == *role, "{asked} at {role}");
        }
        for path in ["/livez", "/readyz", "/healthz", "/metrics", "/v1/status", "/openapi.json", "/docs"] {
            assert_eq!(server.get(path).status, 200, "{path} at {role}");
        }
    }
}
