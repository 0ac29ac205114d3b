//! Days of a time zone, checked against counting every posted event by itself, over changes of the clock.

use std::collections::BTreeMap;

use super::super::harness::Server;
use super::{get_json, post_seen};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// 2025-01-01T00:00:00Z.
const YEAR_2025_MS: i64 = 1_735_689_600_000;

fn days(count: i64) -> i64 {
    count * 24 * HOUR_MS
}

/// London is an hour ahead from 2025-03-30T01:00Z until 2025-10-26T01:00Z.
fn london(at: i64) -> i64 {
    let summer = YEAR_2025_MS + days(88) + HOUR_MS..YEAR_2025_MS + days(298) + HOUR_MS;
    if summer.contains(&at) { HOUR_MS } else { 0 }
}

fn kathmandu(_: i64) -> i64 {
    5 * HOUR_MS + 45 * MINUTE_MS
}

/// Posts an event every 37 minutes for ten days around a day of 2025; returns their times.
fn post_around(server: &Server, day: i64) -> Vec<i64> {
    let from = YEAR_2025_MS + days(day - 5) + 7 * MINUTE_MS;
    let times: Vec<i64> = (0..days(10) / (37 * MINUTE_MS)).map(|step| from + step * 37 * MINUTE_MS).collect();
    let events: Vec<String> =
        times.iter().map(|at| format!(r#"{{"event_type":"day {day}","ts":{at}}}"#)).collect();
    post_seen(server, &format!("[{}]", events.join(",")));
    times
}

/// Counts times by the local unit of `unit_ms` that they lie in; keys are local.
fn counted(times: &[i64], unit_ms: i64, ahead: impl Fn(i64) -> i64) -> BTreeMap<i64, u64> {
    let mut counts = BTreeMap::new();
    for at in times {
        *counts.entry((at + ahead(*at)).div_euclid(unit_ms)).or_insert(0) += 1;
    }
    counts
}

/// Asks for an interval in a zone; keys are local, and starts and ends must join.
fn asked(server: &Server, query: &str, unit_ms: i64, ahead: impl Fn(i64) -> i64) -> BTreeMap<i64, u64> {
    let answer = get_json(server, &format!("/v1/rollups/hourly_aggregations?limit=10000&{query}"));
    let mut counts = BTreeMap::new();
    let mut last_end = None;
    for row in answer["data"].as_array().expect("a list") {
        let time = |name: &str| {
            let text = row[name].as_str().expect("a text");
            text.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
        };
        let start = time("window_start");
        assert!(last_end.is_none_or(|end| end == start), "{row}");
        last_end = Some(time("window_end"));
        let local = start + ahead(start);
        assert_eq!(local.rem_euclid(unit_ms), 0, "{query}: {row} does not begin a local unit");
        counts.insert(local / unit_ms, row["event_count"].as_u64().expect("a count"));
    }
    counts
}

#[test]
fn days_of_a_zone_are_those_of_its_clocks() {
    let server = Server::start(&[]);
    // The clocks of London change on day 88 (23 hours long) and on day 298 (25 hours long).
    for day in [88, 298] {
        let times = post_around(&server, day);
        let kind = format!("event_type=day%20{day}");
        let in_london = asked(&server, &format!("{kind}&interval=1d&tz=Europe/London"), days(1), london);
        assert_eq!(in_london, counted(&times, days(1), london), "day {day}");
        let in_kathmandu =
            asked(&server, &format!("{kind}&interval=1d&tz=Asia/Kathmandu"), days(1), kathmandu);
        assert_eq!(in_kathmandu, counted(&times, days(1), kathmandu), "day {day}");
        let in_utc = asked(&server, &format!("{kind}&interval=1d"), days(1), |_| 0);
        assert_eq!(in_utc, counted(&times, days(1), |_| 0), "day {day}");
        let hours = asked(&server, &format!("{kind}&interval=1h&tz=Asia/Kathmandu"), HOUR_MS, kathmandu);
        assert_eq!(hours, counted(&times, HOUR_MS, kathmandu), "day {day}");
        let lengths = [in_london[&(YEAR_2025_MS / days(1) + day)], in_utc[&(YEAR_2025_MS / days(1) + day)]];
        assert!(if day == 88 { lengths[0] < lengths[1] } else { lengths[0] > lengths[1] }, "{lengths:?}");
    }
}

#[test]
fn a_bounded_range_of_local_days_is_widened_to_whole_ones() {
    let server = Server::start(&[]);
    let times = post_around(&server, 88);
    // From the afternoon of the day before to the morning of the day after, London time: three whole days.
    let query = "interval=1d&tz=Europe/London&from=2025-03-29T15:00:00Z&to=2025-03-31T05:00:00Z";
    let mut expect = counted(&times, days(1), london);
    let day = YEAR_2025_MS / days(1) + 88;
    expect.retain(|local, _| (day - 1..=day + 1).contains(local));
    assert_eq!(asked(&server, query, days(1), london), expect);
    let answer = get_json(&server, &format!("/v1/rollups/hourly_aggregations?{query}"));
    assert_eq!(answer["range"]["from"], "2025-03-29T00:00:00Z");
    assert_eq!(answer["range"]["to"], "2025-03-31T23:00:00Z");
    assert_eq!(answer["range"]["interval"], "1d");
}
