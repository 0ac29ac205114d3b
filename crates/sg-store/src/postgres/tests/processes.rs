//! Several processes on one store.

use std::collections::BTreeMap;
use std::sync::Arc;

use sg_core::definition::{Function, Rollup};
use sg_core::plan::Plan;
use sg_core::ports::{
    Claim, ErrorKind, FlushOutcome, MAIN_LANE, OutboxKind, Rewriter, RollupReader, RollupWriter, StatusDetail,
};
use sg_core::rebuild::{Rewrite, RewriteOutcome};
use sg_core::testing::store_suite::{self as suite, Feed, ManualClock, StoreUnderTest, T0, cells, rollups};
use sg_core::time::Timestamp;

use super::server::{self, Fresh};

const MINUTE: i64 = 60_000;

/// Waits until a statement of another connection waits for a lock.
async fn until_one_waits(client: &tokio_postgres::Client) {
    until_wait(client, 1).await;
}

/// Waits until so many statements of other connections wait for locks.
async fn until_wait(client: &tokio_postgres::Client, count: usize) {
    let sql =
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    server::until(async || client.query(sql, &[]).await.expect("anybody may look").len() >= count).await;
}

#[tokio::test]
async fn no_partition_comes_while_cells_are_made_again() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    feed.write(&fresh, 0, &[(0, "a", "1")]).await;
    let rewrite = Rewrite {
        plan: feed.plan.clone(),
        rollup: 0,
        offsets: vec![(0, 1)],
        deleted: 0,
        removed_before: Timestamp::NEVER,
        cells: Vec::new(),
        is_known: true,
        is_backfill: false,
        is_dry: false,
        settled: Vec::new(),
    };
    let claim = Claim {
        plan: feed.plan.clone(),
        partition: 1,
        owner: "second".to_owned(),
        log_identity: "log-1".to_owned(),
        start: 0,
    };
    // A rewrite is held up in its midst: what it has looked at stays as it is until it ends.
    let (outside, looking, other) = (fresh.outside().await, fresh.outside().await, fresh.other().await);
    outside.batch_execute("BEGIN; SELECT 1 FROM sg_partitions FOR UPDATE").await.expect("it is free");
    let rewriting = fresh.store().rewrite(&rewrite);
    let claiming = async {
        until_one_waits(&looking).await;
        other.claim(&claim).await
    };
    let letting_go = async {
        until_wait(&looking, 2).await;
        outside.batch_execute("ROLLBACK").await
    };
    let (rewritten, claimed, let_go) = tokio::join!(rewriting, claiming, letting_go);
    let_go.expect("nothing fails");
    assert_eq!(rewritten.expect("nothing fails"), RewriteOutcome::Done { differences: Vec::new() });
    assert_eq!(claimed.expect("nothing fails").next_offset, 0);
    // Now there is another, and what was made without it is not written.
    let missed = fresh.store().rewrite(&rewrite).await.expect("nothing fails");
    assert_eq!(missed, RewriteOutcome::Missed);
    other.close().await;
    fresh.drop().await;
}

#[tokio::test]
async fn many_prepare_at_once() {
    let Some(server) = server::url() else { return };
    let database = server::fresh_name();
    let url = server::url_of(&server, &database);
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        starts.spawn(async move {
            let store = server::open(&url, Arc::new(ManualClock::at(Timestamp(T0)))).await;
            let prepared = store.prepare(&[suite::stream()], &rollups()).await;
            store.close().await;
            prepared
        });
    }
    for prepared in starts.join_all().await {
        prepared.expect("the others do the same");
    }
    server::drop_database(&server, &database).await;
}

#[tokio::test]
async fn claims_race() {
    let Some(fresh) = Fresh::new().await else { return };
    fresh.writer().prepare(&[suite::stream()], &rollups()).await.expect("the definitions are sound");
    let plan = Arc::new(Plan::new(suite::stream(), &rollups()));
    let claim =
        Claim { plan, partition: 0, owner: "racer".to_owned(), log_identity: "log-1".to_owned(), start: 0 };
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, claim) = (fresh.other().await, claim.clone());
        racers.spawn(async move { store.claim(&claim).await.map(|checkpoint| checkpoint.epoch) });
    }
    let mut epochs: Vec<i64> =
        racers.join_all().await.into_iter().map(|epoch| epoch.expect("nothing fails")).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2, 3, 4, 5, 6, 7, 8]);
    fresh.drop().await;
}

const KINDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const STEP: i64 = 10_000;
const ROUNDS: i64 = 40;

/// Returns the events of a round: the newest moves the clock on, the others lie up to two minutes further back, so
/// that windows close all the time and are corrected all the time.
fn round_of(kinds: &[String], round: i64) -> Vec<(i64, &str, &'static str)> {
    kinds
        .iter()
        .zip(0..)
        .map(|(kind, place)| (round * STEP - place * 2 * STEP, kind.as_str(), "0.01"))
        .collect()
}

/// Flushes a partition on a store of its own, each time in another order.
async fn flush_often(fresh: &Fresh, definitions: &[Rollup], partition: u32, kinds: &[String]) {
    let store = fresh.other().await;
    let mut feed = Feed::claim(fresh, definitions, partition).await;
    for round in 0..ROUNDS {
        let mut events = round_of(kinds, round);
        let turn = (round as usize + partition as usize) % events.len();
        events.rotate_left(turn);
        feed.take_in(round * STEP, &events);
        let outcome = store.flush(feed.take()).await.expect("nobody is in the way for long");
        assert_eq!(outcome, FlushOutcome::Done);
    }
    store.close().await;
}

/// Four partitions flush at once on stores of their own; then every count, ledger, revision and announcement is right.
async fn check_together(definitions: &[Rollup], kind_of: impl Fn(u32, &str) -> String) {
    let Some(fresh) = Fresh::new().await else { return };
    let kinds: Vec<Vec<String>> =
        (0..4).map(|partition| KINDS.iter().map(|kind| kind_of(partition, kind)).collect()).collect();
    let flushes =
        (0..4).zip(&kinds).map(|(partition, kinds)| flush_often(&fresh, definitions, partition, kinds));
    futures_util::future::join_all(flushes).await;
    let mut expect: BTreeMap<(i64, String), u64> = BTreeMap::new();
    for (at, kind, _) in kinds.iter().flat_map(|kinds| (0..ROUNDS).flat_map(|round| round_of(kinds, round))) {
        *expect.entry((at.div_euclid(MINUTE), kind.to_owned())).or_default() += 1;
    }
    let state = suite::snapshot(&fresh, definitions).await;
    let total: u64 = expect.values().sum();
    let counted: u64 = state.partitions.iter().map(|partition| partition.ledger.counted).sum();
    assert_eq!(counted, total);
    let in_cells: Vec<u64> = state.rollups.iter().map(|rollup| rollup.in_cells + rollup.diverted).collect();
    assert_eq!(in_cells, vec![total; definitions.len()]);
    let minute = |at: Timestamp| (at.0 - T0).div_euclid(MINUTE);
    let by_type = &state.cells["by_type"];
    let found = by_type.iter().map(|cell| ((minute(cell.pane), cell.dimensions.join(",")), cell.events));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expect);
    assert!(
        by_type.iter().all(|cell| cell.values[1].rank(&Function::Count) == Some(i128::from(cell.events))),
        "{by_type:?}"
    );
    // Every window was announced once, and whoever listens knows the newest revision of each of its cells.
    let mut known: BTreeMap<(i64, String), (usize, u64)> = BTreeMap::new();
    for row in fresh.writer().outbox("orders", MAIN_LANE, usize::MAX).await.expect("nothing fails") {
        if row.rollup == "by_type" {
            let entry = known.entry((minute(row.window_start), row.dimensions.join(","))).or_default();
            *entry = (entry.0 + usize::from(row.kind == OutboxKind::Closed), row.revision.max(entry.1));
        }
    }
    let closed_to =
        state.rollups.iter().find(|rollup| rollup.name == "by_type").expect("it is there").closed_to;
    let mut corrected = 0;
    for cell in by_type.iter().filter(|cell| cell.pane.0 + MINUTE <= closed_to.0) {
        let (closed, revision) = known[&(minute(cell.pane), cell.dimensions.join(","))];
        assert_eq!(revision, cell.revision, "{cell:?}");
        assert!(closed == 1 || (closed == 0 && revision > 0), "{cell:?}: {closed}");
        corrected += revision;
    }
    assert!(corrected > 50, "only {corrected} corrections");
    fresh.drop().await;
}

/// Every flush changes the same cells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_share_cells() {
    check_together(&rollups(), |_, kind| kind.to_owned()).await;
}

/// No flush waits for another's cells: only the stream's row keeps them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_share_a_stream() {
    check_together(&rollups()[..1], |partition, kind| format!("{kind}{partition}")).await;
}

/// Between the cells of one flush and its end another process closes their window.
#[tokio::test]
async fn a_window_closes_in_between() {
    let Some(fresh) = Fresh::new().await else { return };
    // Without the one whose only cell both would write.
    let mut definitions: Vec<Rollup> = rollups();
    definitions.remove(1);
    let mut slow = Feed::claim(&fresh, &definitions, 0).await;
    let mut quick = Feed::claim(&fresh, &definitions, 1).await;
    slow.write(&fresh, 2 * MINUTE, &[(0, "a", "1"), (2 * MINUTE, "a", "1")]).await;
    quick.write(&fresh, 0, &[(0, "b", "1")]).await;
    // Holds the slow flush between its cells and the stream's row.
    let outside = fresh.outside().await;
    let last = "SELECT 1 FROM sg_rollup_partitions WHERE rollup = 'diverted' AND partition = 0 FOR UPDATE";
    outside.batch_execute(&format!("BEGIN; {last}")).await.expect("the row is there");
    slow.take_in(2 * MINUTE, &[(1, "a", "1"), (2, "new", "1"), (2 * MINUTE, "a", "1")]);
    let (other, flush) = (fresh.other().await, slow.take());
    let flushing = tokio::spawn(async move {
        let outcome = other.flush(flush).await;
        other.close().await;
        outcome
    });
    until_one_waits(&fresh.outside().await).await;
    quick.write(&fresh, 2 * MINUTE, &[(2 * MINUTE, "b", "1")]).await;
    let shown = async || {
        let rows = fresh.writer().outbox("orders", MAIN_LANE, 100).await.expect("nothing fails");
        let of_window = rows.into_iter().filter(|row| row.rollup == "by_type" && row.window_start.0 == T0);
        of_window.map(|row| (row.kind, row.dimensions.join(","), row.revision)).collect::<Vec<_>>()
    };
    let closed = |kind: &str| (OutboxKind::Closed, kind.to_owned(), 0);
    assert_eq!(shown().await, [closed("a"), closed("b")]);
    outside.batch_execute("COMMIT").await.expect("it holds a lock only");
    assert_eq!(flushing.await.expect("it does not panic").expect("nothing fails"), FlushOutcome::Done);
    let corrected = |kind: &str| (OutboxKind::Corrected, kind.to_owned(), 1);
    assert_eq!(shown().await, [closed("a"), closed("b"), corrected("a"), corrected("new")]);
    let revisions: Vec<(String, u64)> = cells(&fresh, &definitions[0])
        .await
        .into_iter()
        .filter(|cell| cell.pane.0 == T0)
        .map(|cell| (cell.dimensions.join(","), cell.revision))
        .collect();
    assert_eq!(revisions, [("a".to_owned(), 1), ("b".to_owned(), 0), ("new".to_owned(), 1)]);
    suite::snapshot(&fresh, &definitions).await;
    fresh.drop().await;
}

#[tokio::test]
async fn one_process_sends() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = Feed::claim(&fresh, &rollups()[..1], 0).await;
    feed.write(&fresh, 9 * MINUTE, &[(0, "a", "1"), (9 * MINUTE, "a", "1")]).await;
    let other = fresh.other().await;
    let rows = |store| async move {
        RollupWriter::outbox(store, "orders", MAIN_LANE, 10).await.expect("nothing fails").len()
    };
    assert_eq!(rows(fresh.store()).await, 1);
    assert_eq!(rows(&other).await, 0);
    // The lock is the sender's as long as its connection lives, and it takes it again when that was lost.
    let lost = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database d ON d.oid = database \
                WHERE locktype = 'advisory' AND granted AND datname = current_database()";
    let outside = fresh.outside().await;
    outside.batch_execute(lost).await.expect("we may");
    assert_eq!(rows(fresh.store()).await, 1);
    assert_eq!(rows(&other).await, 0);
    fresh.store().close().await;
    assert_eq!(rows(&other).await, 1);
    // Nothing of the lock stays in the way of anybody who changes tables.
    outside
        .batch_execute("BEGIN; LOCK TABLE sg_outbox IN ACCESS EXCLUSIVE MODE NOWAIT; ROLLBACK")
        .await
        .expect("it is free");
    other.close().await;
    fresh.drop().await;
}

#[tokio::test]
async fn an_owner_that_was_replaced_writes_no_more() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut first = Feed::claim(&fresh, &rollups(), 0).await;
    let other = fresh.other().await;
    first.take_in(0, &[(0, "a", "1")]);
    let claim = Claim {
        plan: first.plan.clone(),
        partition: 0,
        owner: "second".to_owned(),
        log_identity: "log-1".to_owned(),
        start: 0,
    };
    // A claim and a flush at once: either the flush is first and counts, or it finds the new epoch.
    let (claimed, flushed) = tokio::join!(other.claim(&claim), fresh.writer().flush(first.take()));
    let claimed = claimed.expect("nothing fails");
    assert_eq!(claimed.epoch, 2);
    match flushed.expect("nothing fails") {
        FlushOutcome::Done => assert_eq!(claimed.next_offset, 1),
        outcome => assert_eq!(outcome, FlushOutcome::Missed { epoch: 2, next_offset: 0 }),
    }
    first.take_in(0, &[(0, "a", "1")]);
    let late = fresh.writer().flush(first.take()).await.expect("nothing fails");
    assert!(matches!(late, FlushOutcome::Missed { epoch: 2, .. }), "{late:?}");
    other.close().await;
    fresh.drop().await;
}

#[tokio::test]
async fn a_reader_alone_says_what_is_missing() {
    let Some(server) = server::url() else { return };
    let database = server::fresh_name();
    let url = server::url_of(&server, &database);
    let store = server::open(&url, Arc::new(ManualClock::default())).await;
    let refused = store.status(StatusDetail::Marks).await.expect_err("there is no database");
    assert_eq!(refused.kind, ErrorKind::Retry, "{refused}");
    assert!(refused.to_string().contains("start a process with the role process"), "{refused}");
    store.check().await.expect("it makes the database");
    let events = sg_core::query::EventQuery { stream: "orders".to_owned(), limit: 1, ..Default::default() };
    let query = suite_query(&rollups()[0]);
    let answers = [
        store.status(StatusDetail::Ledger).await.map(drop),
        store.cells(&query).await.map(drop),
        store.events(&events).await.map(drop),
        store.dead_letters(&Default::default()).await.map(drop),
    ];
    for answer in answers {
        let refused = answer.expect_err("there are no tables");
        assert_eq!(refused.kind, ErrorKind::Retry, "{refused}");
        assert!(refused.to_string().contains("the store has no tables yet"), "{refused}");
    }
    store.prepare(&[suite::stream()], &rollups()).await.expect("it makes them");
    assert_eq!(store.events(&events).await.expect("they are there"), []);
    store.close().await;
    server::drop_database(&server, &database).await;
}

fn suite_query(rollup: &Rollup) -> sg_core::query::CellQuery {
    sg_core::query::CellQuery {
        rollup: rollup.clone(),
        from: Timestamp::NEVER,
        to: Timestamp(i64::MAX),
        filters: Vec::new(),
        after: None,
        windows: Vec::new(),
        order: sg_core::query::CellOrder::OldestFirst,
        cells_max: 10,
    }
}
