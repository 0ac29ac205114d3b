//! Cases of cells that are made again.

use crate::definition::{Condition, Function, Measure, Rollup};
use crate::flush::LevelBases;
use crate::ports::{Removable, RollupStatus, StatusDetail};
use crate::rebuild::{Rewrite, RewriteOutcome, Settled};
use crate::time::Timestamp;

use super::StoreUnderTest;
use super::feed::{Feed, T0, rollups, snapshot};

const DAY: i64 = 86_400_000;

/// Returns a rollup with a level, of that name.
fn present(name: &str) -> Rollup {
    let is = |user: &str| Condition(vec![("user_id".to_owned(), vec![user.to_owned()])]);
    let function = Function::Level { up: is("u0"), down: is("u2") };
    let level = Measure { name: "present".to_owned(), function, filter: Condition::default() };
    Rollup { name: name.to_owned(), measures: vec![level], ..rollups().remove(0) }
}

async fn standing(store: &dyn StoreUnderTest, rollup: &Rollup) -> RollupStatus {
    let status = store.reader().status(StatusDetail::Ledger).await.expect("nothing fails");
    status.rollups.into_iter().find(|known| known.name == rollup.name).expect("it was prepared")
}

async fn bases(store: &dyn StoreUnderTest, rollup: &Rollup) -> LevelBases {
    let mut bases = store.reader().level_bases(rollup).await.expect("nothing fails");
    bases.retain(|(_, moved)| moved.iter().any(|step| *step != 0));
    bases.sort();
    bases
}

/// Removes so many cells as some steps do, or all.
async fn remove(store: &dyn StoreUnderTest, feed: &Feed, steps_max: usize) {
    let mut steps = 0;
    while steps < steps_max
        && let Some(removed) =
            store.writer().retain(&feed.plan, Timestamp(T0 + 8 * DAY), 1_000).await.expect("nothing fails")
    {
        steps += usize::from(removed.what == Removable::Cells);
    }
}

/// A rollup that is filled up while retention is removing cells of it has the ledger and the levels of one that has seen
/// every event.
pub async fn settles_what_retention_has_passed(store: &dyn StoreUnderTest) {
    let (seen, added) = (present("seen"), present("added"));
    let kinds: Vec<String> = (0..1_500).map(|at| format!("k{at:04}")).collect();
    let mut events: Vec<(i64, &str, &str)> = kinds.iter().map(|kind| (0, kind.as_str(), "1")).collect();
    let mut feed = Feed::claim(store, std::slice::from_ref(&seen), 0).await;
    feed.write(store, 0, &events).await;
    let both = [seen.clone(), added.clone()];
    let mut feed = Feed::claim(store, &both, 0).await;
    events.rotate_left(1);
    feed.write(store, 0, &events).await;
    feed.write(store, 8 * DAY, &[(8 * DAY, "new", "1")]).await;
    feed.write(store, 8 * DAY, &[(8 * DAY + 1, "new", "1")]).await;
    // Two steps of the first and one of the second.
    remove(store, &feed, 3).await;
    let (oracle, halfway) = (standing(store, &seen).await, standing(store, &added).await);
    assert_eq!((oracle.removed, halfway.removed), (3_000, 1_000));
    assert!(halfway.complete_from.is_some());
    let settled = Settled {
        partition: 0,
        first_offset: 0,
        folded: oracle.folded,
        diverted: 0,
        gone: oracle.removed,
        bases: bases(store, &seen).await,
        unfit: 0,
        deleted: 0,
    };
    let rewrite = Rewrite {
        plan: feed.plan.clone(),
        rollup: 1,
        offsets: vec![(0, 3_002)],
        deleted: 0,
        removed_before: halfway.removed_before,
        cells: Vec::new(),
        is_known: true,
        is_backfill: true,
        is_dry: false,
        settled: vec![settled],
    };
    let done = store.rewriter().rewrite(&rewrite).await.expect("nothing fails");
    assert_eq!(done, RewriteOutcome::Done { differences: Vec::new() });
    assert_eq!(bases(store, &added).await, bases(store, &seen).await);
    remove(store, &feed, usize::MAX).await;
    let after = snapshot(store, &both).await;
    let sums: Vec<_> =
        after.rollups.iter().map(|one| (one.folded, one.expired + one.removed, one.complete_from)).collect();
    assert_eq!(sums, [(3_002, 3_000, None), (3_002, 3_000, None)]);
    assert_eq!(bases(store, &added).await, bases(store, &seen).await);
    assert!(!bases(store, &seen).await.is_empty());
    assert_eq!(after.cells["added"], after.cells["seen"]);
}
