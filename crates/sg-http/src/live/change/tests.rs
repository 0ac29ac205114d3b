//! Two looks at a rollup, and what is said of the difference.

use serde_json::Value as Json;
use sg_core::cell::Value;
use sg_core::definition::{Condition, Function, LatePolicy, Measure};

use super::*;

fn rollup() -> Rollup {
    Rollup {
        name: "hits".to_owned(),
        stream: "events".to_owned(),
        window_ms: 60_000,
        pane_ms: 60_000,
        grace_ms: 0,
        late: LatePolicy::Correct,
        keep_ms: i64::MAX,
        by: vec!["path".to_owned()],
        measures: vec![Measure {
            name: "hits".to_owned(),
            function: Function::Count,
            filter: Condition::default(),
        }],
    }
}

fn look(cells: &[(i64, &str, u64, u64)], closed_to: Option<i64>) -> RollupLook {
    let mut look = RollupLook { closed_to: closed_to.map(Timestamp), ..RollupLook::default() };
    for (start, path, hits, revision) in cells {
        let row = Row {
            start: Timestamp(*start),
            end: Timestamp(start + 60_000),
            dimensions: vec![(*path).to_owned()],
            values: vec![Value::Count(*hits)],
            events: *hits,
            late_count: *revision,
            revision: *revision,
        };
        let pane = look.panes.entry(row.start).or_default();
        pane.events += hits;
        pane.revision += revision;
        pane.cells += 1;
        look.rows.insert((row.start, row.dimensions.clone()), row);
    }
    look
}

/// Returns the names of what is said, each with the paths of its rows.
fn shown(said: &[Said]) -> Vec<String> {
    let show = |said: &Said| {
        let data: Json = serde_json::from_str(&said.data).expect("what is said is JSON");
        let rows = data["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        let paths: Vec<&str> = rows.iter().filter_map(|row| row["path"].as_str()).collect();
        format!("{} {}", said.name, paths.join(","))
    };
    said.iter().map(show).collect()
}

#[test]
fn only_what_changed_is_said() {
    let before = look(&[(0, "/a", 1, 0), (0, "/b", 1, 0)], None);
    assert!(of_rollup(&rollup(), &before, &before).is_empty());
    let now = look(&[(0, "/a", 1, 0), (0, "/b", 2, 0), (60_000, "/c", 1, 0)], None);
    let said = of_rollup(&rollup(), &before, &now);
    assert_eq!(shown(&said), ["cells /c,/b"]);
    let data: Json = serde_json::from_str(&said[0].data).expect("JSON");
    assert_eq!(data["panes"][0]["events"], 3);
    assert_eq!(data["rows"][1]["hits"], 2);
    assert_eq!(data["left_out"], 0);
}

#[test]
fn a_window_closes_once_and_a_correction_is_told_apart() {
    let before = look(&[(0, "/a", 1, 0)], Some(0));
    let closed = look(&[(0, "/a", 1, 0)], Some(60_000));
    assert_eq!(shown(&of_rollup(&rollup(), &before, &closed)), ["closed "]);
    // The mark moves all the time; what matters is whether it has passed the end of a window.
    let between = look(&[(0, "/a", 1, 0)], Some(119_999));
    assert!(of_rollup(&rollup(), &closed, &between).is_empty());
    let corrected = look(&[(0, "/a", 2, 1)], Some(60_000));
    let said = of_rollup(&rollup(), &closed, &corrected);
    assert_eq!(shown(&said), ["cells /a", "corrected /a"]);
    assert!(said[1].data.contains("\"is_final\":true"), "{}", said[1].data);
    // A cell that was not known before may have been corrected long ago.
    let unknown = look(&[], Some(60_000));
    assert_eq!(shown(&of_rollup(&rollup(), &unknown, &corrected)), ["cells /a"]);
}

#[test]
fn the_largest_are_said_and_the_rest_is_counted() {
    let paths: Vec<String> = (0..ROWS_MAX + 2).map(|number| format!("/{number}")).collect();
    let cells: Vec<(i64, &str, u64, u64)> =
        paths.iter().enumerate().map(|(number, path)| (0, path.as_str(), number as u64, 0)).collect();
    let said = of_rollup(&rollup(), &look(&[], None), &look(&cells, None));
    let data: Json = serde_json::from_str(&said[0].data).expect("JSON");
    let rows = data["rows"].as_array().expect("rows");
    assert_eq!((rows.len(), &data["left_out"]), (ROWS_MAX, &2.into()));
    assert_eq!(rows[0]["path"], format!("/{}", ROWS_MAX + 1));
    assert_eq!(rows[ROWS_MAX - 1]["path"], "/2");
}
