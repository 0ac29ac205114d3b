//! The one text of librdkafka's events that is read.

use super::end_in;

#[test]
fn the_end_is_read_from_the_reason() {
    let check = |reason: &str, expect: Option<u64>| assert_eq!(end_in(reason), expect, "{reason}");
    check("Fetch from broker 1 reached end of partition at offset 42 (HighwaterMark 44)", Some(42));
    check("Fetch from broker 1 reached end of partition at offset 0 (HighwaterMark 0)", Some(0));
    check("Fetch from broker 1 reached end of partition at offset -1 (HighwaterMark 0)", None);
    check("Fetch from broker 1 reached end of partition", None);
    check("", None);
}
