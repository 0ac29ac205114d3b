//! Single events that some store, reader or parser would choke on: each is refused with its code, alone and among good
//! ones, and leaves nothing behind.

use serde_json::Value;

use super::super::harness::Server;
use super::{assert_well, kept};

const GOOD: &str = r#"{"event_type":"good","ts":0}"#;
const LINES: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

fn nested(depth: usize, open: &str, close: &str) -> String {
    // The event itself is the first level.
    format!(r#"{{"event_type":"a","x":{}1{}}}"#, open.repeat(depth - 1), close.repeat(depth - 1))
}

fn members(count: usize) -> String {
    let members: Vec<String> = (0..count).map(|at| format!(r#""m{at}":{at}"#)).collect();
    format!(r#"{{"event_type":"a",{}}}"#, members.join(","))
}

/// Every poison with its code; none has a line break in it.
fn poisons() -> Vec<(String, &'static str)> {
    let long = "é".repeat(150);
    let mut all: Vec<(String, &str)> = vec![
        (nested(33, "[", "]"), "too_deep"),
        (nested(33, r#"{"x":"#, "}"), "too_deep"),
        (nested(100_000, "[", "]"), "too_deep"),
        (members(257), "too_many_members"),
        (members(10_000), "too_many_members"),
        (format!(r#"{{"event_type":"{long}"}}"#), "dimension_too_long"),
        (format!(r#"{{"event_type":"a","userId":"{long}"}}"#), "dimension_too_long"),
        (format!(r#"{{"event_type":"a","$session_id":"{long}"}}"#), "dimension_too_long"),
        (format!(r#"{{"event_type":"a","event_id":"{long}"}}"#), "id_too_long"),
        (format!(r#"{{"event_type":"a","x":{}}}"#, "9".repeat(400)), "number_out_of_range"),
        (format!(r#"{{"event_type":"a","x":"{}"}}"#, "x".repeat(256 * 1_024)), "event_too_large"),
        ("\"".repeat(7), "invalid_json"),
        (format!("{}{GOOD}", "[".repeat(100_000)), "invalid_json"),
    ];
    let texts = [
        (r#"{"event_type":"a\u0000b"}"#, "invalid_text"),
        (r#"{"event_type":"a","x":"\u0000"}"#, "invalid_text"),
        (r#"{"event_type":"a","x\u0000":1}"#, "invalid_text"),
        (r#"{"event_type":"a","x":[{"y":"\u0000"}]}"#, "invalid_text"),
        (r#"{"event_type":"a","x":"\ud800"}"#, "invalid_text"),
        (r#"{"event_type":"a","x":"\udc00"}"#, "invalid_text"),
        (r#"{"event_type":"a","x":"\ud800\u0041"}"#, "invalid_text"),
        (r#"{"event_type":"a","x":"\udbff\ud800"}"#, "invalid_text"),
        (r#"{"event_type":"a","x":1e400}"#, "number_out_of_range"),
        (r#"{"event_type":"a","x":[-1E+400]}"#, "number_out_of_range"),
        (r#"{"event_type":"a","x":1e-400}"#, "number_out_of_range"),
        (r#"{"event_type":"a","x":1e99999999999999999999}"#, "number_out_of_range"),
        (r#"{"event_type":"a","x":NaN}"#, "invalid_json"),
        (r#"{"event_type":"a","x":Infinity}"#, "invalid_json"),
        (r#"{"event_type":"a","x":-Infinity}"#, "invalid_json"),
        (r#"{"event_type":"a","x":01}"#, "invalid_json"),
        (r#"{"event_type":"a","x":0x10}"#, "invalid_json"),
        (r#"{"event_type":"a","event_type":"b"}"#, "duplicate_member"),
        (r#"{"event_type":"a","x":1,"x":2}"#, "duplicate_member"),
        (r#"{"event_type":"a","x":1,"\u0078":2}"#, "duplicate_member"),
        (r#"{"event_type":"a","ts":"300000-01-01T00:00:00Z"}"#, "bad_timestamp"),
        (r#"{"event_type":"a","ts":"+300000-01-01T00:00:00Z"}"#, "bad_timestamp"),
        (r#"{"event_type":"a","ts":9404592000000000000000}"#, "timestamp_out_of_range"),
        (r#"{"event_type":"a","ts":9999999999999}"#, "future_timestamp"),
        (r#"{"event_type":"a","ts":-9223372036854775808000}"#, "timestamp_out_of_range"),
        ("{}", "missing_event_type"),
        ("[]", "not_an_object"),
        ("[1,2,3]", "not_an_object"),
        ("[{\"event_type\":\"a\"}]", "not_an_object"),
        ("42", "not_an_object"),
        ("\"text\"", "not_an_object"),
        ("null", "not_an_object"),
        (r#"{"event_type":"a""#, "invalid_json"),
        (r#"{"event_type":"a"#, "invalid_json"),
        (r#"{"event_type":"a"}}"#, "invalid_json"),
        (r#"{"event_type":"a",}"#, "invalid_json"),
        (r#"{'event_type':'a'}"#, "invalid_json"),
        (r#"{"event_type":"a","x":"\x41"}"#, "invalid_json"),
        ("{\"event_type\":\"a\",\"x\":\"\u{0}\"}", "invalid_json"),
        ("{\"event_type\":\"a\",\"x\":\"\t\"}", "invalid_json"),
    ];
    all.extend(texts.map(|(text, code)| (text.to_owned(), code)));
    all
}

#[test]
fn each_poison_is_named_and_its_neighbours_count() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut good = 0;
    for (poison, code) in poisons() {
        let body = format!("{GOOD}\n{poison}\n{GOOD}\n");
        let answer = client.post("/v1/events", &LINES, body.as_bytes()).expect("there is an answer");
        assert_eq!(answer.status, 202, "{poison:.100}: {}", answer.text());
        let told = answer.json();
        let named =
            (&told["accepted"], &told["rejected"], &told["errors"][0]["index"], &told["errors"][0]["code"]);
        assert_eq!(named, (&2.into(), &1.into(), &1.into(), &code.into()), "{poison:.100}: {told}");
        good += 2;
        if poison.starts_with("[{") {
            // Alone it is an array of good events.
            continue;
        }
        let alone = client.post("/v1/events", &[], poison.as_bytes()).expect("there is an answer");
        assert!([400, 413, 422].contains(&alone.status), "{poison:.100}: {} {}", alone.status, alone.text());
    }
    server.post("/v1/flush", &[], "");
    assert_eq!(kept(&server), (good, good), "only the good ones are in the log and counted");
    assert_well(&server);
}

#[test]
fn poison_for_a_sum_is_named_too() {
    let server = Server::start(&[]);
    for (amount, code) in [
        ("1e27", "number_out_of_range"),
        ("-1e27", "number_out_of_range"),
        ("\"1000000000000000000000000000\"", "number_out_of_range"),
        ("1e200", "number_out_of_range"),
        ("\"1e400\"", "number_out_of_range"),
        ("\"NaN\"", "bad_number"),
        ("\"Infinity\"", "bad_number"),
        ("\"\"", "bad_number"),
        ("\"0x10\"", "bad_number"),
        ("\"1,5\"", "bad_number"),
        ("[1]", "bad_number"),
        ("{}", "bad_number"),
        ("false", "bad_number"),
    ] {
        let body = format!(
            r#"[{{"stream_id":"s","type":"donation","amount_usd":{amount},"ts":0}},{{"stream_id":"s","type":"donation","amount_usd":0.01,"ts":0}}]"#
        );
        let answer = server.post("/v1/events?stream=stream.events&wait=true", &[], &body);
        let told = answer.json();
        assert_eq!((answer.status, &told["errors"][0]["code"]), (202, &code.into()), "{amount}: {told}");
        assert_eq!(told["errors"][0]["field"], "amount_usd", "{amount}");
    }
    let text = server.get("/v1/rollups/stream_metrics_minute").text();
    assert!(text.contains(r#""donations_usd":0.13,"#), "{text}");
}

#[test]
fn a_body_that_is_not_text_is_refused_whole() {
    let server = Server::start(&[]);
    for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
        let body = [GOOD.as_bytes(), b"\n{\"event_type\":\"", bad, b"\"}\n"].concat();
        for headers in [&LINES[..], &[]] {
            let answer = server.post("/v1/events", headers, &body);
            assert_eq!((answer.status, &answer.json()["code"]), (400, &"invalid_body".into()), "{bad:?}");
        }
    }
    assert_eq!(kept(&server), (0, 0));
    assert_well(&server);
}

#[test]
fn what_only_looks_like_poison_is_kept_as_it_was_sent() {
    let server = Server::start(&[]);
    let cases = [
        r#"{"x":"\ud83d\ude00 é \u00e9 \"\\\/\b\f\n\r\t"}"#,
        r#"{"x":"'; DROP TABLE events; --","<script>":"</script><img src=x onerror=alert(1)>"}"#,
        r#"{"x":"\u0001\u001f\u007f\u0080\ufffe\uffff","":"empty name"}"#,
        r#"{"__proto__":{"a":1},"constructor":null,"toString":[]}"#,
        r#"{"x":1e299,"y":-0.0,"z":123456789012345678901234567890.5,"w":1E-300}"#,
        r#"{"x":{"a":1,"a":2},"y":[null,true,[]]}"#,
        r#"{"rtl":"\u202eabc","zero":"\u200b","combining":"e\u0301"}"#,
    ];
    for (at, properties) in cases.into_iter().enumerate() {
        let body = format!(r#"{{"event_id":"{at}","event_type":"a","ts":0,"properties":{properties}}}"#);
        let answer = server.post("/v1/events?wait=true", &[], &body);
        assert_eq!(answer.status, 202, "{properties}: {}", answer.text());
        let text = server.get(&format!("/v1/events?event_id={at}")).text();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let expect: Value = serde_json::from_str(properties).expect("the case is JSON");
        assert_eq!(answer["data"][0]["properties"], expect, "{text}");
        assert!(text.contains(&format!(r#""properties":{properties},"#)), "unchanged to the letter: {text}");
    }
    assert_well(&server);
}
