//! Where streams go on.

use super::Doubts;
use crate::frame::{HEADER_BYTES, Header, Kind};
use crate::head::Streams;
use crate::log::Reached;
use sg_core::time::Timestamp;

const SEGMENT: u64 = 3;
/// Bytes of a lost range that may have held exactly so many records.
const FIVE_RECORDS: usize = HEADER_BYTES + 50;

fn streams() -> Streams {
    let mut streams = Streams::default();
    assert!(streams.declare(0, "left", 100));
    assert!(streams.declare(1, "right", 7));
    streams
}

fn frame(group: u64, stream: u32, (base_offset, count): (u64, u32), position: u64) -> Vec<u8> {
    let header = Header {
        kind: Kind::Events,
        is_lossy: false,
        has_replays: false,
        segment: SEGMENT,
        group,
        group_start: position,
        stream,
        count,
        base_offset,
        appended_at: Timestamp(1),
        payload_bytes: 0,
        payload_checksum: 0,
    };
    header.frame(position, &[0x33; 80])
}

fn nexts(doubts: &Doubts) -> [u64; 2] {
    let behind = doubts.behind(&streams(), &[]);
    [behind.list()[0].next, behind.list()[1].next]
}

fn lost(bytes: &[u8]) -> Doubts {
    let mut doubts = Doubts::default();
    doubts.lose((bytes, SEGMENT), (0, bytes.len() as u64), 5);
    doubts
}

#[test]
fn bytes_of_nobody_may_be_anybodys() {
    assert_eq!(nexts(&Doubts::default()), [100, 7]);
    assert_eq!(nexts(&lost(&[0; FIVE_RECORDS])), [105, 12]);
    assert_eq!(nexts(&lost(&[0; HEADER_BYTES + 9])), [100, 7], "no record is so short");
}

#[test]
fn heads_tell_whose_records_were_lost() {
    let told = frame(5, 1, (7, 20), 0);
    assert_eq!(nexts(&lost(&told)), [100, 27]);
    let mut both = told.clone();
    both.extend([0; FIVE_RECORDS]);
    assert_eq!(nexts(&lost(&both)), [105, 32], "bytes behind it may be of the same stream");
    let mut behind = vec![0; FIVE_RECORDS.next_multiple_of(8)];
    behind.extend(frame(5, 1, (7, 20), behind.len() as u64));
    assert_eq!(nexts(&lost(&behind)), [105, 27], "it tells what stood before it");
    assert_eq!(nexts(&lost(&frame(4, 1, (7, 20), 0))), [108, 15], "an older attempt tells nothing");
}

#[test]
fn later_frames_tell_of_their_stream() {
    let mut doubts = lost(&[0; FIVE_RECORDS]);
    doubts.tell(1, 7);
    assert_eq!(nexts(&doubts), [105, 7]);
}

#[test]
fn what_was_reached_is_never_given_again() {
    let reached =
        |stream: &str, offset| Reached { log_identity: String::new(), stream: stream.to_owned(), offset };
    let all = [reached("left", 90), reached("right", 70), reached("gone", 5), reached("empty", 0)];
    let behind = lost(&[0; FIVE_RECORDS]).behind(&streams(), &all);
    let nexts: Vec<(&str, u64)> = behind.list().iter().map(|stream| (&*stream.name, stream.next)).collect();
    assert_eq!(nexts, [("left", 105), ("right", 70), ("gone", 5)]);
}

#[test]
fn what_frames_tell_of_a_nameless_stream_is_skipped_by_those_it_may_be() {
    let check = |told: &[(u32, u64)], all: &[(&str, u64)], expected: &[(&str, u64)]| {
        let mut doubts = Doubts::default();
        told.iter().for_each(|(number, next)| doubts.tell(*number, *next));
        let reached: Vec<Reached> = all
            .iter()
            .map(|(stream, offset)| Reached {
                log_identity: String::new(),
                stream: (*stream).to_owned(),
                offset: *offset,
            })
            .collect();
        let behind = doubts.behind(&streams(), &reached);
        let absent = behind.list()[2..].iter().filter(|stream| !stream.name.is_empty());
        let nexts: Vec<(&str, u64)> = absent.map(|stream| (&*stream.name, stream.next)).collect();
        assert_eq!(nexts, expected, "{told:?} {all:?}");
        for (number, _) in told.iter().filter(|(number, _)| *number > 1) {
            assert!(behind.get(*number).is_none(), "its number is not given again");
        }
    };
    check(&[(2, 30)], &[], &[]);
    check(&[(1, 7)], &[("gone", 0)], &[]);
    check(&[(2, 30)], &[("right", 3), ("gone", 0)], &[("gone", 30)]);
    check(&[(2, 30)], &[("gone", 40)], &[("gone", 40)]);
    check(&[(2, 30)], &[("gone", 0), ("other", 0)], &[("gone", 30), ("other", 30)]);
    // The one that was read has been named once; the other one need not have been.
    check(&[(2, 30)], &[("gone", 5), ("other", 0)], &[("gone", 30)]);
    check(&[(2, 30), (4, 20)], &[("gone", 5), ("other", 0)], &[("gone", 30), ("other", 30)]);
}
