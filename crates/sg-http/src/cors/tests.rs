//! Which origins are allowed, and which settings are none.

use super::*;

#[test]
fn origins_are_compared_whole() {
    let allow = |allowed: &str, origin: &str| Origins::new(vec![allowed.to_owned()]).allow(origin);
    for (allowed, origin, expect) in [
        ("http://localhost:*", "http://localhost", true),
        ("http://localhost:*", "http://localhost:5173", true),
        ("http://localhost:*", "https://localhost:5173", false),
        ("http://localhost:*", "http://localhost.evil.example", false),
        ("http://localhost:*", "http://localhost:5173.evil.example", false),
        ("http://localhost:*", "http://localhost:", false),
        ("https://a.example", "https://a.example", true),
        ("https://a.example", "https://a.example:444", false),
        ("https://a.example", "https://a.example.evil.example", false),
        ("*", "https://anything.example", true),
        ("https://a.example", "null", false),
    ] {
        assert_eq!(allow(allowed, origin), expect, "{allowed} {origin}");
    }
    assert!(!Origins::default().allow("http://localhost"));
}

#[test]
fn what_is_no_origin_is_told() {
    let origins =
        ["*", "http://localhost:*", "https://a.example", "a.example", "https://a.example/", "", "http://"];
    let origins = Origins::new(origins.map(str::to_owned).to_vec());
    assert_eq!(origins.wrong().collect::<Vec<_>>(), ["a.example", "https://a.example/", "", "http://"]);
}
