//! Deletes of several steps: how often the records are read for them, and what is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sg_core::definition::{Condition, Function, Measure, Rollup};
use sg_core::erase::{DeleteWish, Deleted};
use sg_core::ports::{EventLog, EventPicker as _, Rebuilder as _};
use sg_core::rebuild::Wish;
use sg_core::selection::Selection;
use sg_pipeline::by_hand::{ByHand, MEMORY_MAX};
use sg_pipeline::mending::Mending;
use sg_pipeline::rebuild::Rebuilds;

use crate::owner::NOW;
use crate::rebuild::{Bench, rollup};

/// A rollup out of which nothing can be subtracted.
fn spread(name: &str, by: &[&str]) -> Rollup {
    let function = Function::Distinct("event_id".to_owned());
    let ids = Measure { name: "ids".to_owned(), function, filter: Condition::default() };
    Rollup { by: by.iter().map(|&field| field.to_owned()).collect(), measures: vec![ids], ..rollup(name) }
}

/// Two rollups of which the steps of a delete have cells in common, and one whose cells are subtracted from.
fn rollups() -> [Rollup; 3] {
    [rollup("subtracted"), spread("of_all", &[]), spread("of_types", &["event_type"])]
}

/// What is worked on, and how often the log was opened for it.
fn mending(bench: &Arc<Bench>) -> (Mending, Arc<AtomicU64>) {
    let opened = Arc::new(AtomicU64::new(0));
    let (log, count): (Arc<dyn EventLog>, _) = (bench.log.clone(), opened.clone());
    let open_log = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(log.clone())
    });
    let mending = Mending {
        open_log,
        manifest: bench.store.clone(),
        archives: Vec::new(),
        reader: bench.store.clone(),
        rewriter: bench.store.clone(),
        plans: vec![bench.plan.clone()],
        seed: 5,
        turn: Arc::default(),
        tracer: None,
    };
    (mending, opened)
}

/// Deletes more events than one step takes; returns what that did, what the rollups say then, and how often the log was read.
async fn delete(memory_max: usize) -> (Deleted, Vec<String>, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Arc::new(Bench::of(folder.path(), &rollups()).await);
    for minute in 0..3 {
        bench.take_in(minute, minute, 2_000).await;
    }
    let (mending, opened) = mending(&bench);
    let selection = Selection::parse("user_id = 'u1'", sg_core::time::Timestamp(NOW)).expect("a condition");
    let by_hand = ByHand { mending: mending.clone(), memory_max };
    let wish = DeleteWish { stream: None, selection, is_dry: false };
    let deleted = by_hand.delete(&wish, &|_| {}).await.expect("nothing is in its way");
    let readings = opened.load(Ordering::SeqCst);
    let mut said = Vec::new();
    for rollup in rollups() {
        let wish = Wish { rollup: rollup.name.clone(), from: None, to: None, is_dry: true };
        let rebuilt =
            Rebuilds(mending.clone()).rebuild(&wish, &|_| {}).await.expect("it can be folded again");
        assert_eq!((rebuilt.differing, rebuilt.left), (0, 0), "{}", rollup.name);
        said.push(bench.says_of(&rollup).await);
    }
    (deleted, said, readings)
}

#[tokio::test]
async fn records_are_read_once_for_many_steps_and_all_rollups() {
    let (deleted, _, readings) = delete(MEMORY_MAX).await;
    assert_eq!((deleted.matched, deleted.deleted, deleted.refused), (1_500, 1_500, 0));
    // To find the events and to make the cells: when it is looked at, and when it is done.
    assert_eq!(readings, 4);
}

#[tokio::test]
async fn cells_that_take_too_much_memory_are_made_in_parts() {
    let (whole, said, _) = delete(MEMORY_MAX).await;
    let (in_parts, also_said, readings) = delete(1).await;
    assert_eq!((in_parts, also_said), (whole, said));
    // What was too much for two steps was made for each.
    assert_eq!(readings, 8);
}
