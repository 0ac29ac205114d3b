//! Answers are judged rightly, percentiles are those of the values, and every request has new ids.

use super::*;

fn check(answer: &str, expect: Option<bool>) {
    assert_eq!(judge(answer.as_bytes()).expect("the answer is HTTP"), expect, "{answer}");
}

#[test]
fn answers_are_judged() {
    check("HTTP/1.1 202 Accepted\r\nContent-Le", None);
    check("HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nabcd", None);
    check("HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\n\r\nabcd", Some(true));
    check("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", Some(true));
    check("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n", Some(false));
    check("HTTP/1.1 202 Accepted\r\ncontent-length: 14\r\n\r\n{\"rejected\":0}", Some(true));
    check("HTTP/1.1 202 Accepted\r\ncontent-length: 14\r\n\r\n{\"rejected\":3}", Some(false));
    assert!(judge(b"HTTP/1.1 202 Accepted\r\n\r\n").is_err());
}

#[test]
fn percentiles_are_those_of_the_values() {
    let values: Vec<u32> = (0..1_000).collect();
    assert_eq!(
        (percentile(&values, 0.5), percentile(&values, 0.999), percentile(&values, 1.0)),
        (500, 999, 999)
    );
    assert_eq!(percentile(&[], 0.5), 0);
}

#[test]
fn every_request_has_new_ids() {
    let start = Instant::now();
    let load =
        Load { port: 1, path: "/events".into(), batch: 2, end: start, start_ms: 1_735_689_600_000, start };
    let mut request = Request::new(&load, 1);
    let mut ids = std::collections::HashSet::new();
    for send in 0..10 {
        request.renew(load.start_ms + send);
        let at = memchr::memmem::find(&request.bytes, b"\r\n\r\n").expect("the request has a head") + 4;
        let events = event::read_all(&request.bytes[at..]).expect("made-up events are events");
        assert!(events.iter().all(|event| event.timestamp == load.start_ms + send));
        ids.extend(events.iter().map(|event| event.event_id.to_string()));
    }
    assert_eq!(ids.len(), 20);
}
