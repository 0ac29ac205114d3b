//! Cases of dead letters that are replayed: which record stands for a letter, and what is told of letters.

use crate::flush::Ledger;
use crate::ports::{FlushOutcome, StatusDetail};
use crate::query::{DeadLetterQuery, LetterCount, StoredDeadLetter};

use super::{Feed, StoreUnderTest, rollups, snapshot};

/// How far behind the door's the log's time must be for an event to be dated ahead of it.
const AHEAD_MS: i64 = 400_000;

/// Makes a dead letter of each event.
async fn kill(feed: &mut Feed, store: &dyn StoreUnderTest, count: usize) {
    let events = vec![(0, "a", "1.00"); count];
    feed.take_in_at(0, -AHEAD_MS, &events);
    feed.flush(store).await;
}

async fn letters(store: &dyn StoreUnderTest, query: DeadLetterQuery) -> Vec<StoredDeadLetter> {
    let query = DeadLetterQuery { limit: 100, ..query };
    store.reader().dead_letters(&query).await.expect("letters can be read")
}

async fn offsets(store: &dyn StoreUnderTest, query: DeadLetterQuery) -> Vec<u64> {
    letters(store, query).await.iter().map(|letter| letter.offset).collect()
}

async fn ledger(store: &dyn StoreUnderTest, partition: u32) -> Ledger {
    let status = store.reader().status(StatusDetail::Marks).await.expect("nothing fails");
    let found = status.partitions.iter().find(|known| known.partition == partition);
    found.expect("the partition was claimed").ledger
}

/// Of all records that stand for one letter one is counted, whatever their ids, partitions and flushes.
pub async fn replays_count_once(store: &dyn StoreUnderTest) {
    let rollups = rollups();
    let mut feed = Feed::claim(store, &rollups, 0).await;
    kill(&mut feed, store, 2).await;
    let waiting = || DeadLetterQuery { is_replayed: Some(false), ..DeadLetterQuery::default() };
    assert_eq!(offsets(store, waiting()).await, [1, 0]);

    feed.stand_for((0, 0));
    feed.take_in(1_000, &[(0, "a", "1.00")]);
    let first = feed.take();
    let before = snapshot(store, &rollups).await;
    store.fail_after(Some(6));
    assert!(store.writer().flush(first.clone()).await.is_err(), "the fault comes");
    store.fail_after(None);
    assert_eq!(snapshot(store, &rollups).await, before, "nothing is written half");
    assert_eq!(offsets(store, waiting()).await, [1, 0], "no letter goes before its replay is counted");
    assert_eq!(store.writer().flush(first).await.expect("nothing fails"), FlushOutcome::Done);
    assert_eq!(offsets(store, waiting()).await, [1]);
    assert_eq!(ledger(store, 0).await.counted, 1);

    feed.stand_for((0, 0));
    feed.take_in(2_000, &[(0, "a", "1.00"), (0, "b", "1.00")]);
    let before = snapshot(store, &rollups).await;
    let outcome = store.writer().flush(feed.take()).await.expect("nothing fails");
    assert_eq!(outcome, FlushOutcome::Repeated { offsets: vec![3, 4] });
    assert_eq!(snapshot(store, &rollups).await, before);

    let mut feed = Feed::claim(store, &rollups, 0).await;
    feed.repeat(3);
    feed.repeat(4);
    feed.stand_for((0, 0));
    feed.take_in(2_000, &[(0, "a", "1.00"), (0, "b", "1.00")]);
    feed.flush(store).await;
    let counts = ledger(store, 0).await;
    assert_eq!((counts.processed, counts.counted, counts.duplicate, counts.dead_lettered), (5, 1, 2, 2));

    let mut other = Feed::claim(store, &rollups, 1).await;
    other.stand_for((0, 0));
    other.take_in(3_000, &[(0, "a", "1.00")]);
    let outcome = store.writer().flush(other.take()).await.expect("nothing fails");
    assert_eq!(outcome, FlushOutcome::Repeated { offsets: vec![0] });
    let mut other = Feed::claim(store, &rollups, 1).await;
    other.stand_for((0, 1));
    other.take_in(3_000, &[(0, "a", "1.00")]);
    other.flush(store).await;
    assert_eq!(
        offsets(store, waiting()).await,
        [] as [u64; 0],
        "a letter may be replayed in another partition"
    );
    snapshot(store, &rollups).await;
}

/// Letters are counted by reason; a replay in vain is a letter of its own that names the one it was to mend, and is
/// done with it.
pub async fn counts_letters_by_reason(store: &dyn StoreUnderTest) {
    let rollups = rollups();
    let mut feed = Feed::claim(store, &rollups, 0).await;
    kill(&mut feed, store, 3).await;
    feed.stand_for((0, 1));
    feed.take_in_at(0, -AHEAD_MS, &[(0, "a", "1.00")]);
    feed.flush(store).await;
    let counted = |waiting, replayed, copies| LetterCount {
        stream: "orders".to_owned(),
        reason: "future_timestamp".to_owned(),
        waiting,
        replayed,
        copies,
    };
    let counts = async || store.reader().letter_counts(None).await.expect("letters can be counted");
    assert_eq!(counts().await, [counted(3, 0, 1)]);
    let copy = letters(store, DeadLetterQuery { places: vec![(0, 3)], ..DeadLetterQuery::default() }).await;
    assert_eq!((copy[0].replay_of, copy[0].replayed_at), (Some((0, 1)), None));
    let originals = || DeadLetterQuery { originals_only: true, ..DeadLetterQuery::default() };
    assert_eq!(offsets(store, originals()).await, [2, 1, 0]);

    feed.stand_for((0, 1));
    feed.take_in(1_000, &[(0, "a", "1.00")]);
    feed.flush(store).await;
    assert_eq!(counts().await, [counted(2, 1, 1)]);
    let replayed = || DeadLetterQuery { is_replayed: Some(true), ..DeadLetterQuery::default() };
    assert_eq!(offsets(store, replayed()).await, [3, 1], "with its letter the copy is done");

    let first = letters(store, originals()).await;
    let before = DeadLetterQuery { before: Some(first[0].id), ..originals() };
    assert_eq!(offsets(store, before).await, [1, 0], "a list goes on behind its last row");
    let places = DeadLetterQuery { places: vec![(0, 0), (0, 2), (1, 0)], ..DeadLetterQuery::default() };
    assert_eq!(offsets(store, places).await, [2, 0]);
    assert_eq!(store.reader().letter_counts(Some("others")).await.expect("nothing fails"), []);
}
