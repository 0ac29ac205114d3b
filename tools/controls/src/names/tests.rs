//! One name has one number, whatever else is seen.

use super::*;

#[test]
fn numbers_and_names_go_both_ways() {
    let mut names = Names::default();
    for round in 0..2 {
        for number in 0..5_000 {
            assert_eq!(names.number(&format!("name {number}")), number, "round {round}");
        }
    }
    assert_eq!(names.name(4_321), "name 4321");
}
