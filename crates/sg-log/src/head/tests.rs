//! Streams, their numbers, and the first frame of a segment.

use super::{Streams, decode_head, decode_name, encode_head, encode_name};

fn streams() -> Streams {
    let mut streams = Streams::default();
    assert!(streams.declare(0, "events", 7));
    assert!(streams.declare(1, "käse", u64::MAX));
    // Number 2 was lost with damaged bytes.
    assert!(streams.declare(3, "pageviews", 0));
    streams
}

#[test]
fn heads_come_back() {
    let given = streams();
    let mut payload = encode_head(u64::from(u32::MAX) * 3, &given);
    payload.resize(payload.len() + 13, 0);
    let head = decode_head(&payload).expect("the head is whole");
    assert_eq!(head.end_before, u64::from(u32::MAX) * 3);
    assert_eq!(head.streams.list(), given.list());
    assert_eq!(head.streams.number("pageviews"), Some(3));
    assert!(head.streams.get(2).is_none());
}

#[test]
fn cut_heads_make_no_sense_and_no_panic() {
    let payload = encode_head(1, &streams());
    for end in 0..payload.len() {
        assert!(decode_head(&payload[..end]).is_none(), "cut at {end}");
    }
    let name = encode_name("events");
    for end in 0..name.len() {
        assert_eq!(decode_name(&name[..end]), None, "cut at {end}");
    }
    assert_eq!(decode_name(&name), Some("events"));
}

#[test]
fn a_number_stands_for_one_name() {
    let mut streams = streams();
    assert!(!streams.declare(0, "other", 0), "the number is taken");
    assert!(!streams.declare(9, "events", 0), "the name is taken");
    assert!(!streams.declare(4, "", 0), "a stream has a name");
    assert!(!streams.declare(u32::MAX, "far", 0), "numbers are given one by one");
    assert!(streams.declare(2, "found", 0), "the number is free");
}

#[test]
fn restoring_forgets_what_came_later() {
    let mut streams = streams();
    let mut nexts = Vec::new();
    streams.save(&mut nexts);
    streams.advance(0, 99);
    assert!(streams.declare(4, "later", 5));
    streams.restore(&nexts);
    assert_eq!(streams.list(), self::streams().list());
    assert_eq!(streams.number("later"), None);
    assert_eq!(streams.count(), 4);
}
