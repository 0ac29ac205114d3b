//! Cases of questions that add up where the data lies.

use crate::definition::Rollup;
use crate::query::{CellOrder, CellQuery, EventQuery, TallyQuery, Totals};
use crate::time::Timestamp;

use super::StoreUnderTest;
use super::feed::{Feed, T0, cells, rollups};

const MINUTE: i64 = 60_000;

/// Cells come from either end of time, by their dimensions within a pane.
pub async fn orders_cells(store: &dyn StoreUnderTest) {
    let all = rollups();
    let mut feed = Feed::claim(store, &all, 0).await;
    feed.write(
        store,
        9 * MINUTE,
        &[(0, "b", "1"), (0, "a", "1"), (MINUTE, "a", "1"), (3 * MINUTE, "c", "1"), (3 * MINUTE, "a", "1")],
    )
    .await;
    for (order, expect) in [
        (CellOrder::OldestFirst, ["0 a", "0 b", "1 a", "3 a", "3 c"]),
        (CellOrder::NewestFirst, ["3 a", "3 c", "1 a", "0 a", "0 b"]),
    ] {
        for count in [1, 3, 5] {
            let query = CellQuery {
                rollup: all[0].clone(),
                from: Timestamp::NEVER,
                to: Timestamp(i64::MAX),
                filters: Vec::new(),
                after: None,
                windows: Vec::new(),
                order,
                cells_max: count,
            };
            let cells = store.reader().cells(&query).await.expect("nothing fails");
            let found: Vec<String> = cells
                .iter()
                .map(|cell| format!("{} {}", (cell.pane.0 - T0) / MINUTE, cell.dimensions[0]))
                .collect();
            assert_eq!(found, expect[..count], "{order:?}");
        }
    }
    goes_on_behind_a_cell(store, &all[0]).await;
}

/// Page by page, also within a pane, the cells are those of one page.
async fn goes_on_behind_a_cell(store: &dyn StoreUnderTest, rollup: &Rollup) {
    let all = cells(store, rollup).await;
    for count in 1..=all.len() {
        let mut query = CellQuery {
            rollup: rollup.clone(),
            from: Timestamp::NEVER,
            to: Timestamp(i64::MAX),
            filters: Vec::new(),
            after: None,
            windows: Vec::new(),
            order: CellOrder::OldestFirst,
            cells_max: count,
        };
        let mut found = Vec::new();
        loop {
            let page = store.reader().cells(&query).await.expect("nothing fails");
            assert!(page.len() <= count);
            let Some(last) = page.last() else { break };
            query.after = Some((last.pane, last.dimensions.clone()));
            found.extend(page);
        }
        assert_eq!(found, all, "{count} at once");
    }
}

/// Events are added up by dimensions and windows are counted once, however many panes and cells they have.
pub async fn tallies(store: &dyn StoreUnderTest) {
    let all = rollups();
    let mut feed = Feed::claim(store, &all, 0).await;
    let whole = (Timestamp::NEVER, Timestamp(i64::MAX));
    let ask = async |at: usize, (from, to): (Timestamp, Timestamp)| {
        let query = TallyQuery { rollup: all[at].clone(), from, to };
        store.reader().tally(&query).await.expect("nothing fails")
    };
    assert_eq!((ask(0, whole).await.windows, ask(1, whole).await.total()), (0, 0));
    feed.write(
        store,
        99 * MINUTE,
        &[
            (0, "b", "1"),
            (9, "a", "1"),
            (20 * MINUTE, "a", "1"),
            (70 * MINUTE, "a", "1"),
            (-MINUTE, "c", "1"),
        ],
    )
    .await;
    let by_type = ask(0, whole).await;
    let named = |kind: &str, events: u64| (vec![kind.to_owned()], events);
    assert_eq!((by_type.windows, by_type.total()), (4, 5));
    let query = TallyQuery { rollup: all[0].clone(), from: whole.0, to: whole.1 };
    let totals = store.reader().totals(&query).await.expect("nothing fails");
    let stored = cells(store, &all[0]).await;
    assert_eq!((totals.cells, totals.events), (stored.len() as u64, 5));
    assert_eq!(totals.late, stored.iter().map(|cell| cell.late_count).sum::<u64>());
    let nothing = TallyQuery { to: whole.0, ..query };
    assert_eq!(store.reader().totals(&nothing).await.expect("nothing fails"), Totals::default());
    assert_eq!(by_type.events, [named("a", 3), named("b", 1), named("c", 1)]);
    let by_hour = ask(1, whole).await;
    assert_eq!((by_hour.windows, by_hour.events), (3, vec![(Vec::new(), 5)]));
    let range = ask(0, (Timestamp(T0), Timestamp(T0 + 70 * MINUTE))).await;
    assert_eq!((range.windows, range.events), (2, vec![named("a", 2), named("b", 1)]));
}

/// Raw events are counted as they are found, and users once each.
pub async fn counts_events_and_users(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    // Users are u0, u1, u2, u0, … by offset.
    feed.write(
        store,
        9 * MINUTE,
        &[(0, "a", "1"), (1, "b", "1"), (2, "a", "1"), (5, "a", "1"), (9, "a", "1")],
    )
    .await;
    let at = |ms: i64| Timestamp(T0 + ms);
    let base = EventQuery { stream: "orders".to_owned(), limit: 1, ..EventQuery::default() };
    let count = async |query: EventQuery| store.reader().count_events(&query).await.expect("nothing fails");
    assert_eq!(count(base.clone()).await, 5);
    assert_eq!(count(EventQuery { from: Some(at(1)), to: Some(at(9)), ..base.clone() }).await, 3);
    assert_eq!(count(EventQuery { event_type: Some("a".to_owned()), ..base.clone() }).await, 4);
    assert_eq!(count(EventQuery { user_id: Some("u0".to_owned()), ..base.clone() }).await, 2);
    assert_eq!(count(EventQuery { stream: "none".to_owned(), ..base }).await, 0);
    let users = async |stream: &str, from: i64, to: i64| {
        store.reader().active_users(stream, at(from), at(to)).await.expect("nothing fails")
    };
    assert_eq!(users("orders", 0, 10).await, 3);
    assert_eq!(users("orders", 0, 2).await, 2);
    assert_eq!(users("orders", 5, 9).await, 1);
    assert_eq!(users("orders", 3, 5).await, 0);
    assert_eq!(users("none", 0, 10).await, 0);
}
