//! A row has the bytes that Postgres's page describes.

use super::*;

#[test]
fn a_row_is_nine_fields_with_their_lengths() {
    let mut buffer = Vec::new();
    write(&mut buffer, &mut Random(7), 42, EPOCH_US + 6_000_000);
    let (columns, mut rest) = buffer.split_at(2);
    assert_eq!(columns, 9_i16.to_be_bytes());
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().expect("a field begins with its length");
        let (field, behind) = behind.split_at(i32::from_be_bytes(*length) as usize);
        fields.push(field);
        rest = behind;
    }
    assert_eq!(fields.len(), 9);
    assert_eq!(fields[0], 42_i64.to_be_bytes());
    assert_eq!(fields[1].len(), ID_BYTES);
    assert!(fields[2].starts_with(b"user-") && fields[3].starts_with(b"session-"));
    assert_eq!(fields[5][0], JSONB_VERSION);
    serde_json::from_slice::<serde_json::Value>(&fields[5][1..]).expect("it is JSON");
    let times = [1_000_000_i64, 5_999_000, 6_000_000].map(i64::to_be_bytes);
    assert_eq!(fields[6..], times.each_ref().map(|time| &time[..]));
}

#[test]
fn the_header_has_a_signature_and_two_empty_words() {
    assert_eq!(HEADER.len(), 11 + 4 + 4);
}
