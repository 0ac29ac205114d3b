//! What the configuration means: every rule is checked here, and every error is told at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sg_core::definition::{Rollup, Stream};
use toml::Value;

use super::layers::Layers;
use super::reader::{Errors, Reader};
use super::streams;

/// Everything a server needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) log: LogChoice,
    pub(crate) store: StoreChoice,
    pub(crate) listen: Vec<Listen>,
    pub(crate) flush_interval: Duration,
    pub(crate) flush_events_max: u64,
    pub(crate) embedded: Embedded,
    pub(crate) body_budget_bytes: u64,
    pub(crate) connections_max: u64,
    pub(crate) streams: Vec<StreamSettings>,
    pub(crate) rollups: Vec<Rollup>,
}

/// Which log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogChoice {
    /// Segment files in this directory.
    Embedded(PathBuf),
}

/// Which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreChoice {
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// One listening address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) address: String,
}

/// Sizes of the embedded log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Embedded {
    pub(crate) segment_bytes: u64,
    pub(crate) pool_bytes_max: u64,
    pub(crate) keep_bytes: u64,
    pub(crate) keep_age: Duration,
}

/// A stream and what only this process's doors need of it.
#[derive(Debug, Clone)]
pub(crate) struct StreamSettings {
    pub(crate) stream: Stream,
    pub(crate) paths: Vec<String>,
}

const ROLES: [&str; 4] = ["ingest", "process", "query", "archive"];

impl Settings {
    /// Reads the merged layers.
    ///
    /// # Errors
    /// Every fault of the configuration, each with its place.
    pub(crate) fn resolve(layers: &Layers) -> Result<Settings, Vec<String>> {
        let mut errors = Errors::default();
        let mut reader = Reader::new(&layers.table, "");
        let data_dir = PathBuf::from(reader.required("data_dir", &mut errors));
        let log = log_choice(&reader.required("log", &mut errors), &data_dir, &mut errors);
        let store = store_choice(&reader.required("store", &mut errors), &data_dir, &mut errors);
        check_archive(&reader.text("archive", "off", &mut errors), &mut errors);
        check_roles(&reader.texts("roles", &mut errors), &mut errors);
        let auth = reader.text("auth", "keys", &mut errors);
        let listen = listen(&mut reader, &auth, &mut errors);
        let (flush_interval, flush_events_max) = flush(&mut reader, &mut errors);
        let embedded = embedded(&mut reader, &mut errors);
        let (body_budget_bytes, connections_max) = http(&mut reader, &mut errors);
        let streams = streams::streams(&mut reader, &mut errors);
        let rollups = streams::rollups(&mut reader, &streams, &mut errors);
        reader.finish(&mut errors);
        if !errors.0.is_empty() {
            return Err(errors.0);
        }
        Ok(Settings {
            data_dir,
            log,
            store,
            listen,
            flush_interval,
            flush_events_max,
            embedded,
            body_budget_bytes,
            connections_max,
            streams,
            rollups,
        })
    }
}

fn log_choice(url: &str, data_dir: &std::path::Path, errors: &mut Errors) -> LogChoice {
    match url.strip_prefix("embedded:") {
        Some("") => return LogChoice::Embedded(data_dir.join("log")),
        Some(path) => return LogChoice::Embedded(PathBuf::from(path)),
        None => {}
    }
    errors.add("log", format!("is embedded: or embedded:PATH, not {url}"));
    LogChoice::Embedded(data_dir.join("log"))
}

fn store_choice(url: &str, data_dir: &std::path::Path, errors: &mut Errors) -> StoreChoice {
    match url.strip_prefix("sqlite:") {
        Some("") => return StoreChoice::Sqlite(data_dir.join("streamgauge.db")),
        Some(path) => return StoreChoice::Sqlite(PathBuf::from(path)),
        None => {}
    }
    errors.add("store", format!("is sqlite: or sqlite:PATH, not {url}"));
    StoreChoice::Sqlite(data_dir.join("streamgauge.db"))
}

fn check_archive(url: &str, errors: &mut Errors) {
    if url != "off" {
        errors.add("archive", format!("is \"off\", not {url}"));
    }
}

/// With the embedded log and SQLite one process does everything: a role left out would leave events unread.
fn check_roles(roles: &[String], errors: &mut Errors) {
    for role in roles.iter().filter(|role| !ROLES.contains(&role.as_str())) {
        errors.add("roles", format!("there is no role {role}; there are {}", ROLES.join(", ")));
    }
    let missing: Vec<&str> = ["ingest", "process", "query"]
        .into_iter()
        .filter(|role| !roles.iter().any(|known| known == role))
        .collect();
    if !missing.is_empty() {
        errors.add(
            "roles",
            format!("an embedded log is read by its own process only: add {}", missing.join(", ")),
        );
    }
}

fn listen(reader: &mut Reader<'_>, auth: &str, errors: &mut Errors) -> Vec<Listen> {
    if !matches!(auth, "keys" | "off") {
        errors.add("auth", format!("is keys or off, not {auth}"));
    }
    let mut all = Vec::new();
    for mut item in reader.tables("listen", errors) {
        let address = item.required("address", errors);
        match resolve(&address) {
            None => errors.add(&item.place("address"), format!("is HOST:PORT such as 127.0.0.1:8080, not {address}")),
            Some(resolved) if !resolved.ip().is_loopback() && auth != "off" => errors.add(
                &item.place("address"),
                format!("{address} can be reached from other machines, and there are no keys: listen on 127.0.0.1, or write auth = \"off\" if something in front of it guards it"),
            ),
            Some(_) => {}
        }
        all.push(Listen { address });
        item.finish(errors);
    }
    if all.is_empty() {
        errors.add("listen", "at least one address is needed");
    }
    all
}

fn resolve(address: &str) -> Option<SocketAddr> {
    use std::net::ToSocketAddrs;
    address.to_socket_addrs().ok()?.next()
}

fn flush(reader: &mut Reader<'_>, errors: &mut Errors) -> (Duration, u64) {
    const DEFAULTS: (Duration, u64) = (Duration::from_millis(250), 50_000);
    let Some(mut flush) = reader.table("flush", errors) else { return DEFAULTS };
    let interval = flush.duration("interval", DEFAULTS.0, errors);
    let events_max = flush.count("max_events", DEFAULTS.1, errors);
    if events_max == 0 {
        errors.add(&flush.place("max_events"), "is at least 1");
    }
    flush.finish(errors);
    (interval, events_max)
}

fn embedded(reader: &mut Reader<'_>, errors: &mut Errors) -> Embedded {
    let defaults = Embedded {
        segment_bytes: 64 << 20,
        pool_bytes_max: 1 << 30,
        keep_bytes: 8 << 30,
        keep_age: Duration::from_secs(86_400),
    };
    let Some(mut table) = reader.table("embedded", errors) else { return defaults };
    let embedded = Embedded {
        segment_bytes: table.size("segment", defaults.segment_bytes, errors),
        pool_bytes_max: table.size("pool", defaults.pool_bytes_max, errors),
        keep_bytes: table.size("keep", defaults.keep_bytes, errors),
        keep_age: table.duration("keep_age", defaults.keep_age, errors),
    };
    if !(1 << 20..=1 << 30).contains(&embedded.segment_bytes) {
        errors.add(&table.place("segment"), "is between 1MiB and 1GiB");
    }
    table.finish(errors);
    embedded
}

fn http(reader: &mut Reader<'_>, errors: &mut Errors) -> (u64, u64) {
    const DEFAULTS: (u64, u64) = (sg_http::BUDGET_BYTES as u64, sg_http::server::CONNECTIONS_MAX as u64);
    let Some(mut http) = reader.table("http", errors) else { return DEFAULTS };
    let budget = http.size("body_budget", DEFAULTS.0, errors);
    let connections = http.count("connections", DEFAULTS.1, errors);
    if !(1 << 20..=1 << 34).contains(&budget) {
        errors.add(&http.place("body_budget"), "is between 1MiB and 16GiB");
    }
    if !(1..=1_000_000).contains(&connections) {
        errors.add(&http.place("connections"), "is between 1 and 1000000");
    }
    http.finish(errors);
    (budget, connections)
}

/// Makes the value of `[[listen]]` from flags such as `127.0.0.1:8000`.
pub(crate) fn listen_value(addresses: &[String]) -> Value {
    let item = |address: &String| {
        let mut table = toml::Table::new();
        table.insert("address".to_owned(), Value::String(address.clone()));
        Value::Table(table)
    };
    Value::Array(addresses.iter().map(item).collect())
}

#[cfg(test)]
mod tests;
