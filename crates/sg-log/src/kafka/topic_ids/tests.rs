//! Lines of librdkafka's log, and what they say of a topic.

use super::{TopicIds, ZERO};

fn line(topic: &str, from: &str, to: &str) -> String {
    format!("[thrd:main]: Topic {topic} changed id from {from} to {to}")
}

#[test]
fn the_first_id_is_learned_and_another_is_noticed() {
    let ids = TopicIds::default();
    assert_eq!(ids.id("events"), None);
    assert_eq!(ids.note("METADATA", &line("events", ZERO, "first")), None);
    assert_eq!(ids.id("events").as_deref(), Some("first"));
    assert_eq!(ids.made_again("events"), None);
    // The client forgot the topic and learned it again.
    assert_eq!(ids.note("METADATA", &line("events", ZERO, "first")), None);
    assert_eq!(ids.note("METADATA", &line("events", "first", "second")).as_deref(), Some("events"));
    assert_eq!(ids.made_again("events"), Some(("first".to_owned(), "second".to_owned())));
    assert_eq!(ids.id("events").as_deref(), Some("first"), "the first stays what readers mean");
    assert_eq!(ids.made_again("others"), None);
}

#[test]
fn a_topic_that_was_forgotten_meanwhile_is_noticed_too() {
    let ids = TopicIds::default();
    ids.note("METADATA", &line("events", ZERO, "first"));
    assert_eq!(ids.note("METADATA", &line("events", ZERO, "second")).as_deref(), Some("events"));
}

#[test]
fn other_lines_say_nothing() {
    let ids = TopicIds::default();
    for text in ["", "Topic ", "Topic events [0] Leader 1 Epoch 0", "Topic events changed id from x"] {
        assert_eq!(ids.note("METADATA", text), None, "{text}");
    }
    assert_eq!(ids.note("FETCH", &line("events", ZERO, "first")), None);
    assert_eq!(ids.id("events"), None);
}
