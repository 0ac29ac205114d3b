//! Cases of what waits in the outbox for topics: events, and rows that a topic refuses.

use crate::definition::Stream;
use crate::output::Outputs;
use crate::ports::{MAIN_LANE, OutboxKind, OutboxRow, OutboxStatus, Parked, StatusDetail};
use crate::query::{CellOrder, CellQuery};
use crate::time::Timestamp;

use super::StoreUnderTest;
use super::feed::{Feed, T0, rollups, snapshot, stream};

const MINUTE: i64 = 60_000;

fn outputs(late: bool, dead_letters: bool) -> Stream {
    let topics = if dead_letters { vec!["dlq".to_owned(), "other".to_owned()] } else { Vec::new() };
    let late = late.then(|| "late".to_owned());
    Stream { outputs: Outputs { late, dead_letters: topics, ..Outputs::default() }, ..stream() }
}

async fn lane(store: &dyn StoreUnderTest, lane: &str) -> Vec<OutboxRow> {
    store.writer().outbox("orders", lane, usize::MAX).await.expect("nothing fails")
}

async fn waiting(store: &dyn StoreUnderTest) -> Vec<OutboxStatus> {
    let mut outboxes = store.reader().status(StatusDetail::Marks).await.expect("nothing fails").outboxes;
    outboxes.sort_by(|one, other| one.lane.cmp(&other.lane));
    outboxes
}

/// Two dead letters, an event in time and a late one of `diverted`.
async fn write(store: &dyn StoreUnderTest, feed: &mut Feed) {
    feed.take_in(2 * MINUTE, &[(2 * MINUTE, "a", "1"), (0, "b", "1")]);
    feed.take_in_at(60 * MINUTE, 2 * MINUTE, &[(60 * MINUTE, "c", "1"), (61 * MINUTE, "d", "1")]);
    feed.flush(store).await;
}

/// Events that were diverted or could not be folded are in the outbox of a stream that has topics for them, with all
/// that a record needs, in the transaction that made them known; of another stream they are not.
pub async fn tells_events(store: &dyn StoreUnderTest) {
    let only = rollups().split_off(2);
    let mut feed = Feed::claim_of(store, outputs(true, true), &only, 3).await;
    write(store, &mut feed).await;
    let told = lane(store, MAIN_LANE).await;
    let kinds: Vec<OutboxKind> = told.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [OutboxKind::Late, OutboxKind::DeadLetter, OutboxKind::DeadLetter]);
    let late = told[0].event.as_ref().expect("an event");
    assert_eq!((told[0].rollup.as_str(), told[0].window_start), ("diverted", Timestamp(T0)));
    assert_eq!((late.partition, late.offset, late.event_id.as_str()), (3, 1, "e3-1"));
    assert_eq!((late.key.as_deref(), late.reason.as_str()), (Some(&b"u1"[..]), ""));
    assert!(late.raw.starts_with(b"{\"event_id\":\"e3-1\""), "as sent");
    let letter = told[1].event.as_ref().expect("an event");
    assert_eq!((letter.offset, letter.reason.as_str()), (2, "future_timestamp"));
    assert_eq!((letter.key.as_deref(), letter.received_at), (Some(&b"u2"[..]), Timestamp(T0 + 60 * MINUTE)));
    assert!(!letter.detail.is_empty() && letter.raw.starts_with(b"{\"event_id\":\"e3-2\""), "{letter:?}");
    let status = waiting(store).await;
    assert_eq!((status.len(), status[0].rows, status[0].lane.as_str()), (1, 3, MAIN_LANE));
    snapshot(store, &only).await;

    // A flush that fails tells nothing.
    feed.take_in_at(60 * MINUTE, 2 * MINUTE, &[(60 * MINUTE, "c", "1")]);
    store.fail_after(Some(3));
    store.writer().flush(feed.take()).await.expect_err("the transaction fails");
    store.fail_after(None);
    assert_eq!(lane(store, MAIN_LANE).await.len(), 3);
    for (late, dead_letters, expect) in [(true, false, 1), (false, true, 2), (false, false, 0)] {
        store.writer().outbox_sent("orders", MAIN_LANE, i64::MAX, &[]).await.expect("nothing fails");
        let mut feed = Feed::claim_of(store, outputs(late, dead_letters), &only, 4 + expect).await;
        write(store, &mut feed).await;
        let told = lane(store, MAIN_LANE).await;
        assert_eq!(told.iter().filter(|row| row.event.is_some()).count(), expect as usize);
    }
}

/// What one topic refuses waits in that topic's lane, event and all, while the rest is deleted; it keeps its order.
pub async fn parks_what_a_topic_refuses(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim_of(store, outputs(true, true), &rollups(), 0).await;
    write(store, &mut feed).await;
    let told = lane(store, MAIN_LANE).await;
    let letters: Vec<&OutboxRow> = told.iter().filter(|row| row.kind == OutboxKind::DeadLetter).collect();
    let parked = |row: &OutboxRow, topic: &str| Parked { id: row.id, topic: topic.to_owned() };
    let refused = [parked(letters[0], "dlq"), parked(letters[1], "dlq"), parked(letters[1], "other")];
    let last = told.last().expect("there are rows").id;
    store.writer().outbox_sent("orders", MAIN_LANE, last, &refused).await.expect("nothing fails");
    assert_eq!(lane(store, MAIN_LANE).await, []);
    assert_eq!(lane(store, "dlq").await, [letters[0].clone(), letters[1].clone()]);
    assert_eq!(lane(store, "other").await, [letters[1].clone()]);
    let shown = |status: Vec<OutboxStatus>| -> Vec<(String, u64)> {
        status.into_iter().map(|status| (status.lane, status.rows)).collect()
    };
    assert_eq!(shown(waiting(store).await), [("dlq".to_owned(), 2), ("other".to_owned(), 1)]);

    // Refused again: it stays, and what was taken goes.
    let again = [parked(letters[0], "dlq")];
    store.writer().outbox_sent("orders", "dlq", letters[1].id, &again).await.expect("nothing fails");
    assert_eq!(lane(store, "dlq").await, [letters[0].clone()]);
    store.writer().outbox_sent("orders", "dlq", letters[0].id, &[]).await.expect("nothing fails");
    assert_eq!(shown(waiting(store).await), [("other".to_owned(), 1)]);
}

/// Cells of windows far apart are read by their keys, of all panes, and no other.
pub async fn reads_cells_by_key(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    let hour = 60 * MINUTE;
    feed.write(
        store,
        9 * hour,
        &[
            (0, "a", "1"),
            (0, "b", "2"),
            (20 * MINUTE, "a", "4"),
            (5 * hour, "a", "8"),
            (5 * hour, "c'é", "16"),
        ],
    )
    .await;
    let of = |rollup: usize, windows: &[(i64, &[&str])]| {
        let rollup = rollups()[rollup].clone();
        let keys = windows.iter().map(|(start, dimensions)| {
            (Timestamp(T0 + start), dimensions.iter().map(|&text| text.to_owned()).collect())
        });
        let query = CellQuery {
            rollup,
            from: Timestamp::NEVER,
            to: Timestamp(i64::MAX),
            filters: Vec::new(),
            after: None,
            windows: keys.collect(),
            order: CellOrder::OldestFirst,
            cells_max: usize::MAX,
        };
        async move {
            let cells = store.reader().cells(&query).await.expect("nothing fails");
            let shown = cells.iter().map(|cell| ((cell.pane.0 - T0) / MINUTE, cell.dimensions.join(",")));
            shown.collect::<Vec<_>>()
        }
    };
    let named = |minute: i64, dimensions: &str| (minute, dimensions.to_owned());
    let found = of(0, &[(0, &["b"]), (5 * hour, &["c'é"]), (5 * hour, &["b"]), (hour, &["a"])]).await;
    assert_eq!(found, [named(0, "b"), named(300, "c'é")]);
    assert_eq!(of(1, &[(0, &[])]).await, [named(0, ""), named(15, "")], "both panes of the hour");
    assert_eq!(of(0, &[]).await.len(), 5);
}

/// A reader gets a bounded number of bytes at once, and one event however large.
pub async fn bounds_what_is_read(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim_of(store, outputs(false, true), &rollups()[..1], 0).await;
    let events: Vec<(i64, &str, &str)> = (0..40).map(|_| (60 * MINUTE, "d", "1")).collect();
    feed.take_in_at(60 * MINUTE, 0, &events);
    let mut flush = std::sync::Arc::into_inner(feed.take()).expect("nobody else has it");
    let whole = crate::limits::OUTBOX_BYTES_AT_ONCE;
    for (at, letter) in flush.dead_letters.iter_mut().enumerate() {
        letter.raw = vec![b'x'; if at == 0 { whole + 1 } else { whole / 16 }];
    }
    store.writer().flush(std::sync::Arc::new(flush)).await.expect("nothing fails");
    let mut sizes = Vec::new();
    loop {
        let rows = lane(store, MAIN_LANE).await;
        let Some(last) = rows.last() else { break };
        store.writer().outbox_sent("orders", MAIN_LANE, last.id, &[]).await.expect("nothing fails");
        sizes.push(rows.len());
    }
    assert_eq!(sizes, [1, 16, 16, 7]);
}
