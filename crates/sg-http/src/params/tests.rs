//! Query strings with their faults.

use super::*;

#[test]
fn reads_names_and_values() {
    let params = Params::parse("a=1&b=caf%C3%A9+au&empty=&flag");
    assert_eq!(params.get("a"), Some("1"));
    assert_eq!(params.get("b"), Some("café au"));
    assert_eq!((params.get("empty"), params.get_even_empty("empty")), (None, Some("")));
    assert_eq!(
        (params.flag("flag").ok(), params.flag("none").ok(), params.flag("b").ok()),
        (Some(true), Some(false), None)
    );
    assert!(params.only(&["a", "b", "empty", "flag"]).is_ok());
    assert!(params.only(&["a", "b"]).is_err());
    let twice = Params::parse("a=1&b=2&a=3").only(&["a", "b"]);
    assert!(matches!(twice, Err(ApiError::BadQuery(detail)) if detail == "a stands twice: give one value"));
}

#[test]
fn holds_the_limits_of_counts() {
    for (text, expect) in [
        ("", Some(7)),
        ("n=1", Some(1)),
        ("n=10", Some(10)),
        ("n=0", None),
        ("n=11", None),
        ("n=x", None),
        ("n=-1", None),
    ] {
        assert_eq!(Params::parse(text).count("n", 7, 10).ok(), expect, "{text}");
    }
}

#[test]
fn times_beyond_every_event_are_the_last_of_them() {
    let at = |text: &str| Params::parse(text).time("to", Timestamp(0)).ok().flatten();
    assert_eq!(at("to=now%2B15250284452w"), Some(Timestamp(TIME_MAX_MS)));
    assert_eq!(at("to=now-15250284452w"), Some(Timestamp(TIME_MIN_MS)));
    assert_eq!(at("to=1"), Some(Timestamp(1_000)));
}
