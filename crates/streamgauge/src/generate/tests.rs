//! The same seed makes the same run; shares and times are as asked for; every event is one that the server takes.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use sg_core::event::{Canonical, Members, SHARED};
use sg_core::time::Timestamp;

use super::sequence::{Sequence, Shape};
use super::{Cast, Stream};

const START: Timestamp = Timestamp(1_735_689_600_000);
const STREAMS: [Stream; 3] = [Stream::Web, Stream::Broadcast, Stream::Pageview];

fn shape(stream: Stream) -> Shape {
    Shape {
        cast: Cast::Usual,
        stream,
        events: 20_000,
        seed: 1,
        start: START,
        step_us: 36_000,
        late_ppm: 0,
        duplicates_ppm: 0,
        disorder: Duration::ZERO,
    }
}

fn lines(shape: Shape) -> Vec<String> {
    let mut sequence = Sequence::new(shape);
    let mut lines = Vec::new();
    while let Some(line) = sequence.next_line() {
        lines.push(line.to_owned());
    }
    lines
}

fn ids_and_times(lines: &[String]) -> Vec<(String, Timestamp)> {
    let read = |line: &String| {
        let members = Members::read(line, &SHARED).expect("generators write JSON objects");
        let id = members.text_of(Canonical::EventId).expect("ids are texts").expect("every event has one");
        let at = members.timestamp().expect("times can be read").expect("every event has one");
        (id.into_owned(), at)
    };
    lines.iter().map(read).collect()
}

#[test]
fn the_same_shape_makes_the_same_bytes() {
    for stream in STREAMS {
        let full = Shape {
            late_ppm: 20_000,
            duplicates_ppm: 10_000,
            disorder: Duration::from_secs(9),
            ..shape(stream)
        };
        assert!(lines(full.clone()) == lines(full), "{stream:?}");
    }
}

#[test]
fn a_shorter_run_is_the_beginning_of_a_longer_one() {
    for stream in STREAMS {
        let long = lines(shape(stream));
        assert!(lines(Shape { events: 500, ..shape(stream) }) == long[..500], "{stream:?}");
    }
}

#[test]
fn whatever_changes_the_events_changes_their_ids() {
    let base = shape(Stream::Web);
    let others = [
        Shape { seed: 2, ..base.clone() },
        Shape { start: Timestamp(START.0 + 1), ..base.clone() },
        Shape { step_us: 36_001, ..base.clone() },
        Shape { late_ppm: 1, ..base.clone() },
        Shape { disorder: Duration::from_millis(1), ..base.clone() },
        Shape { stream: Stream::Broadcast, ..base.clone() },
        Shape { cast: Cast::crowd(2, 9), ..base.clone() },
    ];
    let mut ids: HashSet<String> = HashSet::new();
    for shape in others.into_iter().chain([base]) {
        let lines = lines(Shape { events: 100, ..shape });
        let fresh = ids_and_times(&lines).into_iter().filter(|(id, _)| ids.insert(id.clone())).count();
        assert_eq!(fresh, 100);
    }
}

#[test]
fn resends_repeat_bytes_and_leave_the_events_alone() {
    for stream in STREAMS {
        let plain = lines(shape(stream));
        let with_resends = lines(Shape { duplicates_ppm: 50_000, ..shape(stream) });
        let mut seen = HashSet::new();
        let (first, again): (Vec<&String>, Vec<&String>) =
            with_resends.iter().partition(|line| seen.insert(*line));
        assert!(first.into_iter().eq(&plain), "{stream:?}");
        // 20,000 × 5 %, give or take five standard deviations.
        assert!((846..=1_154).contains(&again.len()), "{} resends", again.len());
    }
}

#[test]
fn late_events_lie_behind_every_window_that_ships() {
    let lines =
        lines(Shape { late_ppm: 20_000, disorder: Duration::from_secs(20), ..shape(Stream::Broadcast) });
    let mut newest = Timestamp::NEVER;
    let mut late = 0;
    for (_, at) in ids_and_times(&lines) {
        let back_ms = newest.0.saturating_sub(at.0);
        if back_ms > 20_000 {
            late += 1;
            let hour_end = sg_core::window::end_of(at, 3_600_000);
            assert!(sg_core::window::is_late(newest, hour_end, 30_000), "{at} is not late at {newest}");
            let minute_end = sg_core::window::end_of(at, 60_000);
            assert!(sg_core::window::is_late(newest, minute_end, 600_000));
        }
        newest = newest.max(at);
    }
    // 20,000 × 2 %, give or take five standard deviations.
    assert!((301..=499).contains(&late), "{late} late events");
}

#[test]
fn times_advance_evenly_and_disorder_stays_within_its_bounds() {
    let even = ids_and_times(&lines(shape(Stream::Web)));
    assert_eq!(even[0].1, START);
    assert_eq!(even[19_999].1, Timestamp(START.0 + 19_999 * 36));
    let shuffled = ids_and_times(&lines(Shape { disorder: Duration::from_secs(20), ..shape(Stream::Web) }));
    let mut furthest = 0;
    for ((_, at), (_, nominal)) in shuffled.iter().zip(&even) {
        assert!((0..=20_000).contains(&(nominal.0 - at.0)));
        furthest = furthest.max(nominal.0 - at.0);
    }
    assert!(furthest > 19_900, "the bound is reached: {furthest}");
}

#[test]
fn types_come_by_their_weights() {
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for line in lines(shape(Stream::Broadcast)) {
        let members = Members::read(&line, &SHARED).expect("it is an object");
        let kind = members.text_of(Canonical::EventType).expect("it is a text").expect("it is there");
        *kinds.entry(kind.into_owned()).or_default() += 1;
    }
    // 20,000 events over weights that add up to 29: 690 to each.
    let check = |kind: &str, weight: u32| {
        let (found, wanted) = (kinds[kind], weight * 690);
        assert!(found.abs_diff(wanted) < wanted / 5, "{kind}: {found} instead of {wanted}");
    };
    check("stream_start", 1);
    check("stream_stop", 1);
    check("viewer_join", 8);
    check("viewer_leave", 7);
    check("chat_message", 10);
    check("donation", 2);
}

#[test]
fn sessions_begin_browse_and_end() {
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    let mut ended = 0;
    for line in lines(shape(Stream::Web)) {
        let event: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        let text = |name: &str| event[name].as_str().expect("it is a text").to_owned();
        let (session, user) = (text("session_id"), text("user_id"));
        assert!(event["properties"].is_object());
        match text("event_type").as_str() {
            "session_start" => assert_eq!(open.insert(session, user), None),
            "session_end" => {
                assert_eq!(open.remove(&session), Some(user));
                ended += 1;
            }
            _ => assert_eq!(open.get(&session), Some(&user)),
        }
    }
    assert!(ended > 1_000, "{ended} sessions ended");
}

#[test]
fn members_are_what_the_streams_expect() {
    let events = |stream| lines(Shape { events: 300, ..shape(stream) });
    for line in events(Stream::Pageview) {
        let event: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        assert!(event["user_id"].is_u64() && event["timestamp"].is_u64(), "{line}");
        assert!(event["postcode"].is_string() && event["webpage"].is_string(), "{line}");
        assert!(event.get("event_type").is_none());
    }
    for line in events(Stream::Broadcast) {
        let event: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        assert!(event["stream_id"].is_string() && event["user_id"].is_string(), "{line}");
        assert_eq!(event.get("message_len").is_some(), event["event_type"] == "chat_message", "{line}");
        assert_eq!(event.get("amount_usd").is_some(), event["event_type"] == "donation", "{line}");
    }
}

#[test]
fn there_are_as_many_postcodes_as_promised() {
    let all: HashSet<String> = (0..super::pageview::POSTCODES).map(super::pageview::postcode).collect();
    assert_eq!(all.len(), 2_900);
    assert!(all.contains("SW19"));
}

#[test]
fn a_cast_is_whom_events_are_about() {
    let members = |line: &String| serde_json::from_str::<serde_json::Value>(line).expect("it is JSON");
    let names = ["left", "right \"one\""].map(str::to_owned);
    let crowd = Cast::Crowd { streams: names.to_vec(), users: 4 };
    let mut seen = HashSet::new();
    for line in lines(Shape { cast: crowd, events: 300, ..shape(Stream::Broadcast) }) {
        let event = members(&line);
        let (stream, user) = (event["stream_id"].as_str(), event["user_id"].as_str());
        seen.extend(stream.into_iter().chain(user).map(str::to_owned));
    }
    let expected = names.into_iter().chain((1..=4).map(|user| format!("user_{user}")));
    assert_eq!(seen, expected.collect());
    let named = lines(Shape { cast: Cast::Named { users: 30 }, events: 300, ..shape(Stream::Web) });
    let different: HashSet<&String> = named.iter().collect();
    assert_eq!(different.len(), 300, "each is another event, though none has an id");
    let users: HashSet<String> = named.iter().map(|line| members(line)["user_id"].to_string()).collect();
    assert_eq!(users.len(), 30);
    let event = members(&named[0]);
    let members: Vec<&String> = event.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["user_id", "event_name", "metadata", "timestamp"]);
}
