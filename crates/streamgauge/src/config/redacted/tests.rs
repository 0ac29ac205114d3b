//! Which part of a URL is a password.

use super::*;

#[test]
fn a_password_is_shown_nowhere() {
    for (url, shown) in [
        ("postgres://me:secret@host/db", "postgres://me:***@host/db"),
        (
            "postgres://me:se:cr@et@host:5432/db?sslmode=require",
            "postgres://me:***@host:5432/db?sslmode=require",
        ),
        (
            "postgres://me@host/db?password=secret&sslmode=require",
            "postgres://me@host/db?password=***&sslmode=require",
        ),
        ("postgres://me@host/db", "postgres://me@host/db"),
        ("nonsense://me:secret@h", "nonsense://me:***@h"),
        ("kafka://a:9092,b:9092", "kafka://a:9092,b:9092"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("sqlite:", "sqlite:"),
    ] {
        assert_eq!(without_password(url), shown);
    }
}
