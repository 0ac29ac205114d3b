//! Bodies as clients send them, whatever they call them.

use super::*;
use axum::http::HeaderValue;

fn with_type(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !content_type.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).expect("a header"));
    }
    headers
}

const FORM: &str = "application/x-www-form-urlencoded";
const LINES: &str = "application/x-ndjson";

#[test]
fn finds_the_events() {
    let one = |text: &'static str| Some(Items::One(text));
    let many = |texts: &[&'static str]| Some(Items::Many(texts.to_vec()));
    for (content_type, body, expect) in [
        ("", "{\"a\":1}", one("{\"a\":1}")),
        (FORM, " {\"a\":1}\r\n", one("{\"a\":1}")),
        ("application/json; charset=UTF-8", "\u{feff}{\"a\":1}", one("{\"a\":1}")),
        ("application/cloudevents+json", "{\"a\":1}", one("{\"a\":1}")),
        ("text/plain", "{\n \"a\": 1\n}", one("{\n \"a\": 1\n}")),
        ("", "{\"a\":\"}{\"}", one("{\"a\":\"}{\"}")),
        (FORM, "{\"a\":1}\n{\"b\":2}\n", many(&["{\"a\":1}", "{\"b\":2}"])),
        ("", "{\"a\":1}\n{\n\"b\":2}", many(&["{\"a\":1}", "{\n\"b\":2}"])),
        ("", "{\"a\":1}\n{broken\n{\"b\":2}", many(&["{\"a\":1}", "{broken", "{\"b\":2}"])),
        (LINES, "{\"a\":1}", many(&["{\"a\":1}"])),
        (LINES, "\r\n{\"a\":1}\r\n\n  \nnonsense\r\n", many(&["{\"a\":1}", "nonsense"])),
        ("application/jsonl", "{\"a\":1}\n{\"b\":2}", many(&["{\"a\":1}", "{\"b\":2}"])),
        ("", "[{\"a\":1}, 2]", many(&["{\"a\":1}", "2"])),
        ("", "{broken", one("{broken")),
    ] {
        assert_eq!(split(body.as_bytes(), &with_type(content_type)).ok(), expect, "{content_type} {body}");
    }
}

#[test]
fn refuses_what_is_no_body_of_events() {
    for (content_type, body, expect) in [
        ("", "", "EmptyBody"),
        ("", " \r\n", "EmptyBody"),
        ("", "[]", "EmptyBody"),
        ("", "hello", "InvalidBody"),
        ("", "17", "InvalidBody"),
        ("", "[{\"a\":1}", "InvalidBody"),
        ("", "[{\"a\":1}] x", "InvalidBody"),
        ("image/png", "{\"a\":1}", "UnsupportedMediaType"),
        ("application/json; charset=utf-16", "{\"a\":1}", "UnsupportedMediaType"),
    ] {
        let error = split(body.as_bytes(), &with_type(content_type)).expect_err(body);
        assert!(format!("{error:?}").starts_with(expect), "{content_type} {body}: {error:?}");
    }
    assert!(matches!(split(b"{\"a\":\"\xff\"}", &with_type("")), Err(ApiError::InvalidBody(_))));
}

#[test]
fn holds_the_number_of_events() {
    for (separator, open, close, content_type) in
        [("\n", "", "", LINES), (",", "[", "]", ""), ("\n", "", "", "")]
    {
        let body = |count: usize| format!("{open}{}{close}", vec!["{}"; count].join(separator));
        for (count, is_fine) in [
            (EVENTS_PER_REQUEST_MAX - 1, true),
            (EVENTS_PER_REQUEST_MAX, true),
            (EVENTS_PER_REQUEST_MAX + 1, false),
        ] {
            let result = split(body(count).as_bytes(), &with_type(content_type)).map(|_| ());
            assert_eq!(result.is_ok(), is_fine, "{count} {content_type}: {result:?}");
        }
    }
}
