//! What the brokers' answers become.

use rdkafka::error::RDKafkaErrorCode;
use sg_core::ports::{Appended, ErrorKind};

use super::Outcome;

#[test]
fn answers_in_any_order_become_ranges_by_partition() {
    let mut outcome = Outcome::default();
    for (partition, offset) in [(2, 7), (0, 3), (2, 5), (0, 4), (2, 6)] {
        assert_eq!(outcome.place(partition, offset), Some(()));
    }
    let appended = outcome.into_result("events").expect("nothing failed");
    let expected = [
        Appended { partition: 0, first_offset: 3, next_offset: 5 },
        Appended { partition: 2, first_offset: 5, next_offset: 8 },
    ];
    assert_eq!(appended, expected);
}

#[test]
fn an_answer_without_offset_is_no_place() {
    assert_eq!(Outcome::default().place(0, -1001), None);
}

#[test]
fn one_failure_fails_the_batch() {
    let check = |code: RDKafkaErrorCode, kind: ErrorKind| {
        let outcome = Outcome { failures: 1, failure: Some(code), ..Outcome::default() };
        let failed = outcome.into_result("events").err().map(|error| error.kind);
        assert_eq!(failed, Some(kind), "{code:?}");
    };
    check(RDKafkaErrorCode::MessageTimedOut, ErrorKind::Retry);
    check(RDKafkaErrorCode::PurgeInflight, ErrorKind::Retry);
    check(RDKafkaErrorCode::UnknownTopic, ErrorKind::Retry);
    check(RDKafkaErrorCode::MessageSizeTooLarge, ErrorKind::Invalid);
}
