//! Active viewers: a level that runs through all time, against adding all events up by hand, however late, often and out
//! of order they come, and whatever happens to the server meanwhile.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::Server;
use crate::harness::dice::{self, Dice};

use super::{each_side, flush};

const MINUTE: i64 = 60;
/// 2025-03-01T22:30:00Z: the events cross midnight.
const BEGIN: i64 = 1_740_868_200;
const HOURS: i64 = 4;
const STREAMS: u64 = 3;

/// An event: seconds since 1970, stream, type.
type Event = (i64, u64, &'static str);

fn events(dice: &mut Dice) -> Vec<Event> {
    let mut events: Vec<Event> = (0..1_500)
        .map(|_| {
            let at = BEGIN + dice.below((HOURS * 3_600) as u64) as i64;
            let kind = ["viewer_join", "viewer_join", "viewer_leave", "chat_message"][dice.below(4) as usize];
            (at, dice.below(STREAMS), kind)
        })
        .collect();
    // Roughly in order, as events come, and some hours late.
    events.sort_by_key(|(at, ..)| *at);
    for _ in 0..300 {
        let (one, other) = (dice.below(1_500) as usize, dice.below(1_500) as usize);
        events.swap(one, other);
    }
    events
}

fn line((id, (at, stream, kind)): (usize, &Event)) -> String {
    format!(r#"{{"event_id":"v{id}","ts":{at},"event_type":"{kind}","stream_id":"s{stream}","user_id":"u"}}"#)
}

/// Returns the level of each stream at the end of each minute that has an event.
fn levels(events: &[Event], every_seconds: i64) -> BTreeMap<(i64, String), i64> {
    let mut levels = BTreeMap::new();
    for (at, stream, _) in events {
        let start = at - at % every_seconds;
        let before = events.iter().filter(|(other, of, _)| of == stream && *other < start + every_seconds);
        let steps =
            before.map(|(_, _, kind)| i64::from(*kind == "viewer_join") - i64::from(*kind == "viewer_leave"));
        levels.insert((start, format!("s{stream}")), steps.sum());
    }
    levels
}

fn shown(server: &Server, query: &str) -> BTreeMap<(i64, String), i64> {
    let answer = server.get(&format!("/v1/rollups/stream_metrics_minute?limit=10000{query}")).json();
    assert_eq!(answer["next_cursor"], Value::Null);
    let rows = answer["data"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let row = |row: &Value| {
        let start: jiff::Timestamp =
            row["window_start"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        let stream = row["stream_id"].as_str().expect("a stream").to_owned();
        ((start.as_second(), stream), row["active_viewers"].as_i64().expect("a level"))
    };
    rows.iter().map(row).collect()
}

#[test]
fn viewers_are_what_adding_up_says() {
    let seed = dice::seed("viewers");
    each_side(|launch, database| {
        let mut dice = Dice::new(seed);
        let events = events(&mut dice);
        let lines: Vec<String> = events.iter().enumerate().map(line).collect();
        let mut server = Server::ready(launch);
        for (at, batch) in lines.chunks(100).enumerate() {
            // Some are sent once more.
            let again = (0..10).map(|_| lines[dice.below(((at + 1) * 100) as u64) as usize].clone());
            let body: Vec<String> = batch.iter().cloned().chain(again).collect();
            let answer = server.post("/v1/events?stream=stream.events", &[], body.join("\n"));
            assert_eq!(answer.status, 202, "{}", answer.text());
            if at % 4 == 3 {
                server.kill9();
                server = Server::ready(launch);
            }
        }
        flush(&server);
        let by_minute = levels(&events, MINUTE);
        assert_eq!(shown(&server, ""), by_minute);
        assert_eq!(shown(&server, "&interval=1h"), levels(&events, 3_600));
        assert_eq!(shown(&server, "&interval=1d&tz=Asia/Kathmandu").len(), 3);
        let of_sql: Vec<String> = by_minute.values().map(i64::to_string).collect();
        let select = "SELECT active_viewers FROM stream_metrics_minute ORDER BY window_start, stream_id";
        assert_eq!(database.lines(select), of_sql);
        // Quiet minutes have the level of the last one that was not.
        let filled = shown(&server, "&fill=zero&stream_id=s1");
        let mut last = 0;
        let mut quiet = 0;
        for ((start, stream), level) in &filled {
            let known = by_minute.get(&(*start, stream.clone()));
            quiet += usize::from(known.is_none());
            last = known.copied().unwrap_or(last);
            assert_eq!(*level, last, "{stream} at {start}");
        }
        assert!(quiet > 10, "{quiet} quiet minutes of {}", filled.len());
        assert!(server.command(&["audit"]).status.success());
    });
}
