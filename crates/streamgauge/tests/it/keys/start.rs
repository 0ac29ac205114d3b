//! A server that other machines reach starts only where somebody has a key, or where it is written down that nobody needs
//! one.

use rustix::process::Signal;

use super::{GIVEN, code, create, get, refused, stdout};
use crate::harness::{Exited, Launch, PATIENCE, Server, run_with};

const REACHED: &str = "0.0.0.0:0";

#[test]
fn other_machines_are_served_only_where_somebody_has_a_key() {
    let mut server = Server::start(&[]);
    let data_dir = server.data_dir().to_owned();
    server.terminate();
    let launch = || Launch::new().data_dir(&data_dir);
    let Err(Exited { status, stderr }) = launch().listening(REACHED).start() else {
        panic!("it serves other machines without a key")
    };
    assert_eq!(status.code(), Some(78), "{stderr}");
    for way in ["STREAMGAUGE_ADMIN_KEY", "streamgauge keys create", "auth = \"off\""] {
        assert!(stderr.contains(way), "{way}: {stderr}");
    }

    let given = launch().listening(REACHED).variables(&[("STREAMGAUGE_ADMIN_KEY", GIVEN)]);
    let mut guarded = Server::ready(&given);
    assert_eq!(code(&guarded.get("/v1/status")), refused(401, "key_missing"));
    assert_eq!(get(&guarded, GIVEN, "/v1/status").status, 200);
    guarded.terminate();

    let mut off = Server::ready(&launch().listening(REACHED).config("auth = \"off\"\n"));
    assert_eq!(off.get("/v1/status").status, 200);
    assert_eq!(off.post("/v1/keys", &[], r#"{"name":"n","scopes":["admin"]}"#).status, 422);
    off.terminate();

    let mut at_home = Server::ready(&launch());
    let admin = create(&at_home, "", &["--name", "me", "--scope", "admin"]);
    at_home.terminate();
    let mut guarded = Server::ready(&launch().listening(REACHED));
    assert_eq!(code(&guarded.get("/v1/status")), refused(401, "key_missing"));
    assert_eq!(get(&guarded, &admin, "/v1/status").status, 200);
    // A key that was revoked is no way to an open server.
    assert_eq!(super::command(&guarded, &admin, &["keys", "revoke", "me"]).status.code(), Some(0));
    guarded.signal(Signal::TERM);
    guarded.wait(PATIENCE);
    let guarded = Server::ready(&launch().listening(REACHED));
    assert_eq!(code(&get(&guarded, &admin, "/v1/status")), refused(401, "key_unknown"));
}

#[test]
fn the_key_of_the_configuration_is_long_enough_and_never_shown() {
    for (key, is_fit) in [
        (&GIVEN[..31], false),
        (GIVEN, true),
        ("0123456789abcdef0123456789abcdef;", false),
        ("0123456789abcdef 0123456789abcdef", false),
        ("0123456789äbcdef0123456789abcdef0", false),
    ] {
        let variables = [("STREAMGAUGE_ADMIN_KEY", key)];
        let checked = run_with(&variables, &["config", "check"]);
        let said = format!("{}{}", stdout(&checked), super::stderr(&checked));
        assert_eq!(checked.status.code(), Some(if is_fit { 0 } else { 78 }), "{said}");
        assert!(!said.contains(key), "{said}");
        let shown = stdout(&run_with(&variables, &["config"]));
        assert!(shown.contains("admin_key = \"***\"  # environment STREAMGAUGE_ADMIN_KEY"), "{shown}");
        assert!(!shown.contains(key), "{shown}");
    }
    let config = ["config", "check"];
    let noted = run_with(&[("STREAMGAUGE_LISTEN__0__ADDRESS", "0.0.0.0:8080")], &config);
    assert!(stdout(&noted).contains("nobody has a key"), "{}", stdout(&noted));
}
