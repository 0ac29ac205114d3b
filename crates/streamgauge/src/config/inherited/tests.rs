//! Which keys the common variables of Kafka and PostgreSQL decide.

use std::collections::BTreeMap;

use super::{keys, with_password};

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn check(pairs: &[(&str, &str)], expect: &[(&str, &str)]) {
    let keys = keys(&variables(pairs));
    let found: Vec<(&str, &str)> =
        keys.iter().map(|(key, value, _)| (*key, value.as_str().unwrap_or_default())).collect();
    assert_eq!(found, expect, "{pairs:?}");
}

#[test]
fn the_common_variables_are_read() {
    check(&[], &[]);
    check(&[("KAFKA_BOOTSTRAP_SERVERS", "kafka:29092")], &[("log", "kafka://kafka:29092")]);
    check(&[("KAFKA_BOOTSTRAP_SERVERS", "")], &[]);
    check(
        &[("POSTGRES_HOST", "db"), ("POSTGRES_PASSWORD", "p@ss/word")],
        &[("store", "postgres://pipeline:p%40ss%2Fword@db:5432/pipeline")],
    );
    check(
        &[("POSTGRES_HOST", "db"), ("POSTGRES_PORT", "5433"), ("POSTGRES_USER", "u"), ("POSTGRES_DB", "d")],
        &[("store", "postgres://u@db:5433/d")],
    );
    check(
        &[("PGHOST", "db"), ("PGDATABASE", "realtime"), ("PGUSER", "rt"), ("PGPASSWORD", "rt")],
        &[("store", "postgres://rt:rt@db:5432/realtime")],
    );
    check(&[("POSTGRES_HOST", "db")], &[("store", "postgres://pipeline:pipeline@db:5432/pipeline")]);
    check(&[("PGHOST", "db")], &[("store", "postgres://rt:rt@db:5432/realtime")]);
    check(&[("PGHOST", "db"), ("PGPASSWORD", "x")], &[("store", "postgres://rt:x@db:5432/realtime")]);
    check(&[("PGHOST", "db"), ("PGUSER", "u")], &[("store", "postgres://u@db:5432/u")]);
    check(&[("DATABASE_URL", "postgresql://a@b/c"), ("PGHOST", "x")], &[("store", "postgresql://a@b/c")]);
    check(&[("DATABASE_URL", "mysql://a@b/c")], &[]);
    check(&[("FLUSH_INTERVAL_SECONDS", "60")], &[("flush.interval", "60s")]);
}

#[test]
fn a_url_without_a_password_gets_that_of_the_environment() {
    let check = |url: &str, expect: Option<&str>| {
        let found = with_password(url, &variables(&[("PGPASSWORD", "a b")]));
        assert_eq!(found.as_deref(), expect, "{url}");
    };
    check("postgres://u@h/d", Some("postgres://u:a%20b@h/d"));
    check("postgres://u:p@h/d", None);
    check("postgres://h/d", None);
    check("sqlite:", None);
}
