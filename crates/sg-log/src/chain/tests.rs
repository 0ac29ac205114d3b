//! Which frame may follow which.

use sg_core::time::Timestamp;

use super::{Behind, Chain, look_behind, walk};
use crate::frame::{Flaw, Header, Kind};
use crate::head::encode_name;

const SEGMENT: u64 = 9;

/// A chain in the middle of a segment: stream 0 stands at offset 50, group 20 began at position 800.
fn chain() -> Chain {
    let mut chain = Chain { group: 20, group_start: 800, newest: Timestamp(1_000), ..Chain::empty() };
    assert!(chain.streams.declare(0, "events", 50));
    chain
}

fn events() -> Header {
    Header {
        kind: Kind::Events,
        is_lossy: false,
        has_replays: false,
        segment: SEGMENT,
        group: 21,
        group_start: 1_000,
        stream: 0,
        count: 5,
        base_offset: 50,
        appended_at: Timestamp(1_000),
        payload_bytes: 0,
        payload_checksum: 0,
    }
}

/// Offers a frame at position 1,000 before and after records were lost.
fn check(header: Header, payload: &[u8], follows: [bool; 2]) {
    for (may_jump, follows) in [false, true].into_iter().zip(follows) {
        let mut chain = Chain { may_jump, ..chain() };
        let before = chain.streams.list().to_vec();
        let accepted = chain.accept(&header, 1_000, payload);
        assert_eq!(accepted, if follows { Ok(()) } else { Err(Flaw::Order) }, "{header:?} {may_jump}");
        if !follows && header.kind == Kind::Events {
            assert_eq!(chain.streams.list(), before);
        }
    }
}

#[test]
fn only_what_follows_is_taken() {
    check(events(), b"", [true, true]);
    check(Header { group: 900, ..events() }, b"", [true, true]);
    check(Header { group: 20, group_start: 800, ..events() }, b"", [true, true]);
    // An older attempt left it there.
    check(Header { group: 19, ..events() }, b"", [false, false]);
    check(Header { group: 20, ..events() }, b"", [false, true]);
    check(Header { group_start: 800, ..events() }, b"", [false, true]);
    check(Header { base_offset: 51, ..events() }, b"", [false, true]);
    check(Header { base_offset: 49, ..events() }, b"", [false, false]);
    check(Header { base_offset: u64::MAX, ..events() }, b"", [false, false]);
    check(Header { stream: 1, ..events() }, b"", [false, false]);
    check(Header { appended_at: Timestamp(999), ..events() }, b"", [false, false]);
    check(Header { kind: Kind::Head, ..events() }, b"", [false, false]);
    check(Header { kind: Kind::Mark, ..events() }, b"", [true, true]);
    let declared = Header { kind: Kind::Stream, stream: 1, base_offset: 0, ..events() };
    check(declared, &encode_name("others"), [true, true]);
    check(declared, &encode_name("events"), [false, false]);
    check(declared, b"abc", [false, false]);
    check(Header { stream: 0, ..declared }, &encode_name("others"), [false, false]);
}

#[test]
fn what_lies_behind_tells_torn_from_damaged() {
    let mark = Header { kind: Kind::Mark, ..events() };
    let frame = |position: u64, group: u64, group_start: u64| {
        Header { group, group_start, ..mark }.frame(position, b"x")
    };
    let place = |frames: &[(u64, u64, u64)]| {
        let mut bytes = vec![0; 1_000];
        for (position, group, group_start) in frames {
            let frame = frame(*position, *group, *group_start);
            bytes[*position as usize..*position as usize + frame.len()].copy_from_slice(&frame);
        }
        bytes
    };
    let check = |frames: &[(u64, u64, u64)], expected: Behind| {
        assert_eq!(look_behind(&place(frames), SEGMENT, 160), expected, "{frames:?}");
    };
    check(&[], Behind::default());
    check(&[(0, 3, 0), (80, 3, 0)], Behind::default());
    // The rest of the group whose first frame is torn.
    check(&[(240, 4, 160)], Behind { later_group_end: None, end: Some(320), group_max: 4 });
    check(&[(240, 4, 80)], Behind { later_group_end: None, end: Some(320), group_max: 4 });
    check(&[(240, 5, 240)], Behind { later_group_end: Some(320), end: Some(320), group_max: 5 });
    check(&[(240, 5, 240), (400, 2, 0)], Behind { later_group_end: Some(320), end: Some(480), group_max: 5 });
    // Not at a multiple of 8, or of another segment.
    check(&[(243, 5, 240)], Behind::default());
    let other = place(&[(240, 5, 240)]);
    assert_eq!(look_behind(&other, SEGMENT + 1, 160), Behind::default());
    let mut damaged = other;
    damaged[240 + 72] ^= 1;
    let torn = Behind { later_group_end: None, end: Some(320), group_max: 5 };
    assert_eq!(look_behind(&damaged, SEGMENT, 160), torn, "a frame with a bad payload proves nothing");
}

#[test]
fn walking_ends_at_the_first_frame_that_does_not_follow() {
    let mut bytes = vec![0; 1_000];
    for position in [1_000, 1_072] {
        let start = Header { group_start: 1_000, base_offset: 50 + (position - 1_000) / 72 * 5, ..events() };
        bytes.extend_from_slice(&start.frame(position, b""));
    }
    let mut chain = chain();
    assert_eq!(walk(&mut chain, &bytes, SEGMENT, 1_000), (1_144, Flaw::Short));
    assert_eq!(chain.streams.list()[0].next, 60);
}
