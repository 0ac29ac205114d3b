//! Which key is meant, and how rates are written.

use super::*;

#[test]
fn a_key_is_meant_by_its_id_or_by_a_name_that_is_its_alone() {
    let keys = json!({"keys": [
        {"id": "a1", "name": "shop", "works": false},
        {"id": "a2", "name": "shop", "works": true},
        {"id": "b1", "name": "app", "works": true},
        {"id": "b2", "name": "app", "works": true},
        {"id": "c1", "name": "b1", "works": true},
    ]});
    for (meant, expect) in [
        ("a1", Ok("a1")),
        ("shop", Ok("a2")),
        ("b1", Ok("b1")),
        ("app", Err("several keys app work, name one by its id: b1, b2")),
        ("none", Err("there is no working key none: see `streamgauge keys list`")),
    ] {
        let found = id_of(meant, &keys).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expect, "{meant}");
    }
}

#[test]
fn rates_are_a_second() {
    for (text, events, bytes) in [
        ("100/s", Some(100), Some(100)),
        ("100", Some(100), Some(100)),
        ("64KiB/s", None, Some(65_536)),
        ("-1/s", None, None),
        ("100/m", None, None),
        ("", None, None),
    ] {
        assert_eq!((rate(text).ok(), byte_rate(text).ok()), (events, bytes), "{text}");
    }
}

#[test]
fn a_line_of_the_list_has_rates_and_origins() {
    let key = json!({"events_per_s": 100, "bytes_per_s": 524_288});
    assert_eq!(rates(&key), "100 events/s, 524288 bytes/s");
    assert_eq!(rates(&json!({"events_per_s": null, "bytes_per_s": 7})), "7 bytes/s");
    assert_eq!(rates(&json!({})), "");
    let columns = ["a1", "shop", "ingest", "2026-11-21", "works", "7 bytes/s", "https://shop.example"];
    let shown = line(columns);
    assert_eq!(shown.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>(), columns);
    assert!(!line(["a1", "", "", "", "works", "", ""]).ends_with(' '));
}
