//! Variables that deployments already set for Kafka, PostgreSQL and S3, in the spellings that are common: they say the same
//! as keys of the configuration, and rank with `STREAMGAUGE_…` but behind it.

use std::collections::BTreeMap;

use toml::Value;

/// One key that a set of variables decides: its dotted path, its value, and the variable to name as its origin.
pub(crate) type Inherited = (&'static str, Value, &'static str);

/// Returns the keys that the variables decide.
pub(crate) fn keys(variables: &BTreeMap<String, String>) -> Vec<Inherited> {
    let get = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let mut keys = Vec::new();
    let brokers = ["KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BROKERS", "BOOTSTRAP_SERVERS"];
    if let Some((name, brokers)) = brokers.into_iter().find_map(|name| Some((name, get(name)?))) {
        keys.push(("log", Value::String(format!("kafka://{brokers}")), name));
    }
    if let Some((url, name)) = store(&get) {
        keys.push(("store", Value::String(url), name));
    }
    if is_enabled(variables)
        && let Some(bucket) = get("S3_BUCKET")
    {
        keys.push(("archive", Value::String(format!("s3://{bucket}")), "S3_ENABLED"));
    }
    if let Some(seconds) = get("FLUSH_INTERVAL_SECONDS") {
        keys.push(("flush.interval", Value::String(format!("{seconds}s")), "FLUSH_INTERVAL_SECONDS"));
    }
    keys
}

fn is_enabled(variables: &BTreeMap<String, String>) -> bool {
    variables.get("S3_ENABLED").is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
}

/// Returns whether a bucket is asked for and not named.
pub(crate) fn wants_bucket(variables: &BTreeMap<String, String>) -> bool {
    is_enabled(variables) && variables.get("S3_BUCKET").is_none_or(String::is_empty)
}

/// Returns the grace that the first rollup gets.
pub(crate) fn grace(variables: &BTreeMap<String, String>) -> Option<Value> {
    variables.get("GRACE_PERIOD_SECONDS").map(|seconds| Value::String(format!("{seconds}s")))
}

/// Returns the store's URL with the password of the environment where it names none.
pub(crate) fn with_password(url: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| scheme.starts_with("postgres"))?;
    let (login, host) = rest.split_once('@')?;
    let password = ["PGPASSWORD", "POSTGRES_PASSWORD"].iter().find_map(|name| variables.get(*name))?;
    (!login.contains(':')).then(|| format!("{scheme}://{login}:{}@{host}", encoded(password)))
}

fn store<'v>(get: &impl Fn(&str) -> Option<&'v str>) -> Option<(String, &'static str)> {
    let is_postgres = |url: &&str| url.starts_with("postgres://") || url.starts_with("postgresql://");
    if let Some(url) = get("DATABASE_URL").filter(is_postgres) {
        return Some((url.to_owned(), "DATABASE_URL"));
    }
    let sets = [
        ("POSTGRES_HOST", ["POSTGRES_PORT", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"], PIPELINE),
        ("PGHOST", ["PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"], REALTIME),
    ];
    sets.into_iter().find_map(|(name, [port, user, password, database], login)| {
        let host = get(name)?;
        let login = get(user).map_or(login, |user| Login { user, password: None, database: user });
        let password = get(password).or(login.password);
        let password = password.map(|password| format!(":{}", encoded(password))).unwrap_or_default();
        let (user, database) = (encoded(login.user), encoded(get(database).unwrap_or(login.database)));
        let port = get(port).unwrap_or("5432");
        Some((format!("postgres://{user}{password}@{host}:{port}/{database}"), name))
    })
}

/// Who asks for which database.
#[derive(Clone, Copy)]
struct Login<'v> {
    user: &'v str,
    password: Option<&'v str>,
    database: &'v str,
}

/// What deployments that name the host alone had beside it: the credentials of their examples, secret to nobody.
const PIPELINE: Login<'static> = Login { user: "pipeline", password: Some("pipeline"), database: "pipeline" };
const REALTIME: Login<'static> = Login { user: "rt", password: Some("rt"), database: "realtime" };

/// Writes a text so that it can stand in a URL.
fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests;
