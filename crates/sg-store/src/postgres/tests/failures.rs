//! What fails while a flush is under way, and what is left behind.

use std::sync::Arc;
use std::time::Duration;

use sg_core::flush::Flush;
use sg_core::ports::{ErrorKind, FlushOutcome, MAIN_LANE, RollupReader, RollupWriter, StatusDetail};
use sg_core::testing::store_suite::{self as suite, Feed, ManualClock, StoreUnderTest, rollups};

use super::server::{self, Fresh};

/// Returns where partition 0 stands; asks again while connections are being lost.
async fn next_offset(fresh: &Fresh) -> u64 {
    for _ in 0..100 {
        match fresh.writer().checkpoint("orders", 0).await {
            Ok(checkpoint) => return checkpoint.next_offset,
            Err(error) => assert_eq!(error.kind, ErrorKind::Retry, "{error}"),
        }
    }
    panic!("the server lets nobody in");
}

/// Flushes until the store has it, whatever happens on the way.
async fn flush_at_last(fresh: &Fresh, flush: &Arc<Flush>) {
    for _ in 0..100 {
        match fresh.writer().flush(flush.clone()).await {
            Ok(FlushOutcome::Done) => return,
            Ok(FlushOutcome::Missed { next_offset, .. }) => return assert_eq!(next_offset, flush.end),
            Ok(outcome) => panic!("{outcome:?}"),
            Err(error) => assert_eq!(error.kind, ErrorKind::Retry, "{error}"),
        }
    }
    panic!("the flush never came through");
}

async fn none_is_left_in_a_transaction(client: &tokio_postgres::Client) {
    let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
               AND backend_type = 'client backend' AND state <> 'idle' \
               AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')";
    server::until(async || client.query(sql, &[]).await.expect("anybody may look").is_empty()).await;
}

fn events(round: i64) -> Vec<(i64, &'static str, &'static str)> {
    let kinds = ["a", "b", "c", "d"];
    (0..400).map(|at| (round % 5 * 60_000 + at, kinds[at as usize % 4], "1.5")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_backend_leaves_all_or_nothing() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    let outside = fresh.outside().await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut lost = 0;
    for round in 0..40 {
        feed.take_in(300_000, &events(round));
        let flush = feed.take();
        // Looks at the server a few times, so that the blow falls at another place each round.
        let blow = async {
            for _ in 0..round % 10 {
                outside.query("SELECT 1", &[]).await.expect("this connection is spared");
            }
            outside.query(kill, &[]).await.expect("we may");
        };
        let (outcome, ()) = tokio::join!(fresh.writer().flush(flush.clone()), blow);
        match outcome {
            Ok(outcome) => assert_eq!(outcome, FlushOutcome::Done),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Retry, "{error}");
                lost += 1;
            }
        }
        let stored = next_offset(&fresh).await;
        assert!(stored == flush.base || stored == flush.end, "{stored}");
        flush_at_last(&fresh, &flush).await;
    }
    assert!(lost > 5, "only {lost} flushes were hit");
    let state = suite::snapshot(&fresh, &rollups()).await;
    assert_eq!(state.partitions[0].ledger.counted, 40 * 400);
    assert_eq!(state.raw.len(), 40 * 400);
    assert!(
        state.rollups.iter().all(|rollup| rollup.in_cells + rollup.diverted == 40 * 400),
        "{:?}",
        state.rollups
    );
    fresh.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_is_dropped_leaves_no_transaction() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    let outside = fresh.outside().await;
    let mut dropped = 0;
    for round in 0..40_i64 {
        feed.take_in(300_000, &events(round));
        let flush = feed.take();
        let patience = Duration::from_micros(300 * (round as u64 % 20));
        dropped +=
            usize::from(tokio::time::timeout(patience, fresh.writer().flush(flush.clone())).await.is_err());
        flush_at_last(&fresh, &flush).await;
    }
    assert!(dropped > 5, "only {dropped} were dropped");
    none_is_left_in_a_transaction(&outside).await;
    let state = suite::snapshot(&fresh, &rollups()).await;
    assert_eq!(state.partitions[0].ledger.counted, 40 * 400);
    assert!(
        state.rollups.iter().all(|rollup| rollup.in_cells + rollup.diverted == 40 * 400),
        "{:?}",
        state.rollups
    );
    fresh.drop().await;
}

#[tokio::test]
async fn refuses_what_the_tables_cannot_hold() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    let before = suite::snapshot(&fresh, &rollups()).await;
    let outside = fresh.outside().await;
    let faults = [
        (
            "ALTER TABLE sg_cells_by_type ADD CONSTRAINT no_bees CHECK (d0 <> 'b')",
            "no_bees",
            "ALTER TABLE sg_cells_by_type DROP CONSTRAINT no_bees",
        ),
        (
            "ALTER TABLE sg_raw_orders ADD CONSTRAINT no_bees CHECK (event_name <> 'b')",
            "no_bees",
            "ALTER TABLE sg_raw_orders DROP CONSTRAINT no_bees",
        ),
        (
            "ALTER TABLE sg_cells_by_type ALTER m1 TYPE numeric(3, 2)",
            "numeric field overflow",
            "ALTER TABLE sg_cells_by_type ALTER m1 TYPE numeric",
        ),
    ];
    feed.take_in(0, &[(0, "a", "1"), (0, "b", "1000")]);
    let flush = feed.take();
    for (fault, said, mend) in faults {
        // The view stands in the way of a change of type.
        outside
            .batch_execute(&format!("DROP VIEW IF EXISTS by_type; {fault}"))
            .await
            .expect("it is our table");
        match fresh.writer().flush(flush.clone()).await.expect("it is not the store that fails") {
            FlushOutcome::Refused { detail } => assert!(detail.contains(said), "{detail}"),
            outcome => panic!("{fault}: {outcome:?}"),
        }
        outside.batch_execute(mend).await.expect("it is our table");
        assert_eq!(suite::snapshot(&fresh, &rollups()).await, before, "{fault}");
    }
    assert_eq!(fresh.writer().flush(flush).await.expect("nothing fails"), FlushOutcome::Done);
    none_is_left_in_a_transaction(&outside).await;
    fresh.drop().await;
}

#[tokio::test]
async fn waits_for_a_lock_no_longer_than_a_while() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    let mut outside = fresh.outside().await;
    let held = outside.transaction().await.expect("the server is there");
    held.execute("SELECT 1 FROM sg_partitions FOR UPDATE", &[]).await.expect("the row is there");
    feed.take_in(0, &[(0, "a", "1")]);
    let flush = feed.take();
    let waited = fresh.writer().flush(flush.clone()).await.expect_err("another holds the row");
    assert_eq!(waited.kind, ErrorKind::Retry, "{waited}");
    held.rollback().await.expect("it holds a lock only");
    assert_eq!(fresh.writer().flush(flush).await.expect("nothing fails"), FlushOutcome::Done);
    fresh.drop().await;
}

#[tokio::test]
async fn stops_a_question_that_takes_too_long() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    feed.write(&fresh, 0, &[(0, "a", "1")]).await;
    // A question that would end after its time.
    let slow = "ALTER TABLE sg_dead_letters RENAME TO sg_hidden; CREATE VIEW sg_dead_letters AS SELECT h.* \
                FROM (SELECT pg_sleep(60) IS NULL AS slept) AS s LEFT JOIN sg_hidden h ON NOT slept";
    fresh.outside().await.batch_execute(slow).await.expect("it is our table");
    let query = sg_core::query::DeadLetterQuery { limit: 1, ..Default::default() };
    let stopped = fresh.reader().dead_letters(&query).await.expect_err("it takes a minute");
    assert_eq!(stopped.kind, ErrorKind::Retry);
    assert!(stopped.is_overdue() && stopped.to_string().contains("took too long"), "{stopped}");
    fresh.drop().await;
}

#[tokio::test]
async fn stops_a_question_that_waits_for_a_table_too_long() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    feed.write(&fresh, 0, &[(0, "a", "1")]).await;
    let mut outside = fresh.outside().await;
    let held = outside.transaction().await.expect("the server is there");
    held.batch_execute("LOCK TABLE sg_dead_letters IN ACCESS EXCLUSIVE MODE").await.expect("it is our table");
    let query = sg_core::query::DeadLetterQuery { limit: 1, ..Default::default() };
    let stopped = fresh.reader().dead_letters(&query).await.expect_err("another holds the table");
    assert_eq!(stopped.kind, ErrorKind::Retry);
    assert!(stopped.is_overdue() && stopped.to_string().contains("waited too long"), "{stopped}");
    held.rollback().await.expect("it holds a lock only");
    fresh.reader().dead_letters(&query).await.expect("nobody holds it any more");
    fresh.drop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_another_try() {
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("there is one")
        .port();
    let url = format!("postgres://somebody:secret@127.0.0.1:{port}/somewhere");
    let store = server::open(&url, Arc::new(ManualClock::default())).await;
    let answers = [
        store.check().await,
        store.prepare(&[], &[]).await,
        store.status(StatusDetail::Marks).await.map(drop),
        store.sync().await.map(drop),
    ];
    for answer in answers {
        let refused = answer.expect_err("nobody is there");
        assert_eq!(refused.kind, ErrorKind::Retry, "{refused}");
        assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_letter_may_be_dead_for_a_character_the_server_cannot_hold() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    feed.take_in_at(3_600_000, 0, &[(3_600_000, "a", "1")]);
    let mut flush = Arc::into_inner(feed.take()).expect("nobody else has it");
    flush.dead_letters[0].event_id = "e\0".to_owned();
    flush.dead_letters[0].raw = b"{\0}".to_vec();
    assert_eq!(fresh.writer().flush(Arc::new(flush)).await.expect("nothing fails"), FlushOutcome::Done);
    let query = sg_core::query::DeadLetterQuery { limit: 1, ..Default::default() };
    let letters = fresh.reader().dead_letters(&query).await.expect("nothing fails");
    assert_eq!((letters[0].event_id.as_str(), letters[0].raw.as_slice()), ("e\u{fffd}", &b"{\0}"[..]));
    fresh.drop().await;
}

#[tokio::test]
async fn refuses_a_newer_schema() {
    let Some(fresh) = Fresh::new().await else { return };
    fresh.writer().prepare(&[], &[]).await.expect("nothing is asked for");
    fresh.outside().await.batch_execute("UPDATE sg_schema SET version = 99").await.expect("it is our table");
    let refused = fresh.writer().prepare(&[], &[]).await.expect_err("it is newer");
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.to_string().contains("version 99"), "{refused}");
    fresh.drop().await;
}

/// What an older version left to be told is told by this one, and a process of that version may still add to it.
#[tokio::test]
async fn takes_over_the_outbox_of_the_first_schema() {
    let Some(fresh) = Fresh::new().await else { return };
    fresh.store().check().await.expect("the database is made");
    let outside = fresh.outside().await;
    let first = include_str!("../../../sql/postgres/0001_store.sql");
    outside.batch_execute(first).await.expect("the first schema is sound");
    let rows = "INSERT INTO sg_outbox (stream, id, kind, rollup, window_start, dimensions, revision) VALUES \
                ('orders', 7, 'closed', 'by_type', 'epoch', '[\"a\"]', 0)";
    let version = "CREATE TABLE sg_schema (version bigint NOT NULL); INSERT INTO sg_schema VALUES (1); \
                   INSERT INTO sg_streams VALUES ('orders', 'epoch', 8)";
    outside.batch_execute(&format!("{version}; {rows}")).await.expect("it has these tables");
    fresh.writer().prepare(&[], &[]).await.expect("it is migrated");
    outside
        .batch_execute(&rows.replace("7, 'closed'", "8, 'corrected'"))
        .await
        .expect("as the older one writes");
    let rows = fresh.writer().outbox("orders", MAIN_LANE, 10).await.expect("nothing fails");
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [7, 8]);
    let status = fresh.reader().status(StatusDetail::Marks).await.expect("nothing fails");
    assert_eq!((status.outboxes.len(), status.outboxes[0].rows), (1, 2));
    fresh.drop().await;
}
