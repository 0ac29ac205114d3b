//! Secrets are told to nobody: each is a word that stands nowhere else, and what the server says and writes, at the level
//! debug, is searched for them.

use std::process::Command;

use super::{command, create, get, secret_of, stderr, stdout};
use crate::harness::http::Answer;
use crate::harness::{BINARY, Launch, PATIENCE, Server, run_with, until};

const ADMIN: &str = "canary-admin-0123456789abcdef0123456789";
const BUCKET: &str = "canary-bucket-secret";
const STORE: &str = "canary-store-password";
const BROKER: &str = "canary-broker-password";
const WRONG: &str = "canary-wrong-key";
/// Ports on which nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

fn assert_silent(place: &str, said: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!said.contains(secret), "{place} tells {secret}: {said}");
    }
}

/// Asks with a header, and returns all that is answered.
fn asked(server: &Server, method: &str, path: &str, header: (&str, &str), body: &str) -> String {
    let answer: Answer =
        server.client().request(method, path, &[header], body.as_bytes()).expect("an answer");
    format!("{} {:?} {}", answer.status, answer.headers, answer.text())
}

#[test]
fn a_server_tells_no_secret() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let variables = folder.path().join("variables");
    let lines =
        format!("AWS_SECRET_ACCESS_KEY={BUCKET}\nAWS_ACCESS_KEY_ID=me\nSTREAMGAUGE_ADMIN_KEY={ADMIN}\n");
    std::fs::write(&variables, lines).expect("it can be written");
    let variables = variables.to_str().expect("a path of letters");
    let endpoint = format!("http://{NOWHERE}");
    let launch = Launch::new().args(&["--archive", "s3://bucket/prefix", "--env-file", variables]);
    let launch = launch.variables(&[("AWS_ENDPOINT_URL", &endpoint), ("STREAMGAUGE_LOG_LEVEL", "debug")]);
    let mut server = Server::ready(&launch);
    let made = create(&server, ADMIN, &["--name", "app", "--scope", "ingest,query"]);
    let secrets = [ADMIN, BUCKET, WRONG, secret_of(&made)];

    let bad = r#"{"stream_id":"s","type":"donation","amount_usd":"much"}"#;
    let basic = "Basic bWU6Y2FuYXJ5LXdyb25nLWtleQ==";
    let login = format!("\"{ADMIN}\"");
    let twice = format!("{{\"key\":\"{WRONG}\",\"more\":1}}");
    let query = format!("/v1/status?key={WRONG}");
    for (method, path, header, body) in [
        ("POST", "/v1/events", ("x-api-key", made.as_str()), r#"{"event_type":"a"}"#),
        ("POST", "/v1/events?stream=stream.events", ("x-api-key", ADMIN), bad),
        ("GET", "/v1/status", ("x-api-key", WRONG), ""),
        ("GET", "/v1/status", ("authorization", WRONG), ""),
        ("GET", "/v1/status", ("authorization", basic), ""),
        ("GET", "/v1/nowhere", ("x-api-key", ADMIN), ""),
        ("GET", "/v1/rollups/none", ("x-api-key", ADMIN), ""),
        ("POST", "/v1/flush", ("x-api-key", &made), ""),
        ("POST", "/v1/session", ("accept", "*/*"), &login),
        ("POST", "/v1/session", ("accept", "*/*"), &twice),
        ("POST", "/v1/keys", ("x-api-key", ADMIN), r#"{"name":"n"}"#),
        ("GET", "/v1/keys", ("x-api-key", ADMIN), ""),
        ("GET", "/v1/dead-letters", ("x-api-key", ADMIN), ""),
        ("GET", "/readyz", ("x-api-key", ADMIN), ""),
        ("GET", "/metrics", ("x-api-key", &made), ""),
        ("GET", "/prometheus", ("x-api-key", &made), ""),
        ("GET", "/openapi.json", ("x-api-key", &made), ""),
    ] {
        assert_silent(path, &asked(&server, method, path, header, body), &secrets);
    }
    // Of the query the detail may quote a name, and no value.
    assert_silent(&query, &asked(&server, "GET", &query, ("accept", "*/*"), ""), &secrets);
    let status = get(&server, ADMIN, "/v1/status").text();
    assert_silent("/v1/status", &status, &secrets);
    let data = server.data_dir().to_str().expect("a path of letters").to_owned();
    let doctor = ["doctor", "--data-dir", &data];
    for args in [&["keys", "list"][..], &["keys", "list", "--json"], &["dead-letters", "list"], &doctor] {
        let output = command(&server, ADMIN, args);
        assert_silent(args[0], &format!("{}{}", stdout(&output), stderr(&output)), &secrets);
    }
    let shown = run_with(&[("STREAMGAUGE_ADMIN_KEY", ADMIN)], &["config"]);
    assert_silent("config", &stdout(&shown), &secrets);
    server.terminate();
    let log = server.stderr();
    assert!(log.contains("DEBUG") || log.contains("stopped"), "it logs: {log}");
    assert_silent("the log", &log, &secrets);
}

#[test]
fn passwords_of_servers_that_are_away_are_told_nowhere() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let data = folder.path().join("data");
    let data = data.to_str().expect("a path of letters");
    let config = folder.path().join("away.toml");
    let toml = format!(
        "log = \"kafka://{NOWHERE}\"\nstore = \"postgres://me:{STORE}@{NOWHERE}/db\"\n[kafka.properties]\n\
         \"security.protocol\" = \"SASL_PLAINTEXT\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"me\"\n\
         \"sasl.password\" = \"{BROKER}\"\n"
    );
    std::fs::write(&config, toml).expect("it can be written");
    let config = config.to_str().expect("a path of letters");
    let secrets = [STORE, BROKER];
    for args in [
        &["config", "--config", config][..],
        &["config", "check", "--config", config],
        &["doctor", "--config", config, "--data-dir", data],
        &[
            "serve",
            "--config",
            config,
            "--data-dir",
            data,
            "--store",
            "nonsense://me:canary-store-password@h",
        ],
    ] {
        let output = run_with(&[("STREAMGAUGE_LOG_LEVEL", "debug")], args);
        assert_silent(args[0], &format!("{}{}", stdout(&output), stderr(&output)), &secrets);
    }
    // It tries again until it is told to stop.
    let log = folder.path().join("log");
    let file = std::fs::File::create(&log).expect("it can be made");
    let mut serve = Command::new(BINARY);
    serve.args(["serve", "--config", config, "--data-dir", data, "--listen", "127.0.0.1:0"]).env_clear();
    let mut child = serve.env("STREAMGAUGE_LOG_LEVEL", "debug").stderr(file).spawn().expect("it can be run");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until(PATIENCE, "it says that a server is away", || {
        said().contains("trying again") || said().contains("refused")
    });
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    assert_silent("the log", &said(), &secrets);
}
