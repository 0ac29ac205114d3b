//! Times and durations as queries write them, and cells merged into rows.

use super::*;

#[test]
fn reads_points_in_time() {
    let now = Timestamp(1_700_000_000_000);
    for (text, expect) in [
        ("now", now.0),
        ("-1h", now.0 - 3_600_000),
        ("-1h30m", now.0 - 5_400_000),
        ("now-1d", now.0 - 86_400_000),
        ("now+5m", now.0 + 300_000),
        ("1700000000", now.0),
        ("1700000000000", now.0),
        ("2023-11-14T22:13:20Z", now.0),
        ("2023-11-14T22:13:20", now.0),
        ("2023-11-14T23:13:20 01:00", now.0),
    ] {
        assert_eq!(parse_time(text, now), Ok(Timestamp(expect)), "{text}");
    }
    for text in ["", "soon", "-1x", "now*2", "nowish"] {
        assert_eq!(parse_time(text, now), Err(TimeError::Unreadable), "{text}");
    }
}

#[test]
fn reads_durations() {
    for (text, expect) in [
        ("250ms", Some(250)),
        ("30s", Some(30_000)),
        ("1h30m", Some(5_400_000)),
        ("7d", Some(604_800_000)),
        ("", None),
        ("5", None),
        ("s", None),
        ("5y", None),
        ("99999999999999999999s", None),
    ] {
        assert_eq!(parse_duration(text), expect.map(Duration::from_millis), "{text}");
    }
}

#[test]
fn ranks_totals_over_all_times() {
    let cell = |pane, name: &str, count| CellRow {
        pane: Timestamp(pane),
        dimensions: vec![name.to_owned()],
        values: vec![Value::Count(count)],
        events: count,
        late_count: 0,
        revision: 0,
        shown: Vec::new(),
    };
    let cells = vec![cell(0, "a", 2), cell(0, "b", 3), cell(1, "a", 2), cell(1, "c", 3)];
    let ranked: Vec<_> = top(cells, (0, &Function::Count), 2)
        .into_iter()
        .map(|row| (row.dimensions[0].clone(), row.events))
        .collect();
    assert_eq!(ranked, [("a".to_owned(), 4), ("b".to_owned(), 3)]);
}

#[test]
fn a_range_is_split_into_panes_and_ends() {
    for (from, to, panes, ends) in [
        (0, 0, None, vec![]),
        (0, 10, Some((0, 10)), vec![]),
        (0, 9, None, vec![(0, 9)]),
        (1, 10, None, vec![(1, 10)]),
        (1, 20, Some((10, 20)), vec![(1, 10)]),
        (9, 31, Some((10, 30)), vec![(9, 10), (30, 31)]),
        (9, 11, None, vec![(9, 11)]),
        (-11, 9, Some((-10, 0)), vec![(-11, -10), (0, 9)]),
        (5, 4, None, vec![]),
    ] {
        let pair = |(from, to)| (Timestamp(from), Timestamp(to));
        let expect = Split { panes: panes.map(pair), ends: ends.into_iter().map(pair).collect() };
        assert_eq!(split_at_panes(Timestamp(from), Timestamp(to), 10), expect, "{from} {to}");
    }
}

#[test]
fn a_level_goes_on_through_intervals_without_events() {
    let level = |pane: i64, delta, reached| Value::Level(Level { delta, read_at: Timestamp(pane), reached });
    let row = |start: i64, value| Row {
        start: Timestamp(start),
        end: Timestamp(start + 60_000),
        dimensions: vec!["s1".to_owned()],
        values: vec![Value::Count(1), value],
        events: 1,
        late_count: 0,
        revision: 0,
    };
    let cuts = Cuts::windows(60_000, Timestamp(0), Timestamp(300_000));
    let empty = [Value::Count(0), Value::Level(Level::moved(0))];
    let rows = vec![row(60_000, level(60_000, -2, 5)), row(180_000, level(180_000, 4, 9))];
    let function = Function::Level { up: Default::default(), down: Default::default() };
    let shown: Vec<_> = fill_with_zeros(rows, &cuts, &empty)
        .iter()
        .map(|row| (row.start.0, row.values[0].clone(), row.values[1].show(&function)))
        .collect();
    let expect = [(0, 0, "7"), (60_000, 1, "5"), (120_000, 0, "5"), (180_000, 1, "9"), (240_000, 0, "9")];
    let expect = expect.map(|(start, count, level)| (start, Value::Count(count), Some(level.to_owned())));
    assert_eq!(shown, expect);
}
