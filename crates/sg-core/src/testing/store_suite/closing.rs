//! Cases of watermarks, final windows and what is announced.

use std::collections::BTreeMap;

use crate::limits::OUTBOX_CELLS_PER_FLUSH_MAX;
use crate::ports::{MAIN_LANE, OutboxKind, OutboxRow, StatusDetail};
use crate::time::Timestamp;

use super::StoreUnderTest;
use super::feed::{Feed, T0, cells, rollups, snapshot};

const MINUTE: i64 = 60_000;

async fn outbox(store: &dyn StoreUnderTest) -> Vec<OutboxRow> {
    store.writer().outbox("orders", MAIN_LANE, usize::MAX).await.expect("nothing fails")
}

/// Returns kind, minute after [`T0`], dimensions and revision of a rollup's rows.
async fn announced(store: &dyn StoreUnderTest, rollup: &str) -> Vec<(OutboxKind, i64, String, u64)> {
    let rows = outbox(store).await;
    let of_rollup = rows.into_iter().filter(|row| row.rollup == rollup);
    of_rollup
        .map(|row| (row.kind, (row.window_start.0 - T0) / MINUTE, row.dimensions.join(","), row.revision))
        .collect()
}

/// Returns the watermark and where the first rollup is closed to, in ms after [`T0`].
async fn marks(store: &dyn StoreUnderTest) -> (Option<i64>, Option<i64>) {
    let status = store.reader().status(StatusDetail::Marks).await.expect("nothing fails");
    let shown = |at: Timestamp| (at != Timestamp::NEVER).then(|| at.0 - T0);
    let rollup = status.rollups.iter().find(|rollup| rollup.name == "by_type").expect("it is prepared");
    (shown(status.watermarks[0].1), shown(rollup.closed_to))
}

/// Every window × dimensions is announced once, when the watermark has passed its end by the grace, not before.
pub async fn announces_windows_once(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    feed.write(store, 89_999, &[(0, "a", "1"), (59_999, "b", "1"), (89_999, "a", "1")]).await;
    assert_eq!(outbox(store).await, []);
    assert_eq!(marks(store).await, (Some(89_999), Some(59_999)));
    feed.write(store, 90_000, &[(90_000, "c", "1")]).await;
    let first = [(OutboxKind::Closed, 0, "a".to_owned(), 0), (OutboxKind::Closed, 0, "b".to_owned(), 0)];
    assert_eq!(announced(store, "by_type").await, first);
    feed.write(store, 90_001, &[(90_001, "c", "1")]).await;
    feed.refresh(store, false).await;
    assert_eq!(announced(store, "by_type").await, first);
    feed.write(store, 65 * MINUTE, &[(65 * MINUTE, "z", "1")]).await;
    let shown = announced(store, "by_type").await;
    let kinds: Vec<(i64, &str)> = shown.iter().map(|row| (row.1, row.2.as_str())).collect();
    assert_eq!(kinds, [(0, "a"), (0, "b"), (1, "a"), (1, "c")]);
    assert_eq!(announced(store, "by_hour").await, [(OutboxKind::Closed, 0, String::new(), 0)]);
}

/// A final window that changes gets a revision and a correction, under a new cell as under an old one.
pub async fn corrects_final_windows(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    feed.write(store, 70 * MINUTE, &[(0, "a", "1"), (16 * MINUTE, "a", "1"), (70 * MINUTE, "a", "1")]).await;
    let closed = outbox(store).await;
    assert!(closed.iter().all(|row| row.kind == OutboxKind::Closed && row.revision == 0), "{closed:?}");
    store.writer().outbox_sent("orders", MAIN_LANE, i64::MAX, &[]).await.expect("nothing fails");
    feed.write(store, 70 * MINUTE, &[(0, "a", "1"), (1, "b", "1"), (2, "b", "1"), (70 * MINUTE, "b", "1")])
        .await;
    let corrected = |kind: &str, revision| (OutboxKind::Corrected, 0, kind.to_owned(), revision);
    assert_eq!(announced(store, "by_type").await, [corrected("a", 1), corrected("b", 1)]);
    assert_eq!(announced(store, "by_hour").await, [corrected("", 1)]);
    feed.write(store, 70 * MINUTE, &[(0, "a", "1"), (16 * MINUTE, "c", "1")]).await;
    let last = |rows: Vec<(OutboxKind, i64, String, u64)>| rows.last().cloned();
    // Both panes of the hour have changed: two revisions, one correction.
    assert_eq!(last(announced(store, "by_hour").await), Some(corrected("", 3)));
    assert_eq!(
        announced(store, "by_type").await[2..],
        [corrected("a", 2), (OutboxKind::Corrected, 16, "c".to_owned(), 1)]
    );
    // What was diverted has changed nothing.
    assert_eq!(announced(store, "diverted").await, []);
    let revisions: Vec<u64> = cells(store, &rollups()[0]).await.iter().map(|cell| cell.revision).collect();
    assert_eq!(revisions, [2, 1, 0, 1, 0, 0]);
    snapshot(store, &rollups()).await;
}

/// A partition without records holds the watermark back until its owner says that it is idle, and for 15 s only.
pub async fn waits_for_busy_partitions(store: &dyn StoreUnderTest) {
    let mut busy = Feed::claim(store, &rollups(), 0).await;
    let mut quiet = Feed::claim(store, &rollups(), 1).await;
    busy.write(store, 0, &[(0, "a", "1")]).await;
    assert_eq!(marks(store).await, (None, None));
    quiet.refresh(store, true).await;
    assert_eq!(marks(store).await, (Some(0), Some(-30_000)));
    store.clock().advance(15_000);
    busy.write(store, MINUTE, &[(MINUTE, "a", "1")]).await;
    assert_eq!(marks(store).await, (Some(MINUTE), Some(MINUTE - 30_000)));
    store.clock().advance(1);
    busy.write(store, 2 * MINUTE, &[(2 * MINUTE, "a", "1")]).await;
    assert_eq!(marks(store).await, (Some(MINUTE), Some(MINUTE - 30_000)));
    quiet.write(store, MINUTE + 1, &[(MINUTE + 1, "a", "1")]).await;
    assert_eq!(marks(store).await.0, Some(MINUTE + 1));
    // The slower partition is ahead now, and what it counted in between is not late.
    quiet.write(store, 3 * MINUTE, &[(3 * MINUTE, "a", "1")]).await;
    assert_eq!(marks(store).await.0, Some(2 * MINUTE));
    snapshot(store, &rollups()).await;
}

/// The last windows close without new data, by the clock, once every partition is idle.
pub async fn closes_when_all_are_idle(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    let other = Feed::claim(store, &rollups(), 1).await;
    feed.write(store, 0, &[(0, "a", "1")]).await;
    store.clock().set(Timestamp(T0 + 2 * MINUTE));
    feed.refresh(store, true).await;
    assert_eq!(marks(store).await, (None, None));
    other.refresh(store, true).await;
    assert_eq!(marks(store).await, (Some(90_000), Some(MINUTE)));
    assert_eq!(announced(store, "by_type").await, [(OutboxKind::Closed, 0, "a".to_owned(), 0)]);
    let status = store.reader().status(StatusDetail::Marks).await.expect("nothing fails");
    assert!(status.partitions.iter().all(|partition| partition.is_idle));
    // It never runs back when they go on.
    feed.write(store, MINUTE, &[(MINUTE, "a", "1")]).await;
    assert_eq!(marks(store).await, (Some(90_000), Some(MINUTE)));
}

/// A longer grace opens nothing again, a shorter one closes more.
pub async fn keeps_closed_windows_closed(store: &dyn StoreUnderTest) {
    let mut changed = rollups();
    changed.truncate(1);
    let mut feed = Feed::claim(store, &changed, 0).await;
    feed.write(store, 2 * MINUTE, &[(2 * MINUTE, "a", "1")]).await;
    assert_eq!(marks(store).await.1, Some(90_000));
    changed[0].grace_ms = 10 * MINUTE;
    let mut feed = Feed::claim(store, &changed, 0).await;
    feed.write(store, 3 * MINUTE, &[(3 * MINUTE, "a", "1")]).await;
    assert_eq!(marks(store).await.1, Some(90_000));
    changed[0].grace_ms = 0;
    let mut feed = Feed::claim(store, &changed, 0).await;
    feed.write(store, 4 * MINUTE, &[(4 * MINUTE, "a", "1")]).await;
    assert_eq!(marks(store).await.1, Some(4 * MINUTE));
    let minutes: Vec<i64> = announced(store, "by_type").await.iter().map(|row| row.1).collect();
    assert_eq!(minutes, [2, 3]);
}

/// What one transaction may not announce any more comes with the next ones, once, in the state that it has then.
pub async fn goes_on_where_the_budget_ended(store: &dyn StoreUnderTest) {
    let only = &rollups()[..1];
    let mut feed = Feed::claim(store, only, 0).await;
    let count = OUTBOX_CELLS_PER_FLUSH_MAX + 500;
    let kinds: Vec<String> = (0..count).map(|at| format!("k{at:05}")).collect();
    let mut events: Vec<(i64, &str, &str)> = kinds.iter().map(|kind| (0, kind.as_str(), "1")).collect();
    events.push((MINUTE, "next", "1"));
    events.push((5 * MINUTE, "open", "1"));
    feed.write(store, 5 * MINUTE, &events).await;
    assert_eq!(outbox(store).await.len(), OUTBOX_CELLS_PER_FLUSH_MAX);
    // One is announced already, one is not; the refresh of the flush announces the rest.
    let last = kinds.last().expect("there are some").as_str();
    feed.write(store, 5 * MINUTE, &[(1, "k00000", "1"), (1, last, "1")]).await;
    feed.refresh(store, false).await;
    let mut seen: BTreeMap<(i64, String), Vec<(OutboxKind, u64)>> = BTreeMap::new();
    for (kind, minute, dimensions, revision) in announced(store, "by_type").await {
        seen.entry((minute, dimensions)).or_default().push((kind, revision));
    }
    assert_eq!(seen.len(), count + 1);
    let of = |minute: i64, kind: &str| seen[&(minute, kind.to_owned())].clone();
    assert_eq!(of(0, "k00000"), [(OutboxKind::Closed, 0), (OutboxKind::Corrected, 1)]);
    assert_eq!(of(0, last), [(OutboxKind::Closed, 1)]);
    assert_eq!(of(1, "next"), [(OutboxKind::Closed, 0)]);
    let once = seen.values().filter(|rows| rows.len() == 1).count();
    assert_eq!(once, count);
}
