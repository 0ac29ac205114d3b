//! What anybody sees who opens the file with SQLite's own tools.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use sg_core::ports::{MAIN_LANE, OutboxKind, RollupReader as _, RollupWriter as _, StatusDetail};
use sg_core::testing::store_suite::{Feed, ManualClock, StoreUnderTest, T0, rollups};
use sg_core::time::Timestamp;

use super::*;
use crate::sqlite::tests::Fresh;

/// Returns the column names and rows of a select, as text.
fn select(fresh: &Fresh, sql: &str) -> String {
    let connection = Connection::open(fresh.path()).expect("the store exists");
    let mut statement = connection.prepare(sql).expect("the select is sound");
    let mut lines = vec![statement.column_names().collect::<Vec<_>>().join("|")];
    let columns = statement.column_count();
    let mut rows = statement.query([]).expect("the select runs");
    while let Some(row) = rows.next().expect("the select runs") {
        let cells = (0..columns).map(|at| match row.get(at).expect("the column exists") {
            Sql::Null => String::new(),
            Sql::Integer(value) => value.to_string(),
            Sql::Real(value) => format!("{value}"),
            Sql::Text(text) => text,
            Sql::Blob(_) => "blob".to_owned(),
        });
        lines.push(cells.collect::<Vec<_>>().join("|"));
    }
    lines.join("\n")
}

async fn filled() -> Fresh {
    let fresh = Fresh::new();
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    let hour_before_1970 = -T0 - 3_600_000;
    feed.write(
        &fresh,
        120_000,
        &[
            (hour_before_1970, "old", "-1.50"),
            (0, "a", "1.25"),
            (59_999, "a", "2"),
            (90_000, "b", "9999999999999999.99"),
        ],
    )
    .await;
    feed.write(&fresh, 120_000, &[(120_000, "c", "1"), (1_234, "a", "-0.5")]).await;
    fresh
}

#[tokio::test]
async fn shows_rollups() {
    let fresh = filled().await;
    assert_eq!(
        select(&fresh, "SELECT * FROM by_type"),
        "event_type|window_start|window_end|event_count|total|least|most|mean|late_count|revision|is_final\n\
         old|1969-12-31T23:00:00Z|1969-12-31T23:01:00Z|1|-1.5|-1.5|-1.5|-1.5|0|0|1\n\
         a|2025-01-01T00:00:00Z|2025-01-01T00:01:00Z|3|2.75|-0.5|2|0.91666667|1|1|1\n\
         b|2025-01-01T00:01:00Z|2025-01-01T00:02:00Z|1|9999999999999999.99|9999999999999999.99|9999999999999999.99|\
         10000000000000000|0|0|0\n\
         c|2025-01-01T00:02:00Z|2025-01-01T00:03:00Z|1|1|1|1|1|0|0|0"
    );
}

#[tokio::test]
async fn shows_panes_as_windows() {
    let fresh = filled().await;
    assert_eq!(
        select(&fresh, "SELECT * FROM by_hour"),
        "window_start|window_end|event_count|total|least|most|mean|late_count|revision|is_final\n\
         1969-12-31T23:00:00Z|1970-01-01T00:00:00Z|1|-1.5|-1.5|-1.5|-1.5|0|0|1\n\
         2025-01-01T00:00:00Z|2025-01-01T01:00:00Z|5|10000000000000003.74|-0.5|9999999999999999.99|2000000000000000.8|0|0|0"
    );
}

#[tokio::test]
async fn shows_raw_events_under_two_names() {
    let fresh = filled().await;
    assert_eq!(
        select(&fresh, "SELECT * FROM events WHERE event_name = 'a' LIMIT 2"),
        "event_id|user_id|session_id|event_name|metadata|timestamp|processed_at\n\
         e0-1|u1||a|{\"amount\":\"1.25\"}|2025-01-01T00:00:00Z|2025-01-01T00:00:00Z\n\
         e0-2|u2||a|{\"amount\":\"2\"}|2025-01-01T00:00:59.999Z|2025-01-01T00:00:00Z"
    );
    assert_eq!(
        select(&fresh, "SELECT * FROM web_events WHERE id = 5"),
        "id|event_id|session_id|event_type|ts|payload\n5|e0-5||a|2025-01-01T00:00:01.234Z|{\"amount\":\"-0.5\"}"
    );
}

#[tokio::test]
async fn answers_the_query_of_the_hourly_aggregations() {
    let fresh = Fresh::new();
    let mut hourly = rollups().remove(1);
    hourly.name = "hourly_aggregations".to_owned();
    hourly.by = vec!["event_type".to_owned()];
    hourly.measures.truncate(1);
    let mut feed = Feed::claim(&fresh, &[hourly], 0).await;
    feed.write(&fresh, 0, &[(0, "a", "1"), (-1_800_000, "a", "1"), (-3_600_001, "a", "1"), (0, "b", "1")])
        .await;
    assert_eq!(
        select(
            &fresh,
            "SELECT event_type, SUM(event_count) AS total FROM hourly_aggregations GROUP BY event_type"
        ),
        "event_type|total\na|3\nb|1"
    );
    assert_eq!(
        select(&fresh, "SELECT * FROM hourly_aggregations LIMIT 1"),
        "event_type|window_start|window_end|event_count|late_count|revision|is_final\n\
         a|2024-12-31T22:00:00Z|2024-12-31T23:00:00Z|1|1|0|1"
    );
}

#[test]
fn writes_times_as_the_api_does() {
    let connection = Connection::open_in_memory().expect("memory is there");
    let sql = format!("SELECT {}", time_text("?1"));
    let day = 86_400_000;
    for ms in [
        0,
        1,
        999,
        1_000,
        -1,
        -999,
        -1_000,
        -1_001,
        T0,
        T0 + 123,
        -62_135_596_800_000,
        253_402_300_799_999,
        -day,
    ] {
        let text: String = connection.query_row(&sql, [ms], |row| row.get(0)).expect("it is an expression");
        assert_eq!(text, Timestamp(ms).to_string());
    }
}

#[tokio::test]
async fn keeps_what_is_no_longer_defined() {
    let mut fresh = filled().await;
    let before = select(&fresh, "SELECT * FROM by_hour");
    fresh.reopen().await;
    let mut feed = Feed::claim(&fresh, &rollups()[..1], 0).await;
    feed.write(&fresh, 120_000, &[(0, "a", "1")]).await;
    assert_eq!(select(&fresh, "SELECT * FROM by_hour"), before);
    assert!(crate::sqlite::SqliteStore::open(&fresh.path(), Arc::new(ManualClock::default())).is_ok());
}

/// What an older version left to be told is told by this one.
#[tokio::test]
async fn takes_over_the_outbox_of_the_first_schema() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let path = folder.path().join("store.db");
    let old = Connection::open(&path).expect("the folder is new");
    old.execute_batch(MIGRATIONS[0]).expect("the first schema is sound");
    old.execute_batch(
        "PRAGMA user_version = 1; INSERT INTO sg_streams VALUES ('orders', 0, 8); \
         INSERT INTO sg_outbox VALUES ('orders', 7, 'closed', 'by_type', 60000, '[\"a\"]', 0), \
         ('orders', 8, 'corrected', 'by_type', 0, '[\"b\"]', 2)",
    )
    .expect("it has these tables");
    drop(old);
    let clock = Arc::new(ManualClock::at(Timestamp(T0)));
    let store = crate::sqlite::SqliteStore::open(&path, clock).expect("it is migrated");
    let rows = store.outbox("orders", MAIN_LANE, 10).await.expect("nothing fails");
    let shown: Vec<_> =
        rows.iter().map(|row| (row.id, row.kind, row.revision, row.event.is_some())).collect();
    assert_eq!(shown, [(7, OutboxKind::Closed, 0, false), (8, OutboxKind::Corrected, 2, false)]);
    let status = store.status(StatusDetail::Marks).await.expect("nothing fails");
    assert_eq!((status.outboxes.len(), status.outboxes[0].rows), (1, 2));
}
