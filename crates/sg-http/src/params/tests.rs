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
fn one_of_two_names_is_taken() {
    let params = Params::parse("a=1&b=2&empty=");
    for (name, other, expect) in [
        ("a", None, Ok(Some("1"))),
        ("a", Some("none"), Ok(Some("1"))),
        ("none", Some("b"), Ok(Some("2"))),
        ("empty", Some("b"), Ok(Some("2"))),
        ("none", Some("empty"), Ok(None)),
        ("none", None, Ok(None)),
        ("a", Some("b"), Err("b is a here: give one of them")),
    ] {
        let taken = params.either(name, other).map_err(|error| match error {
            ApiError::BadQuery(detail) => detail,
            other => format!("{other:?}"),
        });
        assert_eq!(taken, expect.map_err(str::to_owned), "{name} {other:?}");
    }
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
