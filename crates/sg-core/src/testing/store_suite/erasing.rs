//! Cases of events that are deleted by hand.

use std::sync::Arc;

use crate::definition::{LatePolicy, Rollup};
use crate::erase::{Doomed, Erase, EraseOutcome, Obstacle};
use crate::fold::{gifts, plan_of};
use crate::plan::Plan;
use crate::ports::{MAIN_LANE, OutboxKind, StatusDetail};
use crate::query::EventScan;
use crate::time::Timestamp;

use super::StoreUnderTest;
use super::feed::{Feed, T0, cells, rollups, snapshot};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// The rollups of the cases with those measures out of which events can be taken alone.
fn subtracting() -> Vec<Rollup> {
    let mut rollups = rollups();
    rollups.iter_mut().for_each(|rollup| rollup.measures.retain(|measure| measure.function.subtracts()));
    rollups
}

async fn doomed(store: &dyn StoreUnderTest, plan: &Plan, offsets: &[u64]) -> Vec<Doomed> {
    let scan = EventScan {
        stream: "orders".to_owned(),
        partition: 0,
        from: 0,
        to: u64::MAX >> 16,
        times: Timestamp::ALWAYS,
        limit: 100,
    };
    let mut events = store.reader().scan_events(&scan).await.expect("nothing fails");
    events.retain(|event| offsets.contains(&event.offset));
    let alone: Vec<Arc<Plan>> = plan.rollups.iter().map(|planned| plan_of(plan, &planned.rollup)).collect();
    gifts(&alone, &events)
}

async fn erase(store: &dyn StoreUnderTest, feed: &Feed, events: Vec<Doomed>, is_dry: bool) -> EraseOutcome {
    let erase = Erase { plan: feed.plan.clone(), events, remade: None, is_dry };
    store.rewriter().erase(&erase).await.expect("nothing fails")
}

/// Six events in three hours, the last but one of them late, all windows before the third hour final and announced.
async fn write(store: &dyn StoreUnderTest, rollups: &[Rollup]) -> Feed {
    let mut feed = Feed::claim(store, rollups, 0).await;
    feed.take_in(0, &[(0, "a", "1.50"), (1_000, "b", "2.00"), (2_000, "a", "2.25")]);
    feed.take_in(20 * MINUTE, &[(20 * MINUTE, "a", "1.00")]);
    feed.take_in(3 * HOUR, &[(3 * HOUR, "c", "1.00"), (3_000, "a", "4.00")]);
    feed.flush(store).await;
    let told = store.writer().outbox("orders", MAIN_LANE, 100).await.expect("nothing fails");
    let last = told.last().expect("windows were announced").id;
    store.writer().outbox_sent("orders", MAIN_LANE, last, &[]).await.expect("nothing fails");
    feed
}

/// Rows are found by their time, and records by whether a rollup diverted them.
async fn tells_of_times_and_late_ones(store: &dyn StoreUnderTest, rollups: &[Rollup]) {
    for (times, expect) in [
        (Timestamp::ALWAYS, &[0, 1, 2, 3, 4, 5][..]),
        ((Timestamp(T0 + 1_000), Timestamp(T0 + 3_000)), &[1, 2]),
        ((Timestamp(T0 + 1_001), Timestamp(T0 + 3_001)), &[2, 5]),
        ((Timestamp(T0 + 3 * HOUR), Timestamp(i64::MAX)), &[4]),
    ] {
        let scan = EventScan { stream: "orders".to_owned(), partition: 0, from: 0, to: 6, times, limit: 100 };
        let events = store.reader().scan_events(&scan).await.expect("nothing fails");
        let offsets: Vec<u64> = events.iter().map(|event| event.offset).collect();
        assert_eq!(offsets, expect, "{times:?}");
    }
    let mut diverting = 0;
    for rollup in rollups {
        let asked = [(0, 0), (0, 5), (1, 5)];
        let diverted = store.reader().diverted(&rollup.name, &asked).await.expect("nothing fails");
        let is_diverting = rollup.late == LatePolicy::Divert;
        diverting += usize::from(is_diverting);
        let expect = is_diverting.then_some((0, 5));
        assert_eq!(diverted.into_iter().collect::<Vec<_>>(), expect.into_iter().collect::<Vec<_>>());
    }
    assert!(diverting > 0, "one of them diverts");
}

/// Events leave raw table, cells, late lane and ledger in one transaction, and what was final is corrected: also a window of
/// which nothing is left.
pub async fn takes_events_out(store: &dyn StoreUnderTest) {
    let rollups = subtracting();
    let feed = write(store, &rollups).await;
    tells_of_times_and_late_ones(store, &rollups).await;
    let before = snapshot(store, &rollups).await;
    let events = doomed(store, &feed.plan, &[1, 2, 3, 5]).await;
    assert_eq!(events.len(), 4);
    let dry = erase(store, &feed, events.clone(), true).await;
    assert!(matches!(&dry, EraseOutcome::Done { deleted: 4, touched } if touched.len() == 8), "{dry:?}");
    assert_eq!(snapshot(store, &rollups).await, before, "a dry run changes nothing");
    let wish = Erase { plan: feed.plan.clone(), events: events.clone(), remade: None, is_dry: false };
    for steps in 0.. {
        store.fail_after(Some(steps));
        let done = store.rewriter().erase(&wish).await;
        store.fail_after(None);
        match done {
            Err(error) => {
                assert!(steps < 200, "no fault comes any more: {error}");
                assert_eq!(snapshot(store, &rollups).await, before, "nothing is written half: {steps}");
            }
            Ok(done) => {
                assert!(
                    steps > 3 && matches!(done, EraseOutcome::Done { deleted: 4, .. }),
                    "{steps}: {done:?}"
                );
                break;
            }
        }
    }
    let left: Vec<(i64, u64)> =
        cells(store, &rollups[0]).await.iter().map(|cell| (cell.pane.0 - T0, cell.events)).collect();
    assert_eq!(left, [(0, 1), (3 * HOUR, 1)]);
    let status = store.reader().status(StatusDetail::Ledger).await.expect("nothing fails");
    let ledger = status.partitions[0].ledger;
    assert!(ledger.adds_up() && (ledger.counted, ledger.deleted) == (2, 4), "{ledger:?}");
    for rollup in &status.rollups {
        assert!(rollup.adds_up() && rollup.deleted == 4 && rollup.diverted == 0, "{rollup:?}");
    }
    assert!(doomed(store, &feed.plan, &[1, 2, 3, 5]).await.is_empty(), "no raw row is left");
    let found = store.reader().deleted_events("e0-1").await.expect("nothing fails");
    assert_eq!(found.iter().map(|event| (event.partition, event.offset)).collect::<Vec<_>>(), [(0, 1)]);

    let told = store.writer().outbox("orders", MAIN_LANE, 100).await.expect("nothing fails");
    let corrected = |rollup: &str, window: i64, dimensions: &[&str]| {
        let row = told.iter().find(|row| {
            row.rollup == rollup && row.window_start == Timestamp(T0 + window) && row.dimensions == dimensions
        });
        row.filter(|row| row.kind == OutboxKind::Corrected).map(|row| row.revision)
    };
    assert_eq!(corrected("by_type", 0, &["a"]), Some(1), "{told:?}");
    assert_eq!(corrected("by_type", 0, &["b"]), Some(1), "nothing is left of it");
    assert_eq!(corrected("by_type", 20 * MINUTE, &["a"]), Some(1), "nor of it");
    // Its second pane vanished, which is a change of the window all the same.
    assert_eq!(corrected("by_hour", 0, &[]), Some(2), "{told:?}");
    assert_eq!(corrected("by_type", 3 * HOUR, &["c"]), None);

    let again = erase(store, &feed, events, false).await;
    assert_eq!(again, EraseOutcome::Done { deleted: 0, touched: Vec::new() });
}

/// A step that would leave a cell wrong changes nothing and names the window.
pub async fn refuses_what_it_cannot_take_out(store: &dyn StoreUnderTest) {
    let rollups = rollups();
    let feed = write(store, &rollups).await;
    let before = snapshot(store, &rollups).await;
    let events = doomed(store, &feed.plan, &[0]).await;
    // Nothing was made again, and the least of a cell cannot be subtracted.
    let refused = erase(store, &feed, events, false).await;
    let EraseOutcome::Refused(windows) = refused else { panic!("{refused:?}") };
    let named: Vec<_> = windows.iter().map(|one| (one.rollup, one.window.0 - T0, one.obstacle)).collect();
    assert_eq!(named, [(0, 0, Obstacle::Incomplete), (1, 0, Obstacle::Incomplete)]);
    assert_eq!(snapshot(store, &rollups).await, before);
}
