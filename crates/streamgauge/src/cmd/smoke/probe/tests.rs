//! Sums of rows, to the last digit.

use super::*;

#[test]
fn sums_are_exact() {
    let sum = Sum {
        rollup: "stream_metrics_minute",
        dimension: ("stream_id", "smoke-1 ä"),
        range: ("2025-01-01T00:00:00Z".to_owned(), "2025-01-01T02:00:00Z".to_owned()),
        measure: ("usd", 2),
        expect: 11_245,
    };
    assert_eq!(
        sum.path(),
        "/v1/rollups/stream_metrics_minute?stream_id=smoke-1%20%C3%A4&from=2025-01-01T00%3A00%3A00Z&to=2025-01-01T02%3A00%3A00Z"
    );
    let check = |body: &str, expect: Result<&str, &str>| match (sum.judge(body.as_bytes()), expect) {
        (Ok(seen), Ok(told)) | (Err(seen), Err(told)) => assert!(seen.contains(told), "{body}: {seen}"),
        (seen, _) => panic!("{body}: {seen:?}"),
    };
    check(r#"{"data":[{"usd":112.45}],"next_cursor":null}"#, Ok("usd of smoke-1 ä is 112.45"));
    check(r#"{"data":[{"usd":100.10},{"usd":12.35}],"next_cursor":null}"#, Ok("112.45"));
    check(r#"{"data":[{"usd":112.44}],"next_cursor":null}"#, Err("is 112.44, and 112.45 was sent"));
    check(r#"{"data":[],"next_cursor":null}"#, Err("is 0.00, and 112.45 was sent"));
    check(r#"{"data":[{"other":1}],"next_cursor":null}"#, Err("usd is \"\" in a row"));
    check(r#"{"detail":"no"}"#, Err("no rows"));
}
