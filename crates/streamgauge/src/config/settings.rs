//! What the configuration means: every rule is checked here, and every error is told at once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sg_archive::{Place, Variables};
use sg_core::archive::FileKind;
use sg_core::definition::{Rollup, Stream};
use sg_core::output::CellShape;
use sg_http::{Answers, Auth, BareMetrics, Origins, Roles};
use toml::Value;

use super::archive::{self, LineArchive, StreamArchive};
use super::auth::{auth, unguarded};
use super::cloudwatch::{self, CloudWatchSettings};
use super::layers::Layers;
use super::limits::{self, Limits};
use super::reader::{Errors, Keys, Reader};
use super::redacted::without_password;
use super::traces::TraceSettings;
use super::{outputs, streams};

/// Everything a server needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) log: LogChoice,
    pub(crate) store: StoreChoice,
    /// Where streams are archived that do not say otherwise; `None` is nowhere.
    pub(crate) archive: Option<Place>,
    /// The variables by which buckets are reached.
    pub(crate) aws: Variables,
    pub(crate) auth: Auth,
    /// Whether the process's own metrics are told without a key.
    pub(crate) is_metrics_open: bool,
    pub(crate) listen: Vec<Listen>,
    pub(crate) flush_interval: Duration,
    pub(crate) flush_events_max: u64,
    pub(crate) embedded: Embedded,
    pub(crate) kafka: Kafka,
    pub(crate) roles: Roles,
    pub(crate) body_budget_bytes: u64,
    pub(crate) connections_max: u64,
    pub(crate) cors_origins: Origins,
    pub(crate) limits: Limits,
    pub(crate) streams: Vec<StreamSettings>,
    pub(crate) rollups: Vec<Rollup>,
    /// Where metrics are published; `None` when they are not.
    pub(crate) cloudwatch: Option<CloudWatchSettings>,
    /// Where traces go; `None` when nothing is traced.
    pub(crate) traces: Option<TraceSettings>,
    /// What is right and yet does not do what it says.
    pub(crate) notes: Vec<String>,
}

/// Which log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogChoice {
    /// Segment files in this directory.
    Embedded(PathBuf),
    /// Topics of these brokers, HOST:PORT with commas between.
    Kafka(String),
}

/// Which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreChoice {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database, by its URL.
    Postgres(String),
}

/// One listening address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) address: String,
    pub(crate) metrics: BareMetrics,
    /// The files of the certificate and its key, where it speaks TLS.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

impl Listen {
    /// Returns whether only this machine can reach the address.
    pub(crate) fn is_loopback(&self) -> bool {
        resolve(&self.address).is_some_and(|resolved| resolved.ip().is_loopback())
    }

    /// Returns how URLs of the address begin.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Sizes of the embedded log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Embedded {
    pub(crate) segment_bytes: u64,
    pub(crate) pool_bytes_max: u64,
    pub(crate) keep_bytes: u64,
    pub(crate) keep_age: Duration,
}

/// How topics are made and shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kafka {
    /// The group whose members share the partitions: one for each store.
    pub(crate) group: String,
    /// Partitions of topics that are made.
    pub(crate) partitions: u32,
    /// Copies of topics that are made; as many as there are brokers, at most 3, where not set.
    pub(crate) replication: Option<u16>,
    /// How long a member may be silent before its partitions go to others.
    pub(crate) session_timeout: Duration,
    /// Bytes of records read ahead of the fold.
    pub(crate) read_ahead_bytes: u64,
    /// Settings of the client library, passed on as they are.
    pub(crate) properties: Vec<(String, String)>,
}

/// A stream and what only the log and the doors need of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamSettings {
    pub(crate) stream: Stream,
    pub(crate) topic: String,
    pub(crate) paths: Vec<String>,
    pub(crate) answer: Answers,
    /// How the stream is archived; `None` when it is not.
    pub(crate) archive: Option<StreamArchive>,
    /// The stream's files of closed windows, if any.
    pub(crate) archive_closed: Option<LineArchive>,
    /// The stream's files of late events, if any.
    pub(crate) archive_late: Option<LineArchive>,
}

const ROLES: [&str; 4] = ["ingest", "process", "query", "archive"];

impl Settings {
    /// Returns the streams that are archived, each with where to.
    pub(crate) fn archived(&self) -> Vec<(&StreamSettings, &StreamArchive, &Place)> {
        let mut archived = Vec::new();
        for stream in &self.streams {
            let Some(archive) = &stream.archive else { continue };
            if let Some(place) = archive.place.as_ref().or(self.archive.as_ref()) {
                archived.push((stream, archive, place));
            }
        }
        archived
    }

    /// Returns the files of closed windows and late events, each with where to.
    pub(crate) fn line_files(&self) -> Vec<(&StreamSettings, FileKind, &LineArchive, &Place)> {
        let mut files = Vec::new();
        for stream in &self.streams {
            let of_stream =
                [(FileKind::Closed, &stream.archive_closed), (FileKind::Late, &stream.archive_late)];
            for (kind, lines) in of_stream {
                let Some(lines) = lines else { continue };
                if let Some(place) = lines.place.as_ref().or(self.archive.as_ref()) {
                    files.push((stream, kind, lines, place));
                }
            }
        }
        files
    }

    /// Has flushes write lines for the files that somebody writes: this process, or another one that shares the store.
    fn ask_for_lines(&mut self) {
        let is_shared = matches!((&self.log, &self.store), (LogChoice::Kafka(_), StoreChoice::Postgres(_)));
        if !self.roles.archive && !is_shared {
            return;
        }
        let wanted: Vec<(String, FileKind, CellShape)> = self
            .line_files()
            .into_iter()
            .map(|(stream, kind, lines, _)| (stream.stream.name.clone(), kind, lines.shape.clone()))
            .collect();
        for (name, kind, shape) in wanted {
            for settings in self.streams.iter_mut().filter(|settings| settings.stream.name == name) {
                let files = &mut settings.stream.outputs.files;
                *(if kind == FileKind::Late { &mut files.late } else { &mut files.closed }) =
                    Some(shape.clone());
            }
        }
    }

    /// Reads the merged layers.
    ///
    /// # Errors
    /// Every fault of the configuration, each with its place.
    pub(crate) fn resolve(layers: &Layers) -> Result<Settings, Vec<String>> {
        Settings::resolve_noting(layers, None)
    }

    /// The same, and notes every key that is asked for.
    pub(crate) fn resolve_noting(layers: &Layers, keys: Keys) -> Result<Settings, Vec<String>> {
        let mut errors = Errors::noting(keys);
        let mut reader = Reader::new(&layers.table, "");
        let data_dir = PathBuf::from(reader.required("data_dir", &mut errors));
        let log = log_choice(&reader.required("log", &mut errors), &data_dir, &mut errors);
        let store = store_choice(&reader.required("store", &mut errors), &data_dir, &mut errors);
        let archive = archive::place("archive", &reader.text("archive", "off", &mut errors), &mut errors);
        let roles = roles(&reader.texts("roles", &mut errors), &log, &store, &mut errors);
        let auth = auth(&mut reader, &mut errors);
        let is_metrics_open = reader.switch("open_metrics", false, &mut errors);
        let listen = listen(&mut reader, &mut errors);
        let (flush_interval, flush_events_max) = flush(&mut reader, &mut errors);
        let embedded = embedded(&mut reader, &mut errors);
        let kafka = kafka(&mut reader, &mut errors);
        let (body_budget_bytes, connections_max, cors_origins) = http(&mut reader, &mut errors);
        let limits = limits::limits(&mut reader, &mut errors);
        let mut streams = streams::streams(&mut reader, &mut errors);
        let rollups = streams::rollups(&mut reader, &streams, &mut errors);
        outputs::check(&streams, &rollups, &mut errors);
        let is_embedded = matches!(log, LogChoice::Embedded(_));
        let note = if is_embedded { outputs::without_kafka(&mut streams) } else { None };
        let displaced = streams::displaced(&streams, &rollups);
        let needs_key = matches!(auth, Auth::Keys { given: None });
        let reached = listen.iter().find(|listen| !listen.is_loopback()).filter(|_| needs_key);
        let unguarded = reached.map(|listen| unguarded(&listen.address));
        let cloudwatch = cloudwatch::cloudwatch(&mut reader, &layers.variables, &mut errors);
        let traces = TraceSettings::of(&layers.variables, &mut errors);
        reader.finish(&mut errors);
        if !errors.0.is_empty() {
            return Err(errors.0);
        }
        let mut settings = Settings {
            data_dir,
            log,
            store,
            archive,
            aws: Variables::of(&layers.variables),
            auth,
            is_metrics_open,
            listen,
            flush_interval,
            flush_events_max,
            embedded,
            kafka,
            roles,
            body_budget_bytes,
            connections_max,
            cors_origins,
            limits,
            streams,
            rollups,
            cloudwatch,
            notes: {
                let of_traces = traces.iter().flat_map(|traces| traces.notes.clone());
                note.into_iter().chain(displaced).chain(unguarded).chain(of_traces).collect()
            },
            traces,
        };
        settings.ask_for_lines();
        Ok(settings)
    }
}

fn log_choice(url: &str, data_dir: &std::path::Path, errors: &mut Errors) -> LogChoice {
    match url.strip_prefix("embedded:") {
        Some("") => return LogChoice::Embedded(data_dir.join("log")),
        Some(path) => return LogChoice::Embedded(PathBuf::from(path)),
        None => {}
    }
    match url.strip_prefix("kafka://") {
        Some(brokers) if !brokers.is_empty() && cfg!(feature = "kafka") => {
            return LogChoice::Kafka(brokers.trim_end_matches('/').to_owned());
        }
        Some(_) if !cfg!(feature = "kafka") => {
            errors.add("log", "this binary was built without the feature kafka");
        }
        _ => errors.add(
            "log",
            format!(
                "is embedded:, embedded:PATH or kafka://HOST:PORT[,HOST:PORT…], not {}",
                without_password(url)
            ),
        ),
    }
    LogChoice::Embedded(data_dir.join("log"))
}

fn store_choice(url: &str, data_dir: &std::path::Path, errors: &mut Errors) -> StoreChoice {
    match url.strip_prefix("sqlite:") {
        Some("") => return StoreChoice::Sqlite(data_dir.join("streamgauge.db")),
        Some(path) => return StoreChoice::Sqlite(PathBuf::from(path)),
        None => {}
    }
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if is_postgres && cfg!(feature = "postgres") {
        return StoreChoice::Postgres(url.to_owned());
    }
    if is_postgres {
        errors.add("store", "this binary was built without the feature postgres");
    } else {
        errors.add(
            "store",
            format!(
                "is sqlite:, sqlite:PATH or postgres://USER@HOST[:PORT]/DATABASE, not {}",
                without_password(url)
            ),
        );
    }
    StoreChoice::Sqlite(data_dir.join("streamgauge.db"))
}

/// Reads what the process does. A split that would leave events unread or uncounted is refused with what to do.
fn roles(names: &[String], log: &LogChoice, store: &StoreChoice, errors: &mut Errors) -> Roles {
    for role in names.iter().filter(|role| !ROLES.contains(&role.as_str())) {
        errors.add("roles", format!("there is no role {role}; there are {}", ROLES.join(", ")));
    }
    let has = |name: &str| names.iter().any(|known| known == name);
    let roles = Roles {
        ingest: has("ingest"),
        process: has("process"),
        query: has("query"),
        archive: has("archive"),
    };
    if names.is_empty() {
        errors.add("roles", format!("at least one is needed of {}", ROLES.join(", ")));
    }
    let missing =
        |needed: &[&str]| needed.iter().filter(|role| !has(role)).copied().collect::<Vec<_>>().join(", ");
    if let LogChoice::Embedded(_) = log {
        let missing = missing(&["ingest", "process", "query"]);
        if !missing.is_empty() {
            errors.add(
                "roles",
                format!(
                    "an embedded log is read by its own process only: add {missing}, or use log = \"kafka://…\" and store = \"postgres://…\""
                ),
            );
        }
    } else if let StoreChoice::Sqlite(_) = store {
        let missing = missing(&["process", "query"]);
        if !missing.is_empty() {
            errors.add(
                "roles",
                format!(
                    "a SQLite store belongs to one process: add {missing}, or use store = \"postgres://…\""
                ),
            );
        }
    }
    roles
}

fn listen(reader: &mut Reader<'_>, errors: &mut Errors) -> Vec<Listen> {
    let mut all = Vec::new();
    for mut item in reader.tables("listen", errors) {
        let address = item.required("address", errors);
        if resolve(&address).is_none() {
            errors.add(&item.place("address"), format!("is HOST:PORT such as 127.0.0.1:8080, not {address}"));
        }
        let metrics = bare_metrics(&mut item, &address, errors);
        let tls = item.table_or_off("tls", errors).map(|table| pair(table, errors));
        all.push(Listen { address, metrics, tls });
        item.finish(errors);
    }
    if all.is_empty() {
        errors.add("listen", "at least one address is needed");
    }
    all
}

/// Reads the files of a certificate and its key.
fn pair(mut table: Reader<'_>, errors: &mut Errors) -> (PathBuf, PathBuf) {
    let pair = (table.required("cert", errors), table.required("key", errors));
    table.finish(errors);
    (PathBuf::from(pair.0), PathBuf::from(pair.1))
}

/// Reads what `/metrics` answers; on port 8000 the rows of the API that has always been there.
fn bare_metrics(item: &mut Reader<'_>, address: &str, errors: &mut Errors) -> BareMetrics {
    let default = if address.ends_with(":8000") { "rows" } else { "prometheus" };
    match item.text("metrics", default, errors).as_str() {
        "rows" => BareMetrics::Rows,
        "prometheus" => BareMetrics::Prometheus,
        other => {
            errors.add(&item.place("metrics"), format!("is prometheus or rows, not {other}"));
            BareMetrics::Prometheus
        }
    }
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

fn kafka(reader: &mut Reader<'_>, errors: &mut Errors) -> Kafka {
    let defaults = Kafka {
        group: "streamgauge".to_owned(),
        partitions: 6,
        replication: None,
        session_timeout: Duration::from_secs(10),
        read_ahead_bytes: 64 << 20,
        properties: Vec::new(),
    };
    let Some(mut table) = reader.table("kafka", errors) else { return defaults };
    let replication = table.count("replication", 0, errors);
    let kafka = Kafka {
        group: table.text("group", &defaults.group, errors),
        partitions: u32::try_from(table.count("partitions", defaults.partitions.into(), errors)).unwrap_or(0),
        replication: u16::try_from(replication).ok().filter(|copies| *copies > 0),
        session_timeout: table.duration("session_timeout", defaults.session_timeout, errors),
        read_ahead_bytes: table.size("read_ahead", defaults.read_ahead_bytes, errors),
        properties: table.pairs("properties", errors),
    };
    if !(1..=10_000).contains(&kafka.partitions) {
        errors.add(&table.place("partitions"), "is between 1 and 10000");
    }
    if kafka.group.is_empty() {
        errors.add(&table.place("group"), "is a name: processes that share it share the work");
    }
    if !(Duration::from_secs(1)..=Duration::from_secs(1_800)).contains(&kafka.session_timeout) {
        errors.add(&table.place("session_timeout"), "is between 1s and 30m");
    }
    if !(1 << 20..=1 << 34).contains(&kafka.read_ahead_bytes) {
        errors.add(&table.place("read_ahead"), "is between 1MiB and 16GiB");
    }
    table.finish(errors);
    kafka
}

fn http(reader: &mut Reader<'_>, errors: &mut Errors) -> (u64, u64, Origins) {
    const DEFAULTS: (u64, u64) = (sg_http::BUDGET_BYTES as u64, sg_http::server::CONNECTIONS_MAX as u64);
    let Some(mut http) = reader.table("http", errors) else {
        return (DEFAULTS.0, DEFAULTS.1, Origins::default());
    };
    let budget = http.size("body_budget", DEFAULTS.0, errors);
    let connections = http.count("connections", DEFAULTS.1, errors);
    let origins = Origins::new(http.texts("cors_origins", errors));
    for wrong in origins.wrong() {
        let rule = "is an origin such as https://dashboard.example or http://localhost:*, or \"*\"";
        errors.add(&http.place("cors_origins"), format!("{wrong} {rule}"));
    }
    if !(1 << 20..=1 << 34).contains(&budget) {
        errors.add(&http.place("body_budget"), "is between 1MiB and 16GiB");
    }
    if !(1..=1_000_000).contains(&connections) {
        errors.add(&http.place("connections"), "is between 1 and 1000000");
    }
    http.finish(errors);
    (budget, connections, origins)
}

/// Makes the value of `[[listen]]` from flags such as `127.0.0.1:8000` or `127.0.0.1:9000,metrics=rows`.
pub(crate) fn listen_value(addresses: &[String]) -> Value {
    let item = |flag: &String| {
        let mut parts = flag.split(',');
        let mut table = toml::Table::new();
        let address = parts.next().unwrap_or_default().to_owned();
        table.insert("address".to_owned(), Value::String(address));
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            table.insert(key.to_owned(), Value::String(value.to_owned()));
        }
        Value::Table(table)
    };
    Value::Array(addresses.iter().map(item).collect())
}

#[cfg(test)]
mod tests;
