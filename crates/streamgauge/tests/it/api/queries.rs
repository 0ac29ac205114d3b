//! Questions about rollups: which there are, their rows in every form, pages, filters, and the largest.

use serde_json::Value;

use super::super::harness::Server;
use super::{get_json, masked, post_seen, post_seen_at, rows};

const HOURLY: &str = "/v1/rollups/hourly_aggregations";

/// Three hours of three types; one type is empty of nothing but a comma and a quote.
fn filled() -> Server {
    let server = Server::start(&[]);
    let mut events = Vec::new();
    for (kind, hour, count) in
        [("a", 0, 3), ("b", 0, 1), ("a", 1, 2), ("=1+1", 1, 4), ("a", 3, 1), ("say \\\"hi\\\", you", 3, 2)]
    {
        for minute in 0..count {
            events.push(format!(
                r#"{{"event_type":"{kind}","ts":"2025-01-01T0{hour}:{:02}:00Z"}}"#,
                minute * 14
            ));
        }
    }
    post_seen(&server, &format!("[{}]", events.join(",")));
    server
}

/// Returns the rows of a query, without the date that all have.
fn ask(server: &Server, query: &str) -> Vec<String> {
    let answer = get_json(server, &format!("{HOURLY}{query}"));
    rows(&answer).into_iter().map(|row| row.replace("2025-01-01T", "").replace(":00:00Z", "h")).collect()
}

#[test]
fn rollups_are_described() {
    let server = Server::start(&[]);
    let list = get_json(&server, "/v1/rollups");
    let described = list["rollups"].as_array().expect("a list").iter();
    // One line each, without its blanks.
    let line = |rollup| masked(rollup, &["closed_to", "keep_ms"]).split_whitespace().collect::<String>();
    let lines: Vec<String> = described.map(line).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"name":"hourly_aggregations","stream":"events","window_ms":3600000,"pane_ms":900000,"grace_ms":30000,"late":"correct","keep_ms":"…","by":["event_type"],"measures":[{"name":"event_count","fn":"count"}]}
    {"name":"pageview_aggregates","stream":"pageviews","window_ms":60000,"pane_ms":60000,"grace_ms":300000,"late":"divert","keep_ms":"…","by":["postcode"],"measures":[{"name":"pageview_count","fn":"count"}]}
    {"name":"stream_metrics_minute","stream":"stream.events","window_ms":60000,"pane_ms":60000,"grace_ms":600000,"late":"correct","keep_ms":"…","by":["stream_id"],"measures":[{"name":"active_viewers","fn":"level","up":{"event_type":["viewer_join"]},"down":{"event_type":["viewer_leave"]}},{"name":"chat_messages","fn":"count","where":{"event_type":["chat_message"]}},{"name":"donations_usd","fn":"sum","field":"amount_usd","scale":2,"where":{"event_type":["donation"]}}]}
    "#);
}

#[test]
fn a_range_is_what_was_asked_for_or_that_of_the_rows() {
    let (server, empty) = (filled(), Server::start(&[]));
    let range = |server: &Server, query: &str| {
        let answer = get_json(server, &format!("{HOURLY}{query}"));
        let [from, to] = ["from", "to"].map(|end| answer["range"][end].as_str().unwrap_or("-").to_owned());
        format!("{from} {to}").replace("2025-01-01T", "").replace(":00:00Z", "h")
    };
    for (query, with_rows, without) in [
        ("", "00h 04h", "- -"),
        ("?interval=2h", "00h 04h", "- -"),
        ("?event_type=none", "- -", "- -"),
        ("?from=2025-01-01T01:00:00Z", "01h 04h", "01h -"),
        ("?to=2025-01-01T02:00:00Z", "00h 02h", "- 02h"),
        ("?to=2025-01-01T02:00:00Z&interval=2h", "00h 02h", "- 02h"),
        ("?to=1960-01-01T02:00:00Z&interval=2h", "- 1960-01-01T02h", "- 1960-01-01T02h"),
        ("?from=2025-01-01T01:30:00Z&interval=2h&fill=zero", "00h 04h", "00h -"),
        ("?from=2025-01-01T05:00:00Z", "05h -", "05h -"),
        ("?from=2025-01-01T05:00:00Z&to=2025-01-01T06:00:00Z", "05h 06h", "05h 06h"),
    ] {
        assert_eq!(range(&server, query), with_rows, "{query}");
        assert_eq!(range(&empty, query), without, "{query} of nothing");
    }
}

#[test]
fn an_answer_has_a_range_a_standing_and_rows() {
    let server = filled();
    let answer = get_json(&server, &format!("{HOURLY}?from=2025-01-01&to=2025-01-01T02:00:00Z"));
    insta::assert_snapshot!(masked(&answer, &[]), @r#"
    {
      "rollup": "hourly_aggregations",
      "range": {
        "from": "2025-01-01T00:00:00Z",
        "to": "2025-01-01T02:00:00Z",
        "interval": "3600s"
      },
      "as_of": {
        "watermark": "2025-01-01T03:14:00Z",
        "offsets": {
          "0": 13
        }
      },
      "data": [
        {
          "window_start": "2025-01-01T00:00:00Z",
          "window_end": "2025-01-01T01:00:00Z",
          "event_type": "a",
          "event_count": 3,
          "late_count": 0,
          "revision": 0,
          "is_final": true
        },
        {
          "window_start": "2025-01-01T00:00:00Z",
          "window_end": "2025-01-01T01:00:00Z",
          "event_type": "b",
          "event_count": 1,
          "late_count": 0,
          "revision": 0,
          "is_final": true
        },
        {
          "window_start": "2025-01-01T01:00:00Z",
          "window_end": "2025-01-01T02:00:00Z",
          "event_type": "=1+1",
          "event_count": 4,
          "late_count": 0,
          "revision": 0,
          "is_final": true
        },
        {
          "window_start": "2025-01-01T01:00:00Z",
          "window_end": "2025-01-01T02:00:00Z",
          "event_type": "a",
          "event_count": 2,
          "late_count": 0,
          "revision": 0,
          "is_final": true
        }
      ],
      "next_cursor": null
    }
    "#);
}

#[test]
fn a_range_is_written_in_many_ways() {
    let server = filled();
    let second_hour = ["01h 02h =1+1 4", "01h 02h a 2"];
    for (from, to) in [
        ("2025-01-01T01:00:00Z", "2025-01-01T02:00:00Z"),
        ("2025-01-01T01:00", "2025-01-01T02:00"),
        ("2025-01-01%2001:00:00", "2025-01-01%2002:00:00"),
        ("2025-01-01T06:45:00%2B05:45", "2025-01-01T07:45:00%2B05:45"),
        // A plus sign that was not escaped arrives as a blank.
        ("2025-01-01T06:45:00+05:45", "2025-01-01T07:45:00+05:45"),
        ("1735693200", "1735696800"),
        ("1735693200000", "1735696800000"),
        ("1735693200000000000", "1735696800000000000"),
        // Ranges are widened to whole windows; `to` itself is outside.
        ("2025-01-01T01:59:59.999Z", "2025-01-01T01:59:59.999Z"),
        ("2025-01-01T01:30:00Z", "2025-01-01T01:30:00.001Z"),
    ] {
        assert_eq!(ask(&server, &format!("?from={from}&to={to}")), second_hour, "{from} {to}");
    }
    assert_eq!(ask(&server, "?from=2025-01-01T03:00:00Z").len(), 2);
    assert_eq!(ask(&server, "?to=2025-01-01T01:00:00Z").len(), 2);
    assert_eq!(ask(&server, "").len(), 6);
    assert_eq!(ask(&server, "?from=&to=").len(), 6);
    for query in ["?from=-1h", "?from=now-1h30m", "?from=now-1d&to=now", "?from=-1w&to=-1d", "?to=0001-01-02"]
    {
        assert!(ask(&server, query).is_empty(), "{query}");
    }
    assert_eq!(ask(&server, "?from=-5200w&to=now%2B1d").len(), 6);
}

#[test]
fn coarser_intervals_add_windows_up() {
    let server = filled();
    assert_eq!(ask(&server, "?interval=2h&event_type=a"), ["00h 02h a 5", "02h 04h a 1"]);
    assert_eq!(ask(&server, "?interval=1d&event_type=a"), ["00h 2025-01-02T00h a 6"]);
    assert_eq!(ask(&server, "?interval=24h&event_type=a"), ["00h 2025-01-02T00h a 6"]);
    assert_eq!(ask(&server, "?interval=1w&event_type=a"), ["2024-12-30T00h 2025-01-06T00h a 6"]);
    assert_eq!(ask(&server, "?interval=1M&event_type=a"), ["00h 2025-02-01T00h a 6"]);
    // Panes are finer than windows here.
    let quarters = ask(&server, "?interval=15m&event_type=a&to=2025-01-01T01:00:00Z");
    assert_eq!(
        quarters,
        ["00h 2025:15:00Z a 2", "00:15:00Z 00:30:00Z a 1"].map(|row| row.replace("2025:15", "00:15"))
    );
    assert_eq!(ask(&server, "?tz=Asia/Kathmandu&event_type=b"), ["2024-12-31T23:15:00Z 00:15:00Z b 1"]);
}

#[test]
fn gaps_are_filled_with_zeros() {
    let server = filled();
    let range = "from=2025-01-01&to=2025-01-01T05:00:00Z";
    assert_eq!(
        ask(&server, &format!("?{range}&event_type=a&fill=zero")),
        ["00h 01h a 3", "01h 02h a 2", "02h 03h a 0", "03h 04h a 1", "04h 05h a 0"]
    );
    assert_eq!(ask(&server, &format!("?{range}&event_type=a&fill=none")).len(), 3);
    // Every series of the answer has every interval.
    assert_eq!(ask(&server, &format!("?{range}&fill=zero")).len(), 4 * 5);
    assert_eq!(ask(&server, &format!("?{range}&fill=zero&interval=15m&tz=UTC&event_type=nobody")).len(), 0);
}

#[test]
fn pages_put_together_are_the_one_big_page() {
    let server = filled();
    let mut queries =
        vec![String::new(), "&interval=1d".to_owned(), "&interval=30m&tz=Europe/London".to_owned()];
    queries.push("&from=2025-01-01&to=2025-01-02&fill=zero".to_owned());
    queries.push("&event_type=a".to_owned());
    for query in queries {
        let whole = get_json(&server, &format!("{HOURLY}?limit=10000{query}"));
        assert!(whole["next_cursor"].is_null(), "{query}");
        let whole = whole["data"].as_array().expect("a list").clone();
        for limit in [1, 2, 3, whole.len(), whole.len() + 1] {
            let (mut pages, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = get_json(&server, &format!("{HOURLY}?limit={limit}{query}&cursor={cursor}"));
                let rows = page["data"].as_array().expect("a list");
                assert!(rows.len() <= limit, "{query} {limit}");
                pages.extend(rows.iter().cloned());
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(pages, whole, "{query} in pages of {limit}");
        }
    }
}

#[test]
fn rows_come_as_csv_and_as_lines() {
    let server = filled();
    let csv = server.get(&format!("{HOURLY}?format=csv"));
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    insta::assert_snapshot!(csv.text(), @r#"
    window_start,window_end,event_type,event_count,late_count,revision,is_final
    2025-01-01T00:00:00Z,2025-01-01T01:00:00Z,a,3,0,0,true
    2025-01-01T00:00:00Z,2025-01-01T01:00:00Z,b,1,0,0,true
    2025-01-01T01:00:00Z,2025-01-01T02:00:00Z,'=1+1,4,0,0,true
    2025-01-01T01:00:00Z,2025-01-01T02:00:00Z,a,2,0,0,true
    2025-01-01T03:00:00Z,2025-01-01T04:00:00Z,a,1,0,0,false
    2025-01-01T03:00:00Z,2025-01-01T04:00:00Z,"say ""hi"", you",2,0,0,false
    "#);
    let lines = server.get(&format!("{HOURLY}?format=ndjson"));
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    let whole = get_json(&server, HOURLY);
    let read: Vec<Value> =
        lines.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(Value::from(read), whole["data"]);
    assert!(lines.text().ends_with("}\n"));
}

#[test]
fn dimensions_filter_also_by_the_empty_text() {
    let toml = r#"
[[rollup]]
name = "by_country"
stream = "events"
window = "1h"
by = ["country", "event_type"]
[[rollup.measure]]
name = "events_seen"
fn = "count"
"#;
    let server = Server::start_with(toml, &[]);
    let events = r#"[{"event_type":"a","ts":0,"country":"NP"},{"event_type":"a","ts":0},
        {"event_type":"b","ts":0,"country":""},{"event_type":"a","ts":0,"properties":{"country":"GB"}},
        {"event_type":"a","ts":0,"country":null}]"#;
    post_seen(&server, events);
    let ask = |query: &str| {
        let answer = get_json(&server, &format!("/v1/rollups/by_country?{query}"));
        let lines = rows(&answer);
        lines
            .iter()
            .map(|row| row["1970-01-01T00:00:00Z 1970-01-01T01:00:00Z ".len()..].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ask(""), [" a 2", " b 1", "GB a 1", "NP a 1"]);
    assert_eq!(ask("country="), [" a 2", " b 1"]);
    assert_eq!(ask("country=NP"), ["NP a 1"]);
    assert_eq!(ask("country=&event_type=b"), [" b 1"]);
    assert_eq!(ask("country=np"), [""; 0]);
    assert_eq!(ask("country=%27%20OR%201=1"), [""; 0]);
}

#[test]
fn the_largest_come_first() {
    let server = filled();
    let top = get_json(&server, &format!("{HOURLY}/top"));
    insta::assert_snapshot!(masked(&top, &[]), @r#"
    {
      "rollup": "hourly_aggregations",
      "by": "event_count",
      "data": [
        {
          "event_type": "a",
          "event_count": 6
        },
        {
          "event_type": "=1+1",
          "event_count": 4
        },
        {
          "event_type": "say \"hi\", you",
          "event_count": 2
        },
        {
          "event_type": "b",
          "event_count": 1
        }
      ]
    }
    "#);
    let kinds = |query: &str| {
        let answer = get_json(&server, &format!("{HOURLY}/top?{query}"));
        answer["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| super::bare(&row["event_type"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds("by=event_count&n=2"), ["a", "=1+1"]);
    assert_eq!(kinds("limit=1"), ["a"]);
    assert_eq!(kinds("n=1&from=2025-01-01T01:00:00Z&to=2025-01-01T02:00:00Z"), ["=1+1"]);
    assert_eq!(kinds("event_type=b"), ["b"]);
    assert_eq!(kinds("from=-1h"), [""; 0]);
}

#[test]
fn sums_keep_every_digit() {
    let server = Server::start(&[]);
    let donation =
        |amount: &str| format!(r#"{{"type":"donation","stream_id":"s","ts":0,"amount_usd":{amount}}}"#);
    let amounts = [
        "0.1",
        "0.2",
        "\"999999999999999999999.99\"",
        "0.005",
        "0.015",
        "-1",
        "1e-2",
        "12345678901234567890",
    ];
    let events: Vec<String> = amounts.into_iter().map(donation).collect();
    post_seen_at(&server, "/v1/events?stream=stream.events&wait=true", &format!("[{}]", events.join(",")));
    let text = server.get("/v1/rollups/stream_metrics_minute").text();
    // 0.005 and 0.015 are rounded half to even: 0.00 and 0.02.
    assert!(text.contains("\"donations_usd\":1012345678901234567889.32,"), "{text}");
}
