//! Cases of what is removed, and of what comes when it is gone.

use crate::definition::{Keep, LettersKept, RawTable, Stream};
use crate::ports::Removable;
use crate::query::{DeadLetterQuery, LateQuery};
use crate::reason::Code;
use crate::time::Timestamp;

use super::StoreUnderTest;
use super::feed::{Feed, T0, cells, events_of, rollups, snapshot, stream};

const DAY: i64 = 86_400_000;

/// Removes everything that is to be removed at a time; returns in how many steps.
async fn retain(store: &dyn StoreUnderTest, feed: &Feed, now_ms: i64) -> usize {
    let mut steps = 0;
    while store
        .writer()
        .retain(&feed.plan, Timestamp(T0 + now_ms), 1_000)
        .await
        .expect("nothing fails")
        .is_some()
    {
        steps += 1;
        assert!(steps < 1_000, "retention ends");
    }
    steps
}

/// Old windows go as a whole, the ledger goes on adding up, and a step that fails removes nothing.
pub async fn removes_old_cells(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    let kinds: Vec<String> = (0..1_500).map(|at| format!("k{at:04}")).collect();
    let mut events: Vec<(i64, &str, &str)> = kinds.iter().map(|kind| (0, kind.as_str(), "1")).collect();
    events.push((2 * DAY, "young", "1"));
    feed.write(store, 2 * DAY, &events).await;
    feed.write(store, 8 * DAY, &[(8 * DAY, "new", "1")]).await;
    feed.write(store, 8 * DAY, &[(8 * DAY + 1, "new", "1")]).await;
    let mut failures = 0;
    for step in 0.. {
        let before = snapshot(store, &rollups()).await;
        store.fail_after(Some(step));
        let outcome = store.writer().retain(&feed.plan, Timestamp(T0 + 8 * DAY), 1_000).await;
        store.fail_after(None);
        match outcome {
            Ok(_) => break,
            Err(_) => assert_eq!(snapshot(store, &rollups()).await, before, "after failing at step {step}"),
        }
        failures += 1;
    }
    assert!(failures > 0, "there are steps to fail at");
    assert!(retain(store, &feed, 8 * DAY).await > 1, "steps are small");
    assert_eq!(retain(store, &feed, 8 * DAY).await, 0);
    let panes: Vec<i64> = cells(store, &rollups()[0]).await.iter().map(|cell| cell.pane.0 - T0).collect();
    assert_eq!(panes, [2 * DAY, 8 * DAY]);
    let after = snapshot(store, &rollups()).await;
    let removed: Vec<u64> = after.rollups.iter().map(|rollup| rollup.removed).collect();
    // In `diverted` nothing was late: the clock had not moved when the old ones came.
    assert_eq!(removed, [1_500, 1_500, 1_500]);
    assert!(
        after.rollups.iter().all(|rollup| rollup.removed_before == Timestamp(T0 + DAY)),
        "{:?}",
        after.rollups
    );
}

/// Old data that is read again stays until something newer comes, whatever the clock says: also when the watermark
/// follows the clock because all partitions are idle.
pub async fn keeps_what_nothing_newer_follows(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    let mut other = Feed::claim(store, &rollups(), 1).await;
    feed.write(store, 0, &[(0, "a", "1")]).await;
    store.clock().set(Timestamp(T0 + 30 * DAY));
    feed.refresh(store, true).await;
    other.refresh(store, true).await;
    let status = store.reader().status(crate::ports::StatusDetail::Marks).await.expect("nothing fails");
    assert!(status.watermarks[0].1 > Timestamp(T0 + 29 * DAY), "{:?}", status.watermarks);
    // The raw row goes by the time it came.
    retain(store, &feed, 30 * DAY).await;
    assert!(snapshot(store, &rollups()).await.rollups.iter().all(|rollup| rollup.removed == 0));
    // What is newer counts in whichever partition it comes; a time in the future counts no more than the clock.
    other.write(store, 8 * DAY, &[(8 * DAY, "b", "1")]).await;
    retain(store, &feed, 6 * DAY).await;
    assert!(snapshot(store, &rollups()).await.rollups.iter().all(|rollup| rollup.removed == 0));
    retain(store, &feed, 30 * DAY).await;
    let after = snapshot(store, &rollups()).await;
    assert_eq!(after.rollups.iter().map(|rollup| rollup.removed).collect::<Vec<_>>(), [1, 1, 1]);
    assert!(
        after.rollups.iter().all(|rollup| rollup.removed_before == Timestamp(T0 + DAY)),
        "{:?}",
        after.rollups
    );
}

/// An event of a window that was removed makes no cell again, and is accounted for.
pub async fn expires_what_comes_too_late(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    feed.write(store, 8 * DAY, &[(0, "a", "1"), (8 * DAY, "a", "1")]).await;
    retain(store, &feed, 8 * DAY).await;
    let before = snapshot(store, &rollups()).await;
    // One before, one at the border.
    feed.write(store, 8 * DAY, &[(0, "a", "1"), (DAY - 1, "a", "1"), (DAY, "a", "1")]).await;
    let after = snapshot(store, &rollups()).await;
    let expired: Vec<(&str, u64, u64)> =
        after.rollups.iter().map(|rollup| (rollup.name.as_str(), rollup.expired, rollup.diverted)).collect();
    assert_eq!(expired, [("by_hour", 2, 0), ("by_type", 2, 0), ("diverted", 0, 3)]);
    assert_eq!(after.cells["by_type"].len(), before.cells["by_type"].len() + 1);
    // No correction goes out for what is gone.
    assert_eq!(after.outbox.len(), before.outbox.len() + 2);
}

/// Raw rows go by the time they came, from the beginning on; the cells they were counted in stay.
pub async fn removes_old_rows(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    feed.write(store, 0, &[(0, "a", "1"), (-3 * DAY, "b", "1")]).await;
    feed.write(store, DAY, &[(-3 * DAY, "c", "1"), (DAY, "d", "1")]).await;
    assert_eq!(retain(store, &feed, DAY).await, 0);
    assert!(retain(store, &feed, DAY + 1).await > 0);
    let left: Vec<u64> = events_of(store).await.iter().map(|event| event.offset).collect();
    assert_eq!(left, [3, 2]);
    assert_eq!(cells(store, &rollups()[0]).await.len(), 4);
    snapshot(store, &rollups()).await;
}

/// Of raw rows, dead letters and late events the newest stay, so many as are kept; cells and ledgers know nothing of it.
pub async fn keeps_so_many_rows(store: &dyn StoreUnderTest) {
    let many = |rows| Keep { rows_max: Some(rows), ..Keep::default() };
    let keep = std::time::Duration::from_secs(365 * 86_400);
    let few = Stream {
        raw_table: Some(RawTable { name: "events".to_owned(), keep, rows_max: Some(4) }),
        letters: LettersKept { dead_letters: many(1), late: many(2) },
        ..stream()
    };
    let mut feed = Feed::claim_of(store, few.clone(), &rollups(), 0).await;
    feed.take_in_at(DAY, 0, &[(DAY, "x", "1"), (DAY, "y", "1"), (DAY, "z", "1")]);
    feed.flush(store).await;
    feed.write(store, 2 * DAY, &[(2 * DAY, "a", "1"), (2 * DAY, "b", "1"), (2 * DAY, "c", "1")]).await;
    feed.write(store, 2 * DAY, &[(0, "a", "1"), (0, "b", "1"), (1, "a", "1"), (1, "b", "1")]).await;
    let before = snapshot(store, &rollups()).await;
    let mut removed = Vec::new();
    while let Some(step) =
        store.writer().retain(&feed.plan, Timestamp(T0 + 2 * DAY), 1_000).await.expect("nothing fails")
    {
        removed.push((step.what, step.rows));
        assert!(removed.len() < 100, "retention ends");
    }
    let expected = [(Removable::RawRows, 3), (Removable::DeadLetters, 2), (Removable::LateEvents, 2)];
    assert_eq!(removed, expected);
    let offsets = || async { events_of(store).await.iter().map(|event| event.offset).collect::<Vec<_>>() };
    assert_eq!(offsets().await, [9, 8, 7, 6]);
    let after = snapshot(store, &rollups()).await;
    assert_eq!(after.letters, [2]);
    let query = LateQuery { rollup: None, before: None, limit: 10 };
    let late = store.reader().late(&query).await.expect("nothing fails");
    assert_eq!(late.iter().map(|late| late.offset).collect::<Vec<_>>(), [9, 8]);
    assert_eq!((&after.cells, &after.rollups), (&before.cells, &before.rollups));
    // Two partitions share what is kept.
    let other = Feed::claim_of(store, few, &rollups(), 1).await;
    assert_eq!(retain(store, &other, 2 * DAY).await, 1);
    assert_eq!(offsets().await, [9, 8]);
    snapshot(store, &rollups()).await;
}

/// Dead letters go after 30 days, but not while a rebuild of the duplicate window must pass over them.
pub async fn keeps_letters_a_rebuild_needs(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    let name = feed.plan.name.to_string();
    feed.take_in_at(DAY, 0, &[(DAY, "a", "1"), (0, "b", "1")]);
    feed.flush(store).await;
    let letters = || async {
        let query = DeadLetterQuery { limit: 10, ..DeadLetterQuery::default() };
        store.reader().dead_letters(&query).await.expect("nothing fails").len()
    };
    let fates = || async { store.rewriter().fates(&name, 0, (0, 100)).await.expect("answered") };
    let before = fates().await;
    assert_eq!(before.dead.values().collect::<Vec<_>>(), [&Code::FutureTimestamp]);
    retain(store, &feed, 31 * DAY).await;
    assert_eq!(letters().await, 1);
    feed.write(store, 31 * DAY, &[(31 * DAY, "a", "1")]).await;
    retain(store, &feed, 29 * DAY).await;
    assert_eq!(letters().await, 1);
    retain(store, &feed, 31 * DAY).await;
    assert_eq!(letters().await, 0);
    // A record that was a letter is none that counts, for as long as somebody can read it.
    let dead = *before.dead.keys().next().expect("a letter");
    store.manifest().drop_marks(&name, 0, dead).await.expect("answered");
    assert_eq!(fates().await, before);
    store.manifest().drop_marks(&name, 0, dead + 1).await.expect("answered");
    assert_eq!(fates().await.dead.len(), 0);
    snapshot(store, &rollups()).await;
}
