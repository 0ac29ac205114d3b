//! Cases of claims, flushes and what they leave behind.

use crate::cell::Value;
use crate::flush::Flush;
use crate::ports::{ErrorKind, FlushOutcome, MAIN_LANE, Needed, OutboxKind, StatusDetail};
use crate::query::{CellRow, DeadLetterQuery, EventQuery, LateQuery};
use crate::time::Timestamp;

use super::StoreUnderTest;
use super::feed::{Feed, T0, cells, claim_of, events_of, rollups, snapshot, stream};

const MINUTE: i64 = 60_000;

/// Epochs grow with claims, and a log that is another one is noticed.
pub async fn claims(store: &dyn StoreUnderTest) {
    let first = Feed::claim(store, &rollups(), 0).await;
    assert_eq!((first.checkpoint.epoch, first.checkpoint.next_offset), (1, 0));
    assert_eq!(first.checkpoint.clock.m, Timestamp::NEVER);
    let second = Feed::claim(store, &rollups(), 0).await;
    assert_eq!(second.checkpoint.epoch, 2);
    let read = store.writer().checkpoint("orders", 0).await.expect("it was claimed");
    assert_eq!(read, second.checkpoint);
    let mut elsewhere = claim_of(&second.plan, 0);
    elsewhere.log_identity = "log-2".to_owned();
    let refused = store.writer().claim(&elsewhere).await.expect_err("the log is another");
    assert_eq!(refused.kind, ErrorKind::Corrupt, "{refused}");
    assert_eq!(store.writer().checkpoint("orders", 0).await.expect("it was claimed").epoch, 2);
    let unknown = store.writer().checkpoint("orders", 9).await.expect_err("it was never claimed");
    assert_eq!(unknown.kind, ErrorKind::Invalid);
    let mut later = claim_of(&second.plan, 1);
    later.start = 40;
    let checkpoint = store.writer().claim(&later).await.expect("it is free");
    assert_eq!((checkpoint.first_offset, checkpoint.next_offset, checkpoint.dedup_from.0), (40, 40, 40));
}

/// A flush whose offset or epoch is not the stored one changes nothing.
pub async fn misses(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    feed.take_in(0, &[(0, "a", "1")]);
    let flush = feed.take();
    assert_eq!(store.writer().flush(flush.clone()).await.expect("nothing fails"), FlushOutcome::Done);
    let before = snapshot(store, &rollups()).await;
    let again = store.writer().flush(flush).await.expect("nothing fails");
    assert_eq!(again, FlushOutcome::Missed { epoch: 1, next_offset: 1 });
    assert_eq!(snapshot(store, &rollups()).await, before);

    // A store that went back to an earlier state is noticed without a flush.
    assert!(!feed.is_at(store, 2).await, "the partition stands at 1");
    assert_eq!(snapshot(store, &rollups()).await, before);
    assert!(feed.is_at(store, 1).await);

    feed.take_in(0, &[(0, "a", "1")]);
    let other = Feed::claim(store, &rollups(), 0).await;
    assert!(!feed.is_at(store, 1).await, "another has claimed it");
    let before = snapshot(store, &rollups()).await;
    let foreign = store.writer().flush(feed.take()).await.expect("nothing fails");
    assert_eq!(foreign, FlushOutcome::Missed { epoch: other.checkpoint.epoch, next_offset: 1 });
    assert_eq!(snapshot(store, &rollups()).await, before);
}

/// A flush that fails at any of its steps has written nothing; one whose answer is lost has written everything.
pub async fn flushes_all_or_nothing(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    feed.write(store, 5 * MINUTE, &[(0, "a", "1"), (5 * MINUTE, "b", "2")]).await;
    // New cells, a late event for a final window and for the late lane, a dead letter, windows that close.
    feed.take_in(9 * MINUTE, &[(0, "a", "1"), (8 * MINUTE, "b", "2.5"), (9 * MINUTE, "c", "-3")]);
    feed.take_in_at(60 * MINUTE, 9 * MINUTE, &[(60 * MINUTE, "d", "1")]);
    let flush = feed.take();
    let before = snapshot(store, &rollups()).await;
    let mut failures = 0;
    for step in 0.. {
        store.fail_after(Some(step));
        let outcome = store.writer().flush(flush.clone()).await;
        store.fail_after(None);
        if let Ok(outcome) = outcome {
            assert_eq!(outcome, FlushOutcome::Done, "at step {step}");
            break;
        }
        failures += 1;
        let stored = store.writer().checkpoint("orders", 0).await.expect("it was claimed").next_offset;
        if stored == flush.end {
            // The answer was lost, not the flush.
            assert_eq!(store.writer().flush(flush.clone()).await.expect("nothing fails"), missed_at(&flush));
            break;
        }
        assert_eq!(snapshot(store, &rollups()).await, before, "after failing at step {step}");
    }
    assert!(failures >= 10, "only {failures} steps could fail");
    let after = snapshot(store, &rollups()).await;
    assert_eq!(after.letters, [5]);
    assert_eq!(after.raw.len(), 5);
    assert_eq!(after.rollups.iter().map(|rollup| rollup.diverted).collect::<Vec<_>>(), [0, 0, 1]);
    assert!(after.outbox.len() > before.outbox.len());
}

fn missed_at(flush: &Flush) -> FlushOutcome {
    FlushOutcome::Missed { epoch: flush.epoch, next_offset: flush.end }
}

/// Cells do not depend on how their events were split into flushes. `splits` are the numbers of events per flush.
pub async fn merges_any_split(store: &dyn StoreUnderTest, events: &[(i64, &str, &str)], splits: &[usize]) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    let arrived = events.iter().map(|event| event.0).max().unwrap_or(0);
    let mut whole = feed.restarted();
    whole.take_in(arrived, events);
    let expect = whole.take();
    let mut rest = events;
    for split in splits {
        let (now, later) = rest.split_at((*split).clamp(1, rest.len().max(1)).min(rest.len()));
        if !now.is_empty() {
            feed.write(store, arrived, now).await;
        }
        rest = later;
    }
    if !rest.is_empty() {
        feed.write(store, arrived, rest).await;
    }
    for (rollup, delta) in rollups().iter().zip(&expect.rollups) {
        let mut stored = cells(store, rollup).await;
        stored.iter_mut().for_each(|cell| cell.revision = 0);
        let folded: Vec<CellRow> = delta
            .cells
            .sorted()
            .iter()
            .map(|cell| CellRow {
                pane: cell.pane,
                dimensions: cell.dimensions().map(str::to_owned).collect(),
                values: cell.values.to_vec(),
                events: cell.events,
                late_count: cell.late,
                revision: 0,
                shown: Vec::new(),
            })
            .collect();
        assert_eq!(stored, folded, "{} split into {splits:?}", rollup.name);
    }
    snapshot(store, &rollups()).await;
}

/// Sums beyond 64 bits, negative and mixed ones keep all their digits, whatever the order of the flushes.
pub async fn keeps_every_digit(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    let huge = "9999999999999999999999999.99";
    for amount in [huge, "-0.01", huge, "-1", "0.01"] {
        feed.write(store, 0, &[(0, "a", amount)]).await;
    }
    for amount in ["-9999999999999999999999999.99", "-10000000000000.00", "0.01"] {
        feed.write(store, 0, &[(0, "b", amount)]).await;
    }
    feed.write(store, 0, &[(0, "c", "-0.01")]).await;
    let rollup = &rollups()[0];
    let shown: Vec<Vec<Option<String>>> = cells(store, rollup)
        .await
        .iter()
        .map(|cell| {
            cell.values
                .iter()
                .zip(&rollup.measures)
                .map(|(value, measure)| value.show(&measure.function))
                .collect()
        })
        .collect();
    let some = |texts: [&str; 5]| texts.map(|text| Some(text.to_owned())).to_vec();
    assert_eq!(
        shown,
        [
            some(["5", "19999999999999999999999998.98", "-1.00", huge, "3999999999999999999999999.79600000"]),
            some([
                "3",
                "-10000000000009999999999999.98",
                "-9999999999999999999999999.99",
                "0.01",
                "-3333333333336666666666666.66000000"
            ]),
            some(["1", "-0.01", "-0.01", "-0.01", "-0.01000000"]),
        ]
    );
}

/// Panes are stored on their own, also before 1970, and their window is announced once.
pub async fn stores_panes(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    let early = -T0 - 10 * MINUTE;
    feed.write(
        store,
        0,
        &[(early, "a", "1"), (early - 20 * MINUTE, "a", "1"), (0, "b", "1"), (14 * MINUTE / 14, "b", "1")],
    )
    .await;
    let by_hour = &rollups()[1];
    let panes: Vec<i64> = cells(store, by_hour).await.iter().map(|cell| cell.pane.0).collect();
    assert_eq!(panes, [-30 * MINUTE, -15 * MINUTE, T0]);
    let outbox = store.writer().outbox("orders", MAIN_LANE, 100).await.expect("nothing fails");
    let hours: Vec<_> =
        outbox.iter().filter(|row| row.rollup == "by_hour").map(|row| row.window_start.0).collect();
    assert_eq!(hours, [-60 * MINUTE]);
}

/// Late events of a rollup that diverts them are in the late lane and nowhere else.
pub async fn diverts_late_events(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    feed.write(store, 2 * MINUTE, &[(0, "a", "1"), (2 * MINUTE, "a", "1"), (0, "a", "1")]).await;
    let status = store.reader().status(StatusDetail::Ledger).await.expect("nothing fails");
    let diverted = status.rollups.iter().find(|rollup| rollup.name == "diverted").expect("it is prepared");
    assert_eq!((diverted.folded, diverted.diverted, diverted.in_cells), (3, 1, 2));
    let late: Vec<u64> = cells(store, &rollups()[0]).await.iter().map(|cell| cell.late_count).collect();
    assert_eq!(late, [1, 0]);
    snapshot(store, &rollups()).await;
}

/// Late events are listed newest first, of one rollup or of all, page by page, as they were sent.
pub async fn lists_late_events(store: &dyn StoreUnderTest) {
    let mut second = rollups().remove(2);
    second.name = "diverted_too".to_owned();
    second.by = Vec::new();
    let all: Vec<_> = rollups().into_iter().chain([second]).collect();
    let mut feed = Feed::claim(store, &all, 0).await;
    feed.write(store, 2 * MINUTE, &[(2 * MINUTE, "a", "1"), (0, "b", "1"), (1_000, "c", "1")]).await;
    let list = |rollup: Option<&str>, before: Option<i64>, limit: usize| {
        let query = LateQuery { rollup: rollup.map(str::to_owned), before, limit };
        async move { store.reader().late(&query).await.expect("nothing fails") }
    };
    let of_one = list(Some("diverted"), None, 10).await;
    let shown: Vec<_> = of_one.iter().map(|late| (late.offset, late.dimensions.join("/"))).collect();
    assert_eq!(shown, [(2, "c/u2".to_owned()), (1, "b/u1".to_owned())]);
    let first = &of_one[1];
    assert_eq!((first.event_id.as_str(), first.partition), ("e0-1", 0));
    let times = (first.event_time, first.window_start, first.received_at);
    assert_eq!(times, (Timestamp(T0), Timestamp(T0), Timestamp(T0 + 2 * MINUTE)));
    assert!(first.raw.starts_with(b"{\"event_id\":\"e0-1\""), "as sent");
    let newest = list(None, None, 3).await;
    let rest = list(None, newest.last().map(|late| late.id), 3).await;
    assert_eq!((newest.len(), rest.len()), (3, 1));
    assert!(newest.iter().chain(&rest).is_sorted_by(|newer, older| newer.id > older.id));
    assert_eq!(list(Some("by_type"), None, 10).await, []);
}

/// Dead letters are kept with their reason, and their offsets come back with a claim while a rebuild needs them.
pub async fn keeps_dead_letters(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    feed.take_in(0, &[(0, "a", "1")]);
    feed.take_in_at(60 * MINUTE, 0, &[(60 * MINUTE, "b", "1"), (0, "c", "1"), (61 * MINUTE, "d", "1")]);
    feed.flush(store).await;
    let query =
        DeadLetterQuery { reason: Some("future_timestamp".to_owned()), limit: 10, ..Default::default() };
    let letters = store.reader().dead_letters(&query).await.expect("nothing fails");
    let shown: Vec<_> = letters.iter().map(|letter| (letter.offset, letter.event_type.as_str())).collect();
    assert_eq!(shown, [(3, "d"), (1, "b")]);
    assert!(letters[0].raw.starts_with(b"{\"event_id\":\"e0-3\""), "as sent");
    let one = DeadLetterQuery { event_id: Some("e0-1".to_owned()), limit: 10, ..Default::default() };
    assert_eq!(store.reader().dead_letters(&one).await.expect("nothing fails").len(), 1);
    assert_eq!(Feed::claim(store, &rollups(), 0).await.checkpoint.dead_offsets, [1, 3]);
    snapshot(store, &rollups()).await;
}

/// Raw events are found by id, user, session, type and time, the newest first.
pub async fn finds_events(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    feed.write(
        store,
        9 * MINUTE,
        &[(3_000, "a", "1"), (9_000, "b", "2"), (1_000, "a", "3"), (2_000, "c", "4")],
    )
    .await;
    let all = events_of(store).await;
    assert_eq!(all.iter().map(|event| event.offset).collect::<Vec<_>>(), [1, 0, 3, 2]);
    assert_eq!(all[0].properties, r#"{"amount":"2"}"#);
    assert_eq!(all[0].received_at, Timestamp(T0 + 9 * MINUTE));
    let base = EventQuery { stream: "orders".to_owned(), limit: 10, ..EventQuery::default() };
    let by = |query: EventQuery| async move {
        let found = store.reader().events(&query).await.expect("nothing fails");
        found.iter().map(|event| event.offset).collect::<Vec<_>>()
    };
    assert_eq!(by(EventQuery { event_id: Some("e0-2".to_owned()), ..base.clone() }).await, [2]);
    assert_eq!(by(EventQuery { event_id: Some("e0-9".to_owned()), ..base.clone() }).await, Vec::<u64>::new());
    assert_eq!(by(EventQuery { user_id: Some("u0".to_owned()), ..base.clone() }).await, [0, 3]);
    assert_eq!(by(EventQuery { session_id: Some("u0".to_owned()), ..base.clone() }).await, Vec::<u64>::new());
    assert_eq!(by(EventQuery { event_type: Some("a".to_owned()), ..base.clone() }).await, [0, 2]);
    let (from, to) = (Some(Timestamp(T0 + 2_000)), Some(Timestamp(T0 + 9_000)));
    assert_eq!(by(EventQuery { from, to, ..base.clone() }).await, [0, 3]);
    assert_eq!(by(EventQuery { limit: 2, ..base.clone() }).await, [1, 0]);
    assert_eq!(by(EventQuery { stream: "none".to_owned(), ..base }).await, Vec::<u64>::new());
}

/// What was sent is deleted, and only that.
pub async fn deletes_from_the_outbox(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups()[..1], 0).await;
    feed.write(
        store,
        9 * MINUTE,
        &[(0, "a", "1"), (MINUTE, "a", "1"), (2 * MINUTE, "a", "1"), (9 * MINUTE, "a", "1")],
    )
    .await;
    let rows = store.writer().outbox("orders", MAIN_LANE, 2).await.expect("nothing fails");
    assert_eq!(rows.iter().map(|row| row.window_start.0 - T0).collect::<Vec<_>>(), [0, MINUTE]);
    assert!(rows.iter().all(|row| row.kind == OutboxKind::Closed && row.dimensions == ["a"]));
    store.writer().outbox_sent("orders", MAIN_LANE, rows[1].id, &[]).await.expect("nothing fails");
    let rest = store.writer().outbox("orders", MAIN_LANE, 10).await.expect("nothing fails");
    assert_eq!(rest.iter().map(|row| row.window_start.0 - T0).collect::<Vec<_>>(), [2 * MINUTE]);
    store.writer().outbox_sent("orders", MAIN_LANE, rest[0].id, &[]).await.expect("nothing fails");
    feed.write(store, 12 * MINUTE, &[(12 * MINUTE, "a", "1")]).await;
    let later = store.writer().outbox("orders", MAIN_LANE, 10).await.expect("nothing fails");
    assert!(later[0].id > rest[0].id, "identifiers are never used again");
}

/// A definition under a known name must be the one that the cells were counted by.
pub async fn refuses_another_definition(store: &dyn StoreUnderTest) {
    store.writer().prepare(&[stream()], &rollups()).await.expect("the definitions are sound");
    store.writer().prepare(&[stream()], &rollups()).await.expect("nothing has changed");
    let mut changed = rollups();
    changed[0].window_ms *= 2;
    let refused = store.writer().prepare(&[stream()], &changed).await.expect_err("the window is another");
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.to_string().contains("another name"), "{refused}");
    let mut shown = rollups();
    shown[0].grace_ms += 1;
    shown[0].keep_ms += 1;
    store.writer().prepare(&[stream()], &shown).await.expect("grace and keep change no cell");
}

/// A rollup that comes later, or comes back, is fed from there and says so.
pub async fn takes_up_a_new_rollup(store: &dyn StoreUnderTest) {
    let all = rollups();
    let mut feed = Feed::claim(store, &all[..1], 0).await;
    feed.write(store, 0, &[(0, "a", "1"), (10, "a", "1")]).await;
    let mut feed = Feed::claim(store, &all[1..], 0).await;
    feed.write(store, MINUTE, &[(MINUTE, "a", "1")]).await;
    let mut feed = Feed::claim(store, &all, 0).await;
    feed.write(store, 2 * MINUTE, &[(2 * MINUTE, "a", "1")]).await;
    let after = snapshot(store, &all).await;
    let folded: Vec<(&str, u64)> =
        after.rollups.iter().map(|rollup| (rollup.name.as_str(), rollup.folded)).collect();
    assert_eq!(folded, [("by_hour", 2), ("by_type", 3), ("diverted", 2)]);
    let minutes: Vec<_> =
        after.rollups.iter().map(|rollup| rollup.complete_from.map(|at| (at.0 - T0) / MINUTE)).collect();
    // What was missed is dated five minutes ahead of the partition's clock at most.
    assert_eq!(minutes, [Some(60), Some(7), Some(6)]);
}

/// The store says from where a restart reads, as far as that is on the disk.
pub async fn says_what_a_restart_needs(store: &dyn StoreUnderTest) {
    let needed = |next_offset, window_from| {
        vec![Needed { stream: "orders".to_owned(), partition: 3, next_offset, window_from }]
    };
    let mut feed = Feed::claim(store, &rollups(), 3).await;
    assert_eq!(store.writer().sync().await.expect("nothing fails"), needed(0, 0));
    feed.write(store, 0, &[(0, "a", "1"), (0, "a", "1")]).await;
    // The duplicate window still begins at the first record.
    assert_eq!(store.writer().sync().await.expect("nothing fails"), needed(2, 0));
    feed.write(store, 86_401_000, &[(86_401_000, "a", "1")]).await;
    assert_eq!(store.writer().sync().await.expect("nothing fails"), needed(3, 2));
}

/// Everything is there again after the store was closed and opened.
pub async fn reopens(store: &mut dyn StoreUnderTest) {
    let mut feed = Feed::claim(&*store, &rollups(), 0).await;
    feed.write(&*store, 5 * MINUTE, &[(0, "a", "1.25"), (5 * MINUTE, "b", "2")]).await;
    let before = snapshot(&*store, &rollups()).await;
    store.reopen().await;
    let store: &dyn StoreUnderTest = store;
    assert_eq!(snapshot(store, &rollups()).await, before);
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    assert_eq!((feed.checkpoint.epoch, feed.checkpoint.next_offset), (2, 2));
    feed.write(store, 5 * MINUTE, &[(0, "a", "1")]).await;
    let first = &cells(store, &rollups()[0]).await[0];
    assert_eq!(first.values[1], Value::Sum(225));
    assert_eq!((first.late_count, first.revision), (1, 1));
}
