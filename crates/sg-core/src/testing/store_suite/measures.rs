//! Cases of measures that are more than a column: levels that run through all time, and sketches.

use std::collections::BTreeMap;

use crate::cell::{Given, Value};
use crate::definition::{Condition, Function, Measure, NumberField, Rollup};
use crate::query::{CellOrder, CellQuery, CellRow};
use crate::time::Timestamp;
use crate::window;

use super::StoreUnderTest;
use super::feed::{Feed, T0, cells, rollups, snapshot};

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

/// An event of a case: milliseconds after [`T0`], type, amount, and its user, whom the feed makes of its offset.
type Event = (i64, &'static str, String, String);

/// Returns a rollup of levels by user and minute, and one of all users by hours of four panes.
fn levels() -> Vec<Rollup> {
    let is = |kind: &str| Condition(vec![("event_type".to_owned(), vec![kind.to_owned()])]);
    let level = Measure {
        name: "present".to_owned(),
        function: Function::Level { up: is("in"), down: is("out") },
        filter: Condition::default(),
    };
    let count =
        Measure { name: "events".to_owned(), function: Function::Count, filter: Condition::default() };
    let [by_type, by_hour, _] = <[Rollup; 3]>::try_from(rollups()).expect("there are three");
    let measures = vec![count, level];
    vec![
        Rollup {
            name: "present_by_user".to_owned(),
            by: vec!["user_id".to_owned()],
            measures: measures.clone(),
            ..by_type
        },
        Rollup { name: "present_by_hour".to_owned(), measures, ..by_hour },
    ]
}

/// Returns a rollup with a sketch of each kind.
fn sketches() -> Rollup {
    let amount = NumberField { name: "amount".to_owned(), scale: 2 };
    let measure =
        |name: &str, function| Measure { name: name.to_owned(), function, filter: Condition::default() };
    let measures = vec![
        measure("users", Function::Distinct("user_id".to_owned())),
        measure("median", Function::Quantile { field: amount, q_ppm: 500_000 }),
        measure("events", Function::Count),
        measure("favourites", Function::Top { field: "user_id".to_owned(), k: 2 }),
    ];
    Rollup { name: "sketched".to_owned(), measures, ..rollups().remove(0) }
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Writes events that lie up to so many days back, from a partition whose next offset is known; returns them.
async fn write_some(
    store: &dyn StoreUnderTest,
    (feed, offset): (&mut Feed, &mut u64),
    dice: &mut Dice,
    (now_ms, back_ms): (i64, i64),
) -> Vec<Event> {
    let made: Vec<(i64, &'static str, String)> = (0..1 + dice.below(20))
        .map(|_| {
            let at = now_ms - dice.below(back_ms as u64) as i64;
            (at, ["in", "in", "out", "other"][dice.below(4) as usize], dice.below(1_000).to_string())
        })
        .collect();
    let sent: Vec<(i64, &str, &str)> =
        made.iter().map(|(at, kind, amount)| (*at, *kind, amount.as_str())).collect();
    feed.write(store, now_ms, &sent).await;
    let first = *offset;
    *offset += made.len() as u64;
    let users = (first..).map(|offset| format!("u{}", offset % 3));
    made.into_iter().zip(users).map(|((at, kind, amount), user)| (at, kind, amount, user)).collect()
}

/// Returns where a level stands at the end of a pane, by adding up all events.
fn brute(rollup: &Rollup, events: &[Event], cell: &CellRow) -> i64 {
    let end = cell.pane.0 + rollup.pane_ms;
    let counts = events.iter().filter(|(at, _, _, user)| {
        T0 + at < end && cell.dimensions.iter().all(|dimension| dimension == user)
    });
    counts.map(|(_, kind, _, _)| i64::from(*kind == "in") - i64::from(*kind == "out")).sum()
}

/// Levels run through all time: late events, several partitions, restarts and retention change nothing about that.
pub async fn levels_run_through_all_time(store: &mut dyn StoreUnderTest, seed: u64) {
    let rollups = levels();
    let mut dice = Dice(seed);
    let mut events: Vec<Event> = Vec::new();
    let mut offsets = [0, 0];
    for round in 0..8 {
        let now_ms = round * 2 * DAY;
        // Claimed anew each time: as after a restart.
        let mut feeds = [Feed::claim(store, &rollups, 0).await, Feed::claim(store, &rollups, 1).await];
        for _ in 0..4 {
            let at = dice.below(2) as usize;
            let back = [3 * MINUTE, DAY, 12 * DAY][dice.below(3) as usize];
            let place = (&mut feeds[at], &mut offsets[at]);
            events.extend(write_some(store, place, &mut dice, (now_ms, back)).await);
        }
        for step in 0..3 {
            store.fail_after(Some(step));
            let failed = store.writer().retain(&feeds[0].plan, Timestamp(T0 + now_ms), 1_000).await;
            store.fail_after(None);
            drop(failed);
            check_levels(store, &rollups, &events).await;
        }
        while store
            .writer()
            .retain(&feeds[0].plan, Timestamp(T0 + now_ms), 1_000)
            .await
            .expect("nothing fails")
            .is_some()
        {}
        store.reopen().await;
        check_levels(store, &rollups, &events).await;
        snapshot(store, &rollups).await;
    }
    let status = snapshot(store, &rollups).await.rollups;
    assert!(status.iter().all(|rollup| rollup.removed > 0), "{status:?}");
    assert!(status.iter().any(|rollup| rollup.expired > 0), "{status:?}");
}

async fn check_levels(store: &dyn StoreUnderTest, rollups: &[Rollup], events: &[Event]) {
    for rollup in rollups {
        let all = cells(store, rollup).await;
        assert!(!all.is_empty());
        for cell in &all {
            let shown = cell.values[1].rank(&rollup.measures[1].function);
            assert_eq!(shown, Some(i128::from(brute(rollup, events, cell))), "{} {cell:?}", rollup.name);
        }
        // A part of the cells tells the same, from either end.
        for order in [CellOrder::OldestFirst, CellOrder::NewestFirst] {
            let middle = all[all.len() / 2].pane;
            let query = CellQuery {
                rollup: rollup.clone(),
                from: if order == CellOrder::OldestFirst { middle } else { Timestamp::NEVER },
                to: Timestamp(i64::MAX),
                filters: Vec::new(),
                after: None,
                windows: Vec::new(),
                order,
                cells_max: 5,
            };
            let some = store.reader().cells(&query).await.expect("nothing fails");
            assert!(some.iter().all(|cell| all.contains(cell)), "{some:?}");
        }
        // So do cells that are asked for by their windows, whatever lies between.
        let apart: Vec<&CellRow> = all.iter().step_by(3).collect();
        let query = CellQuery {
            rollup: rollup.clone(),
            from: Timestamp::NEVER,
            to: Timestamp(i64::MAX),
            filters: Vec::new(),
            after: None,
            windows: apart
                .iter()
                .map(|cell| (window::start_of(cell.pane, rollup.window_ms), cell.dimensions.clone()))
                .collect(),
            order: CellOrder::OldestFirst,
            cells_max: 1_000_000,
        };
        let found = store.reader().cells(&query).await.expect("nothing fails");
        assert!(
            !found.is_empty() && found.iter().all(|cell| all.contains(cell)),
            "{}: {found:?}",
            rollup.name
        );
        check_bases(store, rollup, events, &all).await;
    }
}

/// The base and the cells that are shown come to all events, also while retention is under way: an import brings both.
async fn check_bases(store: &dyn StoreUnderTest, rollup: &Rollup, events: &[Event], shown: &[CellRow]) {
    let mut sums: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    for (dimensions, moves) in store.reader().level_bases(rollup).await.expect("nothing fails") {
        *sums.entry(dimensions).or_default() += moves[0];
    }
    for cell in shown {
        if let Value::Level(level) = &cell.values[1] {
            *sums.entry(cell.dimensions.clone()).or_default() += level.delta;
        }
    }
    for (dimensions, sum) in sums {
        let mine =
            events.iter().filter(|(_, _, _, user)| dimensions.iter().all(|dimension| dimension == user));
        let steps = mine.map(|(_, kind, _, _)| i64::from(*kind == "in") - i64::from(*kind == "out"));
        assert_eq!(sum, steps.sum::<i64>(), "{} {dimensions:?}", rollup.name);
    }
}

/// Sketches of a cell are those of all its events, whichever partitions they came from and however often it was flushed.
pub async fn sketches_merge_over_partitions(store: &mut dyn StoreUnderTest, seed: u64) {
    let rollup = sketches();
    let rollups = [rollup.clone()];
    let mut dice = Dice(seed);
    let mut events: Vec<Event> = Vec::new();
    let mut offsets = [0, 0, 0];
    for _ in 0..3 {
        for partition in 0..3u32 {
            let at = partition as usize;
            let mut feed = Feed::claim(store, &rollups, partition).await;
            for _ in 0..2 {
                let place = (&mut feed, &mut offsets[at]);
                events.extend(write_some(store, place, &mut dice, (0, 2 * MINUTE)).await);
            }
        }
        store.reopen().await;
        assert_eq!(shown(&rollup, &cells(store, &rollup).await), shown(&rollup, &folded(&rollup, &events)));
    }
    for partition in [2, 1] {
        Feed::claim(store, &rollups, partition).await.write(store, 30 * DAY, &[(30 * DAY, "in", "1")]).await;
    }
    let mut feed = Feed::claim(store, &rollups, 0).await;
    feed.write(store, 30 * DAY, &[(30 * DAY, "in", "1")]).await;
    while store
        .writer()
        .retain(&feed.plan, Timestamp(T0 + 30 * DAY), 1_000)
        .await
        .expect("nothing fails")
        .is_some()
    {}
    let left = cells(store, &rollup).await;
    assert_eq!(left.iter().map(|cell| cell.pane.0).collect::<Vec<_>>(), [T0 + 30 * DAY]);
    // What comes after for a pane that is gone is expired, and leaves no sketch behind.
    feed.write(store, 30 * DAY, &[(0, "in", "1")]).await;
    assert_eq!(cells(store, &rollup).await, left);
}

fn folded(rollup: &Rollup, events: &[Event]) -> Vec<CellRow> {
    let mut folded: BTreeMap<(Timestamp, Vec<String>), CellRow> = BTreeMap::new();
    for (at, kind, amount, user) in events {
        let pane = window::start_of(Timestamp(T0 + at), rollup.pane_ms);
        let dimensions = vec![(*kind).to_owned()];
        let empty = || CellRow {
            pane,
            dimensions: dimensions.clone(),
            values: rollup.measures.iter().map(|measure| Value::empty(&measure.function)).collect(),
            events: 0,
            late_count: 0,
            revision: 0,
            shown: Vec::new(),
        };
        let cell = folded.entry((pane, dimensions.clone())).or_insert_with(empty);
        cell.events += 1;
        let number = amount.parse::<i128>().expect("the case made it") * 100;
        for (value, given) in cell.values.iter_mut().zip([
            Given::Text(user),
            Given::Number(number),
            Given::Event,
            Given::Text(user),
        ]) {
            value.add(given);
        }
    }
    folded.into_values().collect()
}

/// Pane, dimensions, measures and events of a cell.
type Shown = (i64, Vec<String>, Vec<Option<String>>, u64);

/// Returns what is read of cells, without their history.
fn shown(rollup: &Rollup, cells: &[CellRow]) -> Vec<Shown> {
    let read = |cell: &CellRow| {
        let values = cell.values.iter().zip(&rollup.measures);
        let values = values.map(|(value, measure)| value.show(&measure.function)).collect();
        (cell.pane.0, cell.dimensions.clone(), values, cell.events)
    };
    cells.iter().map(read).collect()
}
