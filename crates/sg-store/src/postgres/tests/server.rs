//! The server that the tests run on, and a database of its own for each test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use sg_core::ports::{Manifest, Rewriter, RollupReader, RollupWriter};
use sg_core::testing::store_suite::{ManualClock, StoreUnderTest, T0};
use sg_core::time::Timestamp;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::postgres::PostgresStore;

/// Names the server, as postgres://user@host:port/database with the right to make databases.
const VARIABLE: &str = "STREAMGAUGE_TEST_POSTGRES";

/// Returns the server's URL; `None` when there is none, which only a laptop may get away with.
pub(crate) fn url() -> Option<String> {
    if let Ok(url) = std::env::var(VARIABLE) {
        return Some(url);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{VARIABLE} names the server for the tests"
    );
    #[allow(clippy::print_stderr, reason = "whoever runs the tests must see that one did not")]
    {
        eprintln!("skipped: {VARIABLE} names no server");
    }
    None
}

/// Returns the URL of another database of the same server.
pub(crate) fn url_of(server: &str, database: &str) -> String {
    let (front, query) =
        server.split_once('?').map_or((server, String::new()), |(front, query)| (front, format!("?{query}")));
    let host_from = front.find("://").map_or(0, |at| at + 3);
    let host_to = front[host_from..].find('/').map_or(front.len(), |at| host_from + at);
    format!("{}/{database}{query}", &front[..host_to])
}

/// Connects as anybody would.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server is there");
    tokio::spawn(connection);
    client
}

/// A name that no other test of any process uses.
pub(crate) fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("sg_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A store in a database of its own.
pub(crate) struct Fresh {
    server: String,
    database: String,
    clock: Arc<ManualClock>,
    store: PostgresStore,
}

impl Fresh {
    /// Makes the database, by way of the store's own check.
    pub(crate) async fn new() -> Option<Fresh> {
        let server = url()?;
        let database = fresh_name();
        let clock = Arc::new(ManualClock::at(Timestamp(T0)));
        let store = open(&url_of(&server, &database), clock.clone()).await;
        store.check().await.expect("the server is sound, and its user may make databases");
        Some(Fresh { server, database, clock, store })
    }

    /// Returns the store.
    pub(crate) fn store(&self) -> &PostgresStore {
        &self.store
    }

    /// Opens the same store as another process would.
    pub(crate) async fn other(&self) -> PostgresStore {
        open(&self.url(), self.clock.clone()).await
    }

    pub(crate) fn url(&self) -> String {
        url_of(&self.server, &self.database)
    }

    /// A connection such as anybody's.
    pub(crate) async fn outside(&self) -> Client {
        connect(&self.url()).await
    }

    /// Drops the database.
    pub(crate) async fn drop(self) {
        self.store.close().await;
        drop_database(&self.server, &self.database).await;
    }
}

pub(crate) async fn open(url: &str, clock: Arc<ManualClock>) -> PostgresStore {
    PostgresStore::open(url, clock).await.expect("the URL is sound")
}

pub(crate) async fn drop_database(server: &str, database: &str) {
    let sql = format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)");
    connect(server).await.batch_execute(&sql).await.expect("nobody else is in it");
}

/// Returns the column names and rows of a select, as text.
pub(crate) async fn select(client: &Client, sql: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for message in client.simple_query(sql).await.expect("the select runs") {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                lines.push(columns.iter().map(|column| column.name()).collect::<Vec<_>>().join("|"));
            }
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|at| row.get(at).unwrap_or_default());
                lines.push(cells.collect::<Vec<_>>().join("|"));
            }
            _ => {}
        }
    }
    lines.join("\n")
}

#[async_trait]
impl StoreUnderTest for Fresh {
    fn writer(&self) -> &dyn RollupWriter {
        &self.store
    }

    fn reader(&self) -> &dyn RollupReader {
        &self.store
    }

    fn manifest(&self) -> &dyn Manifest {
        &self.store
    }

    fn rewriter(&self) -> &dyn Rewriter {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = self.other().await;
    }

    fn fail_after(&self, steps: Option<u32>) {
        self.store.fail_after(steps);
    }
}

/// Waits until something holds; asking is the only pause.
pub(crate) async fn until(holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect("it holds before long");
}
