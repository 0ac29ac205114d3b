//! What is said of what was brought.

use sg_core::flush::Ledger;

use super::*;

#[test]
fn all_of_the_ledger_is_told() {
    let ledger = Ledger {
        processed: 28,
        counted: 4,
        duplicate: 5,
        id_conflict: 2,
        dead_lettered: 6,
        deleted: 13,
        skipped: 17,
    };
    let carried = Carried { stream: "s".to_owned(), ledger, ..Carried::default() };
    let done = Done { streams: vec![carried], left_behind: Vec::new() };
    let line = "  ledger: processed 28 = counted 4 + duplicate 5 + dead-lettered 6 + deleted 13, skipped 17";
    assert!(done.text().lines().any(|told| told == line), "{}", done.text());
    let json: serde_json::Value = serde_json::from_str(&done.json()).expect("it is JSON");
    let expected = serde_json::json!({"processed": 28, "counted": 4, "duplicate": 5, "id_conflict": 2,
        "dead_lettered": 6, "deleted": 13, "skipped": 17});
    assert_eq!(json["streams"][0]["ledger"], expected);
}
