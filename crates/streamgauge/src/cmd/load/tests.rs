//! Bodies that are patched in place, answers that are read by hand, and a whole load against a small server.

use std::collections::HashSet;
use std::sync::Mutex;

use clap::Parser as _;
use sg_core::event::{Canonical, OwnNames, SHARED};
use sg_core::time::Timestamp;

use super::worker::{Answered, read_answer};
use super::*;
use crate::client::Server;
use crate::client::flaky::{Asked, Flaky, serve};

const NOW: Timestamp = Timestamp(1_735_689_600_123);

#[test]
fn bodies_are_renewed_in_place() {
    for (stream, events) in [("events", 1), ("events", 500), ("stream.events", 500), ("pageviews", 500)] {
        let mut body = Body::new((stream, &SHARED), events, Wording::Own);
        let mut ids = HashSet::new();
        for round in 0..3 {
            let text =
                String::from_utf8(body.renewed(Timestamp(NOW.0 + round)).to_vec()).expect("it is text");
            assert_eq!(text.lines().count(), events);
            for line in text.lines() {
                assert!((110..=160).contains(&line.len()), "{line}");
                let event: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
                assert_eq!(event["timestamp"], NOW.0 + round);
                let id = event["event_id"].as_str().expect("it is a text");
                assert!(id.len() == 32 && u128::from_str_radix(id, 16).is_ok(), "{id}");
                assert!(ids.insert(id.to_owned()), "{id} came twice");
                assert_eq!(event.get("stream_id").is_some(), stream == "stream.events");
            }
        }
    }
}

#[test]
fn events_in_the_words_of_others_are_renewed_too() {
    for wording in [Wording::EventPlatform, Wording::WebAnalytics] {
        let mut body = Body::new(("events", &SHARED), 1, wording);
        let (first, second) = (body.renewed(NOW).to_vec(), body.renewed(NOW).to_vec());
        assert_ne!(first, second);
        let event: serde_json::Value = serde_json::from_slice(&first).expect("it is JSON");
        let names: Vec<&String> = event.as_object().expect("an object").keys().collect();
        if wording == Wording::WebAnalytics {
            assert_eq!(names, ["sessionId", "eventType", "payload"]);
            assert_eq!(event["payload"], "{\"path\":\"/home\"}");
        } else {
            assert_eq!(names, ["user_id", "event_name", "metadata", "timestamp"]);
            assert_eq!(event["timestamp"], NOW.0);
        }
    }
}

#[test]
fn events_are_made_under_the_names_of_the_stream() {
    let named = [
        (Canonical::EventId, "uuid"),
        (Canonical::EventType, "kind"),
        (Canonical::Timestamp, "at"),
        (Canonical::SessionId, "postcode"),
        (Canonical::Properties, "more"),
    ];
    let names = OwnNames::new(named.map(|(field, name)| (field, name.to_owned())).to_vec());
    for (wording, expect) in [
        (Wording::Own, &["uuid", "user_id", "kind", "at"][..]),
        (Wording::EventPlatform, &["user_id", "kind", "more", "at"]),
        (Wording::WebAnalytics, &["postcode", "kind", "more"]),
    ] {
        let mut body = Body::new(("events", &names), 1, wording);
        let (first, second) = (body.renewed(NOW).to_vec(), body.renewed(NOW).to_vec());
        assert_ne!(first, second, "ids are written where they stand");
        let event: serde_json::Value = serde_json::from_slice(&first).expect("it is JSON");
        let members: Vec<&String> = event.as_object().expect("an object").keys().collect();
        assert_eq!(members, expect);
        assert!(event.get("at").is_none_or(|at| *at == NOW.0), "{event}");
    }
}

#[test]
fn what_is_lost_is_what_was_accepted_and_not_written() {
    let numbers = |received, written| Numbers { received_total: received, written_total: written, lag: 0 };
    let mut tally = Tally { accepted: 10, unanswered: 2, ..Tally::default() };
    tally.refused.insert(429, 3);
    let check = |written: u64, lost: u64| {
        let live = Live::new(numbers(100, 100), numbers(110, 100 + written), &tally);
        assert_eq!((live.sent, live.accepted, live.received, live.written), (15, 10, 10, written));
        assert_eq!(live.lost(), lost, "{written} written");
        let check = live.check(Duration::from_secs(2));
        assert_eq!(check.holds, lost == 0);
        assert_eq!(
            check.detail,
            format!(
                "sent 15  accepted 10  rate 5/s  received 10  written {written}  lost {lost}",
                written = live.written
            )
        );
        assert_eq!(live.json()["lost"], lost);
    };
    check(10, 0);
    check(7, 3);
    // Somebody else sent, or one of those without an answer had been taken.
    check(12, 0);
}

#[test]
fn heads_say_where_and_how_much() {
    let server = Server::new("http://gauge:81/base", Some("k")).expect("the URL is good");
    let single = Body::new(("events", &SHARED), 1, Wording::Own).head(&server);
    assert!(
        single.starts_with(
            "POST /base/events HTTP/1.1\r\nhost: gauge:81\r\ncontent-type: application/json\r\n"
        ),
        "{single}"
    );
    assert!(single.ends_with("\r\nauthorization: Bearer k\r\n\r\n"), "{single}");
    let mut body = Body::new(("stream.events", &SHARED), 3, Wording::Own);
    let many = body.head(&server);
    assert!(many.starts_with("POST /base/v1/events?stream=stream.events HTTP/1.1\r\n"), "{many}");
    assert!(many.contains(&format!("\r\ncontent-length: {}\r\n", body.renewed(NOW).len())), "{many}");
}

#[test]
fn answers_are_read_whole() {
    let good = |status: u16, closes: bool, body: &str| Some(Answered { status, closes, body: body.into() });
    let check = |text: &str, expect: Option<Answered>| {
        assert_eq!(read_answer(&mut text.as_bytes(), &mut Vec::new()).ok(), expect, "{text}");
    };
    check("HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", good(202, false, "{}"));
    check("HTTP/1.1 429 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", good(429, true, ""));
    check("HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\n{}", None);
    check("HTTP/1.1 202 Accepted\r\n\r\n{}", None);
    check("SSH-2.0-OpenSSH\r\n\r\n", None);
    check("HTTP/1.1 202", None);
    check("", None);
}

/// A server that counts what it accepts, refuses or drops every so many requests, and keeps a ledger of its own.
#[derive(Default)]
struct Ledger {
    requests: u64,
    processed: u64,
}

fn answer(ledger: &Mutex<Ledger>, asked: &Asked, invent: u64) -> Flaky {
    let mut ledger = ledger.lock().expect("no test panics with it");
    if asked.path == "/v1/flush" {
        return Flaky::Answer(200, "{}".to_owned());
    }
    if asked.path == "/v1/status" {
        let processed = ledger.processed + if ledger.requests > 0 { invent } else { 0 };
        let status = serde_json::json!({"log": "embedded", "rollups": [], "streams": [{"name": "events", "partitions": [{
            "partition": 0, "first_offset": 0, "next_offset": processed, "log_end": processed,
            "ledger": {"processed": processed, "counted": processed, "duplicate": 0, "dead_lettered": 0, "deleted": 0},
        }]}]});
        return Flaky::Answer(200, status.to_string());
    }
    ledger.requests += 1;
    if ledger.requests.is_multiple_of(7) {
        return Flaky::Answer(429, String::new());
    }
    let lines = std::str::from_utf8(&asked.body).expect("events are text").lines().count() as u64;
    ledger.processed += lines;
    if ledger.requests.is_multiple_of(11) {
        return Flaky::Drop;
    }
    match asked.path.as_str() {
        "/events" => Flaky::Answer(202, r#"{"status":"accepted","event_id":"x"}"#.to_owned()),
        _ => Flaky::Answer(202, format!(r#"{{"accepted":{lines},"rejected":0,"errors":[]}}"#)),
    }
}

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

async fn loaded(line: &str, invent: u64) -> (ExitCode, u64) {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let kept = ledger.clone();
    let address = serve(move |asked| answer(&kept, &asked, invent)).await;
    let line = format!("load --url http://{address} --connections 2 --duration 300ms {line}");
    let args = Line::try_parse_from(line.split_whitespace()).expect("the arguments are good").args;
    let code = run(args).await;
    (code, ledger.lock().expect("no test panics with it").requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_loop_sends_as_fast_as_it_is_answered() {
    for batch in [1, 20] {
        let (code, requests) = loaded(&format!("--batch {batch}"), 0).await;
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(requests > 30, "{requests} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_sends_what_is_due() {
    let (code, requests) = loaded("--batch 10 --rate 1000", 0).await;
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(requests, 30, "100 a second for 0.3 s, refused and dropped ones included");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_nobody_sent_make_it_fail() {
    // More than the dropped requests could explain.
    let (code, _) = loaded("--batch 10 --rate 1000", 100_000).await;
    assert_eq!(code, ExitCode::FAILURE);
}

#[test]
fn growth_must_lie_between_what_is_sure_and_what_is_possible() {
    let status = |processed: u64| -> status::Status {
        let ledger = serde_json::json!({"processed": processed, "counted": processed, "duplicate": 0, "dead_lettered": 0, "deleted": 0});
        let partition =
            serde_json::json!({"partition": 0, "first_offset": 0, "next_offset": 0, "ledger": ledger});
        let body = serde_json::json!({"log": "embedded", "rollups": [], "streams": [{"name": "events", "partitions": [partition]}]});
        serde_json::from_value(body).expect("it is a status")
    };
    let check = |accepted: u64, unanswered_events: u64, grown: u64, expect: bool| {
        let tally = Tally { accepted, unanswered_events, ..Tally::default() };
        assert_eq!(
            growth(&status(5), &status(5 + grown), "events", &tally).holds,
            expect,
            "{accepted} {unanswered_events} {grown}"
        );
    };
    check(10, 0, 10, true);
    check(10, 0, 9, false);
    check(10, 0, 11, false);
    check(10, 2, 12, true);
    check(10, 2, 13, false);
}

#[test]
fn the_report_tells_figures_and_checks() {
    let mut tally = Tally { requests: 4, accepted: 30, ..Tally::default() };
    for latency_us in [1_000, 2_000, 3_000] {
        tally.latency_us.record(latency_us).expect("it is within bounds");
    }
    tally.refused.insert(429, 1);
    let checks = vec![
        Check::new("growth of events", true, "30 accepted, 30 processed"),
        Check::new("ledger of x", false, "1 ≠ 2"),
    ];
    let report = Report { tally, elapsed: Duration::from_secs(2), live: None, checks };
    assert!(!report.holds());
    assert_eq!(
        report.text(),
        "15 events/s  2 requests/s  (30 events accepted, 4 requests answered in 2.0 s)\n\
         latency  p50 2.00 ms  p90 3.00 ms  p99 3.00 ms  p99.9 3.00 ms  max 3.00 ms\n\
         answered 429: 1\n✓ growth of events: 30 accepted, 30 processed\n✗ ledger of x: 1 ≠ 2\n"
    );
    let json = report.json();
    assert_eq!(json["refused_by_status"], serde_json::json!({"429": 1}));
    assert_eq!((json["events_per_second"].as_f64(), json["ok"].as_bool()), (Some(15.0), Some(false)));
}
