//! Raw events over several pieces: where rows go, how they are found, and how old pieces go.

use std::sync::Arc;

use sg_core::plan::Plan;
use sg_core::ports::{Claim, RollupWriter};
use sg_core::query::EventQuery;
use sg_core::testing::store_suite::{self as suite, Feed, StoreUnderTest, T0, events_of, rollups};
use sg_core::time::Timestamp;

use super::server::{Fresh, select};
use crate::postgres::tables::PIECE_OFFSETS;

const DAY: i64 = 86_400_000;

/// Claims a partition whose log begins a few records before a border of pieces.
async fn claim_before_a_border(fresh: &Fresh, records: u64) -> Feed {
    fresh.writer().prepare(&[suite::stream()], &rollups()).await.expect("the definitions are sound");
    let claim = Claim {
        plan: Arc::new(Plan::new(suite::stream(), &rollups())),
        partition: 0,
        owner: "test".to_owned(),
        log_identity: "log-1".to_owned(),
        start: PIECE_OFFSETS - records,
    };
    fresh.writer().claim(&claim).await.expect("it is free");
    Feed::claim(fresh, &rollups(), 0).await
}

async fn pieces(fresh: &Fresh) -> String {
    let sql = "SELECT inhrelid::regclass AS piece FROM pg_inherits WHERE inhparent = 'sg_raw_orders'::regclass ORDER BY 1";
    select(&fresh.outside().await, sql).await
}

#[tokio::test]
async fn a_flush_goes_over_the_border_of_pieces() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = claim_before_a_border(&fresh, 2).await;
    feed.take_in(0, &[(0, "a", "1")]);
    feed.take_in(0, &[(1, "a", "1"), (2, "b", "1"), (3, "b", "1")]);
    feed.flush(&fresh).await;
    feed.write(&fresh, 4, &[(4, "c", "1")]).await;
    assert_eq!(pieces(&fresh).await, "piece\nsg_raw_orders_0_0\nsg_raw_orders_0_1");
    let offsets: Vec<u64> = events_of(&fresh).await.iter().map(|event| event.offset).collect();
    let border = PIECE_OFFSETS;
    assert_eq!(offsets, [border + 2, border + 1, border, border - 1, border - 2]);
    let in_second = select(&fresh.outside().await, "SELECT count(*) FROM sg_raw_orders_0_1").await;
    assert_eq!(in_second, "count\n3");
    suite::snapshot(&fresh, &rollups()).await;
    // Another process finds the pieces made.
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    feed.take_in(5, &[(5, "c", "1")]);
    let other = fresh.other().await;
    other.flush(feed.take()).await.expect("nothing fails");
    other.close().await;
    assert_eq!(events_of(&fresh).await.len(), 6);
    fresh.drop().await;
}

#[tokio::test]
async fn a_piece_that_is_old_goes_as_a_whole() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = claim_before_a_border(&fresh, 3).await;
    feed.write(&fresh, 0, &[(0, "a", "1"), (1, "a", "1"), (2, "b", "1"), (3, "b", "1")]).await;
    let retain = async |ms: i64| {
        let mut steps = 0;
        while fresh
            .writer()
            .retain(&feed.plan, Timestamp(T0 + ms), 1_000)
            .await
            .expect("nothing fails")
            .is_some()
        {
            steps += 1;
        }
        steps
    };
    assert_eq!(retain(DAY).await, 1, "the full piece is sealed, and nothing is old");
    assert_eq!(retain(DAY).await, 0);
    // Whoever reads the table is not cut off: the piece goes when they have gone.
    let outside = fresh.outside().await;
    outside.batch_execute("BEGIN; SELECT * FROM events").await.expect("the view is there");
    retain(DAY + 1).await;
    assert!(pieces(&fresh).await.contains("sg_raw_orders_0_0"), "it is being read");
    outside.batch_execute("COMMIT").await.expect("it only read");
    assert!(retain(DAY + 1).await > 0);
    assert_eq!(pieces(&fresh).await, "piece\nsg_raw_orders_0_1");
    assert_eq!(events_of(&fresh).await.len(), 0);
    suite::snapshot(&fresh, &rollups()).await;
    fresh.drop().await;
}

/// A full piece gets more indexes, one that is written to does not; the answers are the same.
#[tokio::test]
async fn a_full_piece_is_sealed() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = claim_before_a_border(&fresh, 2).await;
    feed.write(&fresh, 0, &[(0, "a", "1"), (1, "b", "1"), (2, "a", "1"), (3, "b", "1")]).await;
    let query = EventQuery {
        stream: "orders".to_owned(),
        event_type: Some("a".to_owned()),
        limit: 9,
        ..EventQuery::default()
    };
    let before = fresh.reader().events(&query).await.expect("nothing fails");
    let now = Timestamp(T0);
    assert!(fresh.writer().retain(&feed.plan, now, 1_000).await.expect("nothing fails").is_some());
    assert!(fresh.writer().retain(&feed.plan, now, 1_000).await.expect("nothing fails").is_none());
    let indexes = "SELECT tablename, count(*) FROM pg_indexes WHERE tablename LIKE 'sg\\_raw\\_orders\\__\\__' \
                   GROUP BY 1 ORDER BY 1";
    assert_eq!(
        select(&fresh.outside().await, indexes).await,
        "tablename|count\nsg_raw_orders_0_0|6\nsg_raw_orders_0_1|4"
    );
    assert_eq!(fresh.reader().events(&query).await.expect("nothing fails"), before);
    assert_eq!(before.len(), 2);
    fresh.drop().await;
}

/// The plan must not walk through all times to find one id, whatever the server guesses.
#[tokio::test]
async fn finds_by_the_right_index() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut feed = claim_before_a_border(&fresh, 200).await;
    let many: Vec<(i64, &str, &str)> = (0..400).map(|at| (at, "a", "1")).collect();
    feed.write(&fresh, 400, &many).await;
    let query = |event_id: Option<&str>, user: Option<&str>| EventQuery {
        stream: "orders".to_owned(),
        event_id: event_id.map(str::to_owned),
        user_id: user.map(str::to_owned),
        limit: 2,
        ..EventQuery::default()
    };
    let id = format!("e0-{}", PIECE_OFFSETS + 7);
    let found = fresh.reader().events(&query(Some(&id), None)).await.expect("nothing fails");
    assert_eq!(found.iter().map(|event| event.offset).collect::<Vec<_>>(), [PIECE_OFFSETS + 7]);
    let newest = fresh.reader().events(&query(None, Some("u0"))).await.expect("nothing fails");
    assert_eq!(newest.len(), 2);
    assert!(newest.iter().all(|event| event.offset % 3 == 0), "{newest:?}");
    assert!(newest[0].event_time > newest[1].event_time);
    fresh.drop().await;
}
