//! Cases of the watermark, one line each.

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn busy(m: i64) -> PartitionState {
    PartitionState { m: Timestamp(m), is_idle: false, said_at: NOW }
}

fn idle(m: i64, said_ago_ms: i64) -> PartitionState {
    PartitionState { m: Timestamp(m), is_idle: true, said_at: Timestamp(NOW.0 - said_ago_ms) }
}

fn check(stored: i64, partitions: &[PartitionState], expect: i64) {
    let watermark = advance(Timestamp(stored), partitions, NOW, Timestamp(970_000));
    assert_eq!(watermark, Timestamp(expect), "{partitions:?}");
}

#[test]
fn follows_the_slowest_busy_partition() {
    check(i64::MIN, &[busy(500)], 500);
    check(i64::MIN, &[busy(500), busy(400)], 400);
    check(450, &[busy(500), busy(400)], 450);
    check(i64::MIN, &[busy(500), busy(i64::MIN)], i64::MIN);
    check(i64::MIN, &[busy(500), idle(400, 0)], 500);
    check(i64::MIN, &[busy(500), idle(i64::MIN, 0)], 500);
}

#[test]
fn believes_a_partition_to_be_idle_for_fifteen_seconds() {
    check(i64::MIN, &[busy(500), idle(400, 14_999)], 500);
    check(i64::MIN, &[busy(500), idle(400, 15_000)], 500);
    check(i64::MIN, &[busy(500), idle(400, 15_001)], 400);
}

#[test]
fn follows_the_clock_when_all_partitions_are_idle() {
    check(i64::MIN, &[idle(400, 0), idle(300, 0)], 970_000);
    check(990_000, &[idle(400, 0)], 990_000);
    check(400, &[], 400);
}

#[test]
fn closes_behind_the_grace_and_never_opens_again() {
    assert_eq!(closed_to(Timestamp::NEVER, Timestamp::NEVER, 30), Timestamp::NEVER);
    assert_eq!(closed_to(Timestamp::NEVER, Timestamp(100), 30), Timestamp(70));
    assert_eq!(closed_to(Timestamp(90), Timestamp(100), 30), Timestamp(90));
}
