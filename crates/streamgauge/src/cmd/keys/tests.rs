//! Which key is meant, and how rates are written.

use super::*;

/// Returns what the server says of keys; a whole second is told without a fraction.
fn listed() -> Value {
    let key = |(id, name, works, made): (&str, &str, bool, &str)| {
        let created_at = format!("2026-11-21T10:00:{made}Z");
        json!({"id": id, "name": name, "works": works, "created_at": created_at})
    };
    let keys = [
        ("a1", "shop", false, "10"),
        ("a2", "shop", true, "11"),
        ("b1", "app", true, "22.500"),
        ("b2", "app", true, "22"),
        ("b3", "app", false, "20"),
        ("c1", "b1", true, "12"),
    ];
    json!({"keys": keys.map(key)})
}

#[test]
fn a_key_is_meant_by_its_id_or_by_a_name_that_is_its_alone() {
    for (meant, expect) in [
        ("a1", Ok("a1")),
        ("shop", Ok("a2")),
        ("b1", Ok("b1")),
        (
            "app",
            Err(
                "several keys app work: name one by its id, or the one that was made first with --older: b2 (made \
                 2026-11-21T10:00:22Z), b1 (made 2026-11-21T10:00:22.500Z)",
            ),
        ),
        ("none", Err("there is no working key none: see `streamgauge keys list`")),
    ] {
        let found = id_of(meant, &listed()).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expect, "{meant}");
    }
}

#[test]
fn the_older_of_two_is_never_the_only_one() {
    for (name, expect) in [
        ("app", Ok("b2")),
        ("shop", Err("only one key shop works: --older is for two; without it that one is revoked")),
        // That is the name of one key and the id of another.
        ("b1", Err("only one key b1 works: --older is for two; without it that one is revoked")),
        ("a2", Err("there is no working key a2: see `streamgauge keys list`")),
    ] {
        let found = older_of(name, &listed()).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expect, "{name}");
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
