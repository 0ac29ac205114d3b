//! What the arguments mean, and that nothing is lost or doubled over a server that drops connections.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use clap::Parser as _;

use super::run::Summary;
use super::*;
use crate::client::flaky::{Flaky, serve};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    let words = std::iter::once("simulate").chain(line.split_whitespace());
    Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).args
}

#[test]
fn shares() {
    let check = |text: &str, expect: Option<u32>| assert_eq!(share_ppm(text).ok(), expect, "{text}");
    check("0", Some(0));
    check("2%", Some(20_000));
    check("0.02", Some(20_000));
    check("0.5 %", Some(5_000));
    check("100%", Some(1_000_000));
    check("1", Some(1_000_000));
    check("101%", None);
    check("2", None);
    check("-1%", None);
    check("few", None);
}

#[test]
fn bad_arguments_are_refused() {
    for line in [
        "--rate 0",
        "--batch 0",
        "--batch 20001",
        "--connections 0",
        "--stream other",
        "--duration 5",
        "--start x",
        "--url ftp://a",
    ] {
        let words = std::iter::once("simulate").chain(line.split_whitespace());
        assert!(Line::try_parse_from(words).is_err(), "{line}");
    }
}

/// A server that stores what it reads, and then answers, refuses or drops the connection, one after the other.
struct Storing {
    times_stored: Mutex<BTreeMap<String, u64>>,
    requests: Mutex<u64>,
}

const ROLLUPS: &str = r#"{"rollups":[
    {"name":"stream_metrics_minute","stream":"stream.events","window_ms":60000,"late":"correct","by":["stream_id"],
        "measures":[{"name":"events","fn":"count"}]},
    {"name":"hourly","stream":"events","window_ms":3600000,"late":"correct","by":[],"measures":[]}]}"#;

impl Storing {
    fn take(&self, path: &str, body: &[u8]) -> Flaky {
        match path {
            "/livez" => return Flaky::Answer(200, String::new()),
            "/v1/rollups" => return Flaky::Answer(200, ROLLUPS.to_owned()),
            "/v1/events?stream=stream.events" => {}
            other => panic!("nobody asks for {other}"),
        }
        let mut requests = self.requests.lock().expect("no test panics with it");
        *requests += 1;
        // Refused for the moment: nothing is stored.
        if requests.is_multiple_of(5) {
            return Flaky::Answer([429, 503, 507, 500][*requests as usize / 5 % 4], String::new());
        }
        let text = std::str::from_utf8(body).expect("events are text");
        let mut stored = self.times_stored.lock().expect("no test panics with it");
        for line in text.lines() {
            *stored.entry(line.to_owned()).or_default() += 1;
        }
        if requests.is_multiple_of(3) {
            return Flaky::Drop;
        }
        Flaky::Answer(202, format!(r#"{{"accepted":{},"rejected":0,"errors":[]}}"#, text.lines().count()))
    }
}

/// Sends what the arguments say over HTTP.
async fn sent(args: &Args) -> Summary {
    let plan = Plan::new(args, &BTreeMap::new(), NOW, 7).expect("there is something to send");
    let server = plan.target.server().expect("the URL is good");
    let way = |_| Way::Http(Connection::new(&server), "/v1/events?stream=events".into());
    let mut run =
        Run::new(&plan, ((0..args.connections).map(way).collect(), OwnNames::default()), args.patience);
    run.send_all(Sequence::new(plan.shape), &WallClock, &CancellationToken::new())
        .await
        .expect("all is answered")
}

#[tokio::test]
async fn what_was_not_answered_is_sent_again_with_the_same_ids() {
    let storing = Arc::new(Storing { times_stored: Mutex::default(), requests: Mutex::default() });
    let stores = storing.clone();
    let address = serve(move |asked| stores.take(&asked.path, &asked.body)).await;
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("expected.json");
    let line = format!(
        "--stream stream.events --events 2000 --batch 50 --late 3% --disorder 2s --url http://{address} --expect {}",
        file.display()
    );
    assert_eq!(run(args(&line)).await, ExitCode::SUCCESS);

    let stored = storing.times_stored.lock().expect("no test panics with it");
    let ids: HashSet<&str> = stored.keys().filter_map(|line| line.get(13..45)).collect();
    assert_eq!(
        (stored.len(), ids.len()),
        (2_000, 2_000),
        "every event is there, under one id, with the same bytes"
    );
    assert!(
        stored.values().any(|times| *times > 1),
        "the server stored some before it dropped the connection"
    );

    // The file holds each event once, however often the server stored it, and only this stream's rollups.
    let text = std::fs::read_to_string(&file).expect("the file is there");
    let written: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let rows = written["stream_metrics_minute"].as_array().expect("it is a list");
    assert_eq!(rows.iter().filter_map(|row| row["events"].as_u64()).sum::<u64>(), 2_000);
    assert!(written.get("hourly").is_none());
}

#[tokio::test]
async fn the_summary_counts_what_happened() {
    let address = serve(|asked| {
        let lines = std::str::from_utf8(&asked.body).expect("events are text").lines().count() as u64;
        Flaky::Answer(202, format!(r#"{{"accepted":{},"rejected":1,"errors":[]}}"#, lines - 1))
    })
    .await;
    let args = args(&format!("--events 95 --batch 10 --duplicates 100% --url http://{address}"));
    let summary = sent(&args).await;
    let Summary { sent, accepted, resent, rejected, .. } = summary;
    assert_eq!((sent, accepted, resent, rejected), (190, 171, 0, 19), "95 events, each with a resend");
    assert!(
        summary.line().starts_with("sent 190  accepted 171  resent 0  rejected 19  in "),
        "{}",
        summary.line()
    );
    assert_eq!(summary.json()["accepted"], 171);
}

#[tokio::test]
async fn a_rate_is_kept() {
    let address = serve(|asked| {
        let lines = std::str::from_utf8(&asked.body).expect("events are text").lines().count();
        assert!(lines <= 20, "a batch holds a tenth of a second");
        Flaky::Answer(202, format!(r#"{{"accepted":{lines},"rejected":0,"errors":[]}}"#))
    })
    .await;
    let args = args(&format!("--events 100 --rate 200 --url http://{address}"));
    let summary = sent(&args).await;
    assert_eq!(summary.sent, 100);
    assert!(summary.seconds >= 0.5, "100 events at 200 a second took {} s", summary.seconds);
}

#[tokio::test]
async fn a_server_that_was_never_there_ends_the_run_at_once() {
    assert_eq!(run(args("--url http://127.0.0.1:1")).await, ExitCode::from(69));
}
