//! At least the last N ids are remembered, and not for ever.

use super::*;

fn id(number: usize) -> IdHash {
    IdHash::of(&number.to_string())
}

#[test]
fn the_last_ids_are_remembered() {
    const IDS: usize = 1_000;
    let mut ids = RecentIds::new(IDS);
    for number in 0..10 * IDS {
        assert!(ids.insert(id(number)), "{number} is new");
        let oldest = number.saturating_sub(IDS - 1);
        assert!(!ids.insert(id(oldest)), "{oldest} is remembered at {number}");
    }
}

#[test]
fn old_ids_are_forgotten() {
    let mut ids = RecentIds::new(100);
    for number in 0..300 {
        ids.insert(id(number));
    }
    assert!(ids.insert(id(0)));
}
