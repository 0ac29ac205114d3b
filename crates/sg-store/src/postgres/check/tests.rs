//! What a server must be, one case a line; a sound one is asked by every other test.

use super::*;

fn sound() -> Standing {
    Standing {
        version: 150_018,
        fsync: "on".to_owned(),
        full_page_writes: "on".to_owned(),
        is_standby: false,
        encoding: "UTF8".to_owned(),
        schema: Some("public".to_owned()),
        may_create: true,
    }
}

fn check_refused(standing: Standing, kind: ErrorKind, said: &str) {
    let refused = judge(&standing).expect_err("something is missing");
    assert_eq!(refused.kind, kind, "{refused}");
    assert!(refused.to_string().contains(said), "{refused}");
}

#[test]
fn says_what_is_missing() {
    let off = || "off".to_owned();
    assert!(judge(&sound()).is_ok());
    assert!(judge(&Standing { version: VERSION_MIN, ..sound() }).is_ok());
    check_refused(Standing { version: VERSION_MIN - 1, ..sound() }, ErrorKind::Invalid, "upgrade it to 13");
    check_refused(Standing { fsync: off(), ..sound() }, ErrorKind::Invalid, "set fsync = on");
    check_refused(
        Standing { full_page_writes: off(), ..sound() },
        ErrorKind::Invalid,
        "set full_page_writes = on",
    );
    check_refused(Standing { encoding: "SQL_ASCII".to_owned(), ..sound() }, ErrorKind::Invalid, "SQL_ASCII");
    check_refused(Standing { is_standby: true, ..sound() }, ErrorKind::Retry, "primary");
    check_refused(Standing { schema: None, ..sound() }, ErrorKind::Invalid, "search_path");
    check_refused(Standing { may_create: false, ..sound() }, ErrorKind::Invalid, "GRANT CREATE");
}
