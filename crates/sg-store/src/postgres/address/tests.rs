//! URLs, one line each.

use super::*;

fn check(url: &str, expect: Result<(SslMode, &str), &str>) {
    match (Address::read(url), expect) {
        (Ok(address), Ok((mode, database))) => {
            assert_eq!((address.config.get_ssl_mode(), address.database.as_str()), (mode, database), "{url}");
            assert_eq!(address.config.get_dbname(), Some(database), "{url}");
        }
        (Err(error), Err(said)) => {
            assert_eq!(error.kind, ErrorKind::Invalid, "{url}");
            assert!(error.to_string().contains(said), "{url}: {error}");
            assert!(!format!("{error:?}").contains("secret"), "{url}: {error:?}");
        }
        (Ok(_), Err(said)) => panic!("{url} was accepted: {said}"),
        (Err(error), Ok(_)) => panic!("{url}: {error}"),
    }
}

#[test]
fn reads_urls() {
    check("postgres://u:secret@h:5433/db", Ok((SslMode::Prefer, "db")));
    check("postgresql://u@h/db?sslmode=disable", Ok((SslMode::Disable, "db")));
    check("postgres://u@h/db?sslmode=require&application_name=x", Ok((SslMode::Require, "db")));
    check("postgres://u@h/db?connect_timeout=3&sslmode=prefer", Ok((SslMode::Prefer, "db")));
    check("postgres://u@h1,h2/db?target_session_attrs=read-write", Ok((SslMode::Prefer, "db")));
    check("postgres://u@h", Ok((SslMode::Prefer, "u")));
    check("postgres://u@%2Fvar%2Frun%2Fpostgresql/db", Ok((SslMode::Disable, "db")));
    check("postgres://u:sec%20ret@h/my%20db", Ok((SslMode::Prefer, "my db")));
    check("mysql://u:secret@h/db", Err("postgres://"));
    check("postgres://u:secret@h/db?sslmode=verify-ca", Err("verify-full"));
    check("postgres://u:secret@h/db?sslmode=", Err("none of"));
    check("postgres://u:secret@h:port/db", Err("port"));
    check("postgres://u:secret@h/db?colour=red", Err("colour"));
    check("postgres:///db", Err("names no host"));
    check("postgres://h/", Err("names no database"));
    check("postgres://u:secret@h/db?sslrootcert=ca.pem", Err("verify-full"));
    check("postgres://u:secret@h/db?sslmode=verify-full", Err("needs sslrootcert"));
    check(
        "postgres://u:secret@h/db?sslmode=verify-full&sslrootcert=%2Fnowhere%2Fca.pem",
        Err("/nowhere/ca.pem"),
    );
    check("postgres://u:secret@h/db?sslmode=verify-full&sslrootcert=%zz", Err("hexadecimal"));
}

#[test]
fn reads_certificates() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let file = folder.path().join("ca.pem");
    let url = format!("postgres://u@h/db?sslmode=verify-full&sslrootcert={}", file.display());
    std::fs::write(&file, "no certificate").expect("the folder is new");
    check(&url, Err("there is none in it"));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("it is ours");
    check(&url, Err("certificates of sslrootcert"));
}
