//! What is left of declarations.

use sg_core::time::Timestamp;

use super::Declaration;
use crate::frame::{HEADER_BYTES, Header, Kind};
use crate::head::{Streams, encode_name};
use crate::log::Reached;

const SEGMENT: u64 = 3;
const STREAM: u32 = 1;

fn header(kind: Kind, (base_offset, count): (u64, u32)) -> Header {
    Header {
        kind,
        is_lossy: false,
        has_replays: false,
        segment: SEGMENT,
        group: 5,
        group_start: 0,
        stream: STREAM,
        count,
        base_offset,
        appended_at: Timestamp(1),
        payload_bytes: 0,
        payload_checksum: 0,
    }
}

/// A stream's declaration, its head damaged, and frames with so many records from so many offsets on.
fn segment(name: &str, frames: &[(u64, u32)]) -> Vec<u8> {
    let mut bytes = header(Kind::Stream, (0, 0)).frame(0, &encode_name(name));
    bytes[12..32].fill(0x55);
    for records in frames {
        let position = bytes.len() as u64;
        bytes.extend(header(Kind::Events, *records).frame(position, &[7; 40]));
    }
    bytes
}

fn name_left(bytes: &[u8]) -> Option<(u32, &str)> {
    let declaration = Declaration::at((bytes, SEGMENT), 0)?;
    Some((declaration.stream, declaration.name_left()?))
}

#[test]
fn the_first_records_of_a_stream_tell_its_number() {
    assert_eq!(name_left(&segment("left", &[(0, 4)])), Some((STREAM, "left")));
    assert_eq!(name_left(&segment("left", &[(4, 4)])), None, "these are not its first");
    assert_eq!(name_left(&segment("left", &[])), None, "nothing stands behind it");
    let mut wrong = segment("left", &[(0, 4)]);
    *wrong.last_mut().expect("there are bytes") ^= 1;
    assert_eq!(name_left(&wrong), None, "the records themselves are damaged");
}

#[test]
fn a_name_that_is_damaged_is_not_read() {
    for byte in HEADER_BYTES..HEADER_BYTES + 8 {
        let mut bytes = segment("left", &[(0, 4)]);
        bytes[byte] ^= 1;
        assert_eq!(name_left(&bytes), None, "byte {byte}");
    }
}

#[test]
fn only_one_stream_may_be_left() {
    let mut known = Streams::default();
    assert!(known.declare(0, "right", 7));
    let bytes = segment("left", &[(0, 4), (4, 4)]);
    let check = |all: &[(&str, u64)], expected: Option<&str>| {
        let reached: Vec<Reached> = all
            .iter()
            .map(|(stream, offset)| Reached {
                log_identity: String::new(),
                stream: (*stream).to_owned(),
                offset: *offset,
            })
            .collect();
        let declaration = Declaration::at((&bytes, SEGMENT), 0).expect("a declaration stood there");
        assert_eq!(declaration.eliminate(&known, &reached), expected, "{all:?}");
    };
    check(&[], None);
    check(&[("left", 0)], Some("left"));
    check(&[("right", 0), ("left", 8)], Some("left"));
    check(&[("left", 9)], None);
    check(&[("left", 0), ("test", 0)], None);
    check(&[("left", 0), ("test", 9), ("longer", 3)], Some("left"));
}
