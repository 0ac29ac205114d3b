//! The variables that deployments of the five systems set: each decides what it decided there, and says so.

use std::process::Command;

use serde_json::Value;

use super::{Database, Launch, Server, builtin_named, flush, unused_name};
use crate::harness::services::Services;
use crate::harness::{BINARY, PATIENCE, until};

/// Returns what `streamgauge config` prints with these variables.
fn config(variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = Command::new(BINARY);
    command.arg("config").env_clear().envs(variables.iter().copied()).current_dir(folder.path());
    let output = command.output().expect("the binary can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("what it prints is UTF-8")
}

#[test]
fn each_variable_is_in_effect_and_named_as_the_origin() {
    for (variables, line) in [
        (
            &[("KAFKA_BOOTSTRAP_SERVERS", "kafka:29092")][..],
            r#"log = "kafka://kafka:29092"  # environment KAFKA_BOOTSTRAP_SERVERS"#,
        ),
        (
            &[("POSTGRES_HOST", "postgres")],
            r#"store = "postgres://pipeline:***@postgres:5432/pipeline"  # environment POSTGRES_HOST"#,
        ),
        (
            &[
                ("POSTGRES_HOST", "h"),
                ("POSTGRES_PORT", "55432"),
                ("POSTGRES_USER", "u"),
                ("POSTGRES_PASSWORD", "p"),
                ("POSTGRES_DB", "d"),
            ],
            r#"store = "postgres://u:***@h:55432/d"  # environment POSTGRES_HOST"#,
        ),
        (
            &[("PGHOST", "postgres")],
            r#"store = "postgres://rt:***@postgres:5432/realtime"  # environment PGHOST"#,
        ),
        (
            &[("PGHOST", "h"), ("PGPORT", "5433"), ("PGDATABASE", "d"), ("PGUSER", "u"), ("PGPASSWORD", "p")],
            r#"store = "postgres://u:***@h:5433/d"  # environment PGHOST"#,
        ),
        (
            &[("DATABASE_URL", "postgresql://postgres:postgres@postgres:5432/events_db")],
            r#"store = "postgresql://postgres:***@postgres:5432/events_db"  # environment DATABASE_URL"#,
        ),
        (&[("FLUSH_INTERVAL_SECONDS", "60")], r#"interval = "60s"  # environment FLUSH_INTERVAL_SECONDS"#),
        (&[("GRACE_PERIOD_SECONDS", "45")], r#"grace = "45s"  # environment GRACE_PERIOD_SECONDS"#),
        (
            &[("STREAMGAUGE_STREAM__PAGEVIEWS__TOPIC", "views")],
            r#"topic = "views"  # environment STREAMGAUGE_STREAM__PAGEVIEWS__TOPIC"#,
        ),
    ] {
        let shown = config(variables);
        assert!(shown.lines().any(|known| known == line), "{variables:?}: {line} is not in\n{shown}");
    }
}

#[test]
fn a_server_flushes_and_waits_as_its_variables_say() {
    let launch =
        Launch::new().variables(&[("FLUSH_INTERVAL_SECONDS", "3600"), ("GRACE_PERIOD_SECONDS", "45")]);
    let server = Server::ready(&launch);
    let rollups = server.get("/v1/rollups").json();
    let graces: Vec<&Value> =
        rollups["rollups"].as_array().expect("rollups").iter().map(|rollup| &rollup["grace_ms"]).collect();
    assert_eq!(graces, [45_000, 300_000, 600_000]);
    assert_eq!(server.post("/events", &[], r#"{"event_type":"a"}"#).status, 202);
    let mut memory = Value::Null;
    until(PATIENCE, "a flush is due", || {
        memory = server.get("/api/pipeline/memory").json();
        !memory["next_flush_at"].is_null()
    });
    let due: jiff::Timestamp = memory["next_flush_at"].as_str().expect("a time").parse().expect("a time");
    let waits = due.as_second() - jiff::Timestamp::now().as_second();
    assert!((3_000..=3_600).contains(&waits), "{memory}");
    assert_eq!(memory["events_in_memory"], 1);
    flush(&server);
    assert_eq!(server.get("/api/pipeline/memory").json()["events_in_memory"], 0);
}

/// Starts a server whose broker and database are named by variables alone, and has it count an event.
fn counts_with(services: Services, variables: impl Fn(&Services, &str) -> Vec<(&'static str, String)>) {
    let name = unused_name();
    let mut owned = variables(&services, &name);
    owned.push(("KAFKA_BOOTSTRAP_SERVERS", services.kafka().to_owned()));
    let borrowed: Vec<(&str, &str)> = owned.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let launch = Launch::new().config(&builtin_named(&name)).variables(&borrowed);
    let server = Server::ready(&launch);
    assert_eq!(server.post("/events", &[], r#"{"event_type":"a"}"#).status, 202);
    flush(&server);
    assert_eq!(server.get("/health").json()["backends"]["log"], "kafka");
    let database = Database::Postgres { services, name };
    assert_eq!(database.lines("SELECT event_type, event_count FROM hourly_aggregations"), ["a|1"]);
    drop(server);
    database.drop_it();
}

#[test]
fn a_broker_and_a_database_may_be_named_by_variables_alone() {
    type Names = [&'static str; 4];
    for names in [
        ["POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_USER", "POSTGRES_DB"] as Names,
        ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE"],
    ] {
        let Some(services) = Services::shared() else { return };
        counts_with(services, |services, database| {
            let (host, port, user) = services.postgres_parts();
            names.into_iter().zip([host, port, user, database.to_owned()]).collect()
        });
    }
    let Some(services) = Services::shared() else { return };
    counts_with(services, |services, database| vec![("DATABASE_URL", services.database(database))]);
}
