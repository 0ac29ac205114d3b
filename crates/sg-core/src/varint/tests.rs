//! Numbers come back, take the bytes they should, and what is no number is none.

use proptest::prelude::*;

use super::{push, push_time, take, take_time, unzigzag, zigzag};
use crate::time::Timestamp;

#[test]
fn numbers_take_as_many_bytes_as_they_need() {
    let cases: [(u64, &[u8]); 5] =
        [(0, &[0]), (127, &[127]), (128, &[128, 1]), (300, &[172, 2]), (1 << 21, &[128, 128, 128, 1])];
    for (number, bytes) in cases {
        let mut out = Vec::new();
        push(&mut out, number);
        assert_eq!(out, bytes, "{number}");
    }
}

#[test]
fn what_does_not_end_is_no_number() {
    for bytes in [&[][..], &[0x80], &[0xff; 10]] {
        assert_eq!(take(&mut &*bytes), None, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn numbers_come_back(numbers: Vec<u64>) {
        let mut out = Vec::new();
        for number in &numbers {
            push(&mut out, *number);
        }
        let mut rest = &out[..];
        for number in numbers {
            prop_assert_eq!(take(&mut rest), Some(number));
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn times_come_back(times: Vec<i64>) {
        let (mut out, mut before) = (Vec::new(), 0);
        for time in &times {
            push_time(&mut out, Timestamp(*time), &mut before);
        }
        let (mut rest, mut before_again) = (&out[..], 0);
        for time in times {
            prop_assert_eq!(take_time(&mut rest, &mut before_again), Some(Timestamp(time)));
        }
    }

    #[test]
    fn signs_come_back(number: i64) {
        prop_assert_eq!(unzigzag(zigzag(number)), number);
        prop_assert!(number.unsigned_abs() > 63 || zigzag(number) < 128);
    }
}
