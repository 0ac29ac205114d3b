//! Stores for tests, by kind: a file that goes with its folder, or a database of its own on a real server.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sg_core::plan::Plan;
use sg_core::ports::{RollupReader, RollupWriter};
use sg_core::time::Clock;
use sg_store::postgres::PostgresStore;
use sg_store::sqlite::SqliteStore;
use tempfile::TempDir;

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A store that goes when the test ends.
pub(crate) struct Store {
    pub(crate) writer: Arc<dyn RollupWriter>,
    pub(crate) reader: Arc<dyn RollupReader>,
    _place: Place,
}

/// Where a store's data is.
enum Place {
    Folder(#[allow(dead_code, reason = "held until the test ends")] TempDir),
    Database(#[allow(dead_code, reason = "held until the test ends")] Database),
}

impl Store {
    /// Opens an empty store that is prepared for a plan; `None` where there is no server for it and need not be.
    pub(crate) async fn open(kind: Kind, plan: &Plan, clock: Arc<dyn Clock>) -> Option<Store> {
        let store = match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                let path = folder.path().join("test.db");
                let store = Arc::new(SqliteStore::open(&path, clock).expect("a store"));
                Store { writer: store.clone(), reader: store, _place: Place::Folder(folder) }
            }
            Kind::Postgres => {
                let database = Database::named(&server("STREAMGAUGE_TEST_POSTGRES")?);
                let store = Arc::new(PostgresStore::open(&database.url, clock).await.expect("a store"));
                Store { writer: store.clone(), reader: store, _place: Place::Database(database) }
            }
        };
        store.prepare(plan).await;
        Some(store)
    }

    /// Makes the tables of a plan.
    pub(crate) async fn prepare(&self, plan: &Plan) {
        let rollups: Vec<_> = plan.rollups.iter().map(|planned| planned.rollup.clone()).collect();
        self.writer.prepare(std::slice::from_ref(&plan.stream), &rollups).await.expect("prepared");
    }
}

/// Returns the address of a real server; `None` where there need not be one.
pub(crate) fn server(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|address| !address.is_empty());
    if found.is_none() {
        assert!(std::env::var("CI").is_err(), "{variable} is not set: in CI every server is there");
        // Nothing can be done about a stderr that is gone.
        writeln!(std::io::stderr(), "skipped: {variable} is not set").ok();
    }
    found
}

/// Returns a name that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    format!("{prefix}_{}_{now:x}_{count}", std::process::id())
}

/// A database that is dropped with the test.
pub(crate) struct Database {
    server: String,
    name: String,
    pub(crate) url: String,
}

impl Database {
    /// Names a database on a server; the store makes it.
    fn named(server: &str) -> Database {
        let name = unique("pipeline");
        let (base, _) = server.rsplit_once('/').expect("a URL with a database");
        Database { server: server.to_owned(), url: format!("{base}/{name}"), name }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own: the test's may be the one that is dropping this.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let connected = tokio_postgres::connect(&server, tokio_postgres::NoTls).await;
                let (client, connection) = connected.map_err(std::io::Error::other)?;
                tokio::spawn(connection);
                let drop = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
                client.batch_execute(&drop).await.map_err(std::io::Error::other)
            })
        });
        // A server that is gone has no database either.
        dropping.join().ok();
    }
}

/// Lets time pass: the one place where these tests do so.
pub(crate) async fn pause(time: Duration) {
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}

/// Waits until a condition holds; panics naming it when it does not in time.
pub(crate) async fn until<F, R>(within: Duration, what: &str, mut holds: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        pause(Duration::from_millis(20)).await;
    }
}
