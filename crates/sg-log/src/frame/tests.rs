//! Heads of frames: what is written is read, and nothing else is.

use sg_core::time::Timestamp;

use super::{Flaw, HEADER_BYTES, Header, Kind};

fn header() -> Header {
    Header {
        kind: Kind::Events,
        is_lossy: false,
        has_replays: false,
        segment: u64::from(u32::MAX) + 7,
        group: u64::MAX,
        group_start: 1 << 40,
        stream: u32::MAX,
        count: 20_000,
        base_offset: u64::MAX - 1,
        appended_at: Timestamp(i64::MIN),
        payload_bytes: 0,
        payload_checksum: 0,
    }
}

#[test]
fn frames_come_back() {
    for kind in [Kind::Head, Kind::Stream, Kind::Events, Kind::Mark, Kind::Gap] {
        for is_lossy in [false, true] {
            for payload in [&b""[..], b"1", b"12345678", b"123456789"] {
                let given = Header { kind, is_lossy, ..header() };
                let frame = given.frame(1 << 33, payload);
                assert_eq!(frame.len() % 8, 0);
                let read = Header::read_frame(&frame, given.segment, 1 << 33).expect("the frame is whole");
                assert_eq!(read.frame_bytes(), frame.len() as u64);
                let given = Header {
                    payload_bytes: read.payload_bytes,
                    payload_checksum: read.payload_checksum,
                    ..given
                };
                assert_eq!(read, given);
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let frame = header().frame(8, b"some payload");
    for at in 0..frame.len() {
        for bit in 0..8 {
            let mut damaged = frame.clone();
            damaged[at] ^= 1 << bit;
            assert!(Header::read_frame(&damaged, header().segment, 8).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn flaws_are_named() {
    let frame = header().frame(8, b"some payload");
    let check = |bytes: &[u8], segment: u64, position: u64, flaw: Flaw| {
        assert_eq!(Header::read_frame(bytes, segment, position), Err(flaw));
        assert!(!flaw.to_string().is_empty());
    };
    let segment = header().segment;
    check(&frame[..HEADER_BYTES - 1], segment, 8, Flaw::Short);
    check(&frame[..frame.len() - 1], segment, 8, Flaw::Short);
    check(&[0; 100], segment, 8, Flaw::NoFrame);
    check(&frame, segment + 1, 8, Flaw::OtherSegment);
    check(&frame, segment, 16, Flaw::Head);
    let mut damaged = frame.clone();
    damaged[HEADER_BYTES] ^= 1;
    check(&damaged, segment, 8, Flaw::Payload);
    let mut newer = frame;
    newer[4] = 3;
    let checksum = super::head_checksum(&newer[..super::CHECKSUM_AT], 8);
    newer[super::CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    check(&newer, segment, 8, Flaw::Version(3));
}
