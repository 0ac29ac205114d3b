//! The header's codec: round trips, every kind of damage, and bytes of the released format.

use proptest::prelude::*;
use sg_core::time::Timestamp;

use sg_core::limits::{TIME_MAX_MS, TIME_MIN_MS};

use super::{Decided, Unreadable, decode, encode};

const RELEASED: &str = "1\t1735689700000\t1735689600000\t00ab00000000cd01\t9\tpage_viewev-1";

const RELEASED_REPLAY: &str = "2\t3.41\t1735689700000\t1735689600000\t00ab00000000cd01\t9\tpage_viewev-1";

fn decided<'a>(event_time: Option<i64>, kind: &'a str, id: &'a str) -> Decided<'a> {
    Decided {
        replay_of: None,
        received_at: Timestamp(1_735_689_700_000),
        event_time: event_time.map(Timestamp),
        key_hash: 0x00ab_0000_0000_cd01,
        kind,
        id,
    }
}

#[test]
fn the_released_format_is_written_and_read() {
    let event = decided(Some(1_735_689_600_000), "page_view", "ev-1");
    let mut out = String::from("what was there before");
    encode(&event, &mut out);
    assert_eq!(out, RELEASED);
    assert_eq!(decode(RELEASED.as_bytes()), Ok(event));
}

#[test]
fn a_replay_names_its_letter() {
    let event = Decided { replay_of: Some((3, 41)), ..decided(Some(1_735_689_600_000), "page_view", "ev-1") };
    let mut out = String::new();
    encode(&event, &mut out);
    assert_eq!(out, RELEASED_REPLAY);
    assert_eq!(decode(RELEASED_REPLAY.as_bytes()), Ok(event));
}

#[test]
fn what_is_not_a_header_is_named() {
    let check = |value: &[u8], expect: Unreadable| assert_eq!(decode(value), Err(expect));
    check(b"", Unreadable::Malformed("fields are missing"));
    check(b"1", Unreadable::Malformed("fields are missing"));
    check(b"3\tanything", Unreadable::Version("3".into()));
    check(b"2\tanything", Unreadable::Malformed("fields are missing"));
    check(b"2\t7\t1\t2\t00ab00000000cd01\t0\t", Unreadable::Malformed("the letter's place is none"));
    check(b"2\t-1.7\t1\t2\t00ab00000000cd01\t0\t", Unreadable::Malformed("the letter's place is none"));
    check(b"1\t1\t2\t00ab00000000cd01", Unreadable::Malformed("fields are missing"));
    check(b"1\tx\t2\t00ab00000000cd01\t0\t", Unreadable::Malformed("a time is no number"));
    check(b"1\t1\tx\t00ab00000000cd01\t0\t", Unreadable::Malformed("a time is no number"));
    check(
        b"1\t-9223372036854775808\t2\t00ab00000000cd01\t0\t",
        Unreadable::Malformed("a time is out of range"),
    );
    check(
        b"1\t1\t9223372036854775807\t00ab00000000cd01\t0\t",
        Unreadable::Malformed("a time is out of range"),
    );
    check(b"x\t1\t2\t00ab00000000cd01\t0\t", Unreadable::Malformed("the version is no number"));
    check(b"1\t1\t2\tab\t0\t", Unreadable::Malformed("the key hash has not 16 digits"));
    check(b"1\t1\t2\t00ab00000000cd0x\t0\t", Unreadable::Malformed("the key hash is not hexadecimal"));
    check(b"1\t1\t2\t00ab00000000cd01\t-1\tx", Unreadable::Malformed("the type's length is no number"));
    check(b"1\t1\t2\t00ab00000000cd01\t3\txy", Unreadable::Malformed("the type is cut off"));
    check("1\t1\t2\t00ab00000000cd01\t1\tä".as_bytes(), Unreadable::Malformed("the type is cut off"));
    check(b"1\t1\t2\t00ab00000000cd01\t0\t\xff", Unreadable::Malformed("it is not UTF-8"));
}

proptest! {
    #[test]
    fn headers_come_back(
        received_at in TIME_MIN_MS..=TIME_MAX_MS,
        event_time in proptest::option::of(TIME_MIN_MS..=TIME_MAX_MS),
        key_hash in proptest::num::u64::ANY,
        kind in "(?s).{0,40}",
        id in "(?s).{0,40}",
        replay_of: Option<(u32, u64)>,
    ) {
        let event = Decided {
            replay_of,
            received_at: Timestamp(received_at),
            event_time: event_time.map(Timestamp),
            key_hash,
            kind: &kind,
            id: &id,
        };
        let mut out = String::new();
        encode(&event, &mut out);
        prop_assert_eq!(decode(out.as_bytes()), Ok(event));
    }

    #[test]
    fn no_bytes_break_the_reader(bytes: Vec<u8>) {
        drop(decode(&bytes).map(|decided| decided.key_hash));
    }
}
