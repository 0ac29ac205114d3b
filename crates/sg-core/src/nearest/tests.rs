//! What is like enough to be meant.

use super::*;

#[test]
fn the_nearest_name_is_asked_for_or_all_are_told() {
    let known = ["events", "pageviews", "stream.events"];
    for (name, expect) in [
        ("event", "; did you mean events?"),
        ("pageveiws", "; did you mean pageviews?"),
        ("stream_events", "; did you mean stream.events?"),
        ("clicks", "; there are events, pageviews, stream.events"),
        ("", "; there are events, pageviews, stream.events"),
    ] {
        assert_eq!(hint(name, known.into_iter()), expect, "{name}");
    }
    assert_eq!(hint("a", std::iter::empty()), "; there are none");
}
