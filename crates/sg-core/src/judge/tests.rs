//! The judge against a plain list of records.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn window(records: u64, horizon_ms: u64) -> Dedup {
    Dedup { records, horizon: Duration::from_millis(horizon_ms) }
}

/// What the judge says of records given as (id, A), by looking through all earlier ones.
fn brute_force(records: &[(u32, i64)], window: Dedup) -> Vec<bool> {
    let mut running = i64::MIN;
    let r: Vec<i64> = records
        .iter()
        .map(|(_, a)| {
            running = running.max(*a);
            running
        })
        .collect();
    (0..records.len())
        .map(|at| {
            (0..at).any(|before| {
                records[before].0 == records[at].0
                    && (at - before) as u64 <= window.records
                    && r[at].saturating_sub(r[before]) <= millis(window.horizon)
            })
        })
        .collect()
}

fn run(judge: &mut Judge, records: &[(u32, i64)], first: usize, r: &mut Timestamp) -> Vec<bool> {
    let mut verdicts = Vec::new();
    for (index, (id, a)) in records.iter().enumerate() {
        let offset = (first + index) as u64;
        *r = (*r).max(Timestamp(*a));
        judge.advance(offset, *r);
        let fingerprint = judge.fingerprint(7, &id.to_le_bytes());
        judge.touch(&[fingerprint]);
        verdicts.push(judge.judge(fingerprint, 0, offset) != Verdict::New);
    }
    verdicts
}

proptest! {
    #[test]
    fn agrees_with_brute_force_live_and_rebuilt(
        records in prop::collection::vec((0u32..40, 0i64..200), 0..300),
        records_max in 1u64..60, horizon in 0u64..300, crash_at in 0usize..300,
    ) {
        let window = window(records_max, horizon);
        let expect = brute_force(&records, window);
        let mut r = Timestamp::NEVER;
        let mut judge = Judge::new(window, 1, 0, r);
        let crash_at = crash_at.min(records.len());
        let mut verdicts = run(&mut judge, &records[..crash_at], 0, &mut r);
        // The process dies; another one reads the window again, with another secret.
        let (from, mut r_again) = judge.from();
        let mut rebuilt = Judge::new(window, 2, from, r_again);
        run(&mut rebuilt, &records[from as usize..crash_at], from as usize, &mut r_again);
        prop_assert_eq!(rebuilt.from(), judge.from());
        verdicts.extend(run(&mut rebuilt, &records[crash_at..], crash_at, &mut r));
        prop_assert_eq!(verdicts, expect);
    }
}

#[test]
fn holds_both_edges_of_the_window() {
    for (window, gap, r_gap, expect) in [
        (window(3, 1_000), 3, 0, true),
        (window(3, 1_000), 4, 0, false),
        (window(100, 1_000), 1, 1_000, true),
        (window(100, 1_000), 1, 1_001, false),
    ] {
        let mut records = vec![(1, 0)];
        records.extend((1..gap).map(|filler| (100 + filler, 0)));
        records.push((1, r_gap));
        let verdicts =
            run(&mut Judge::new(window, 0, 0, Timestamp::NEVER), &records, 0, &mut Timestamp::NEVER.clone());
        assert_eq!(verdicts.last(), Some(&expect), "{window:?} {gap} {r_gap}");
    }
}

#[test]
fn a_duplicate_carries_the_window_on() {
    let mut r = Timestamp::NEVER;
    let records = [(1, 0), (2, 0), (1, 0), (3, 0), (1, 0)];
    assert_eq!(
        run(&mut Judge::new(window(2, 1_000), 0, 0, r), &records, 0, &mut r),
        [false, false, true, false, true]
    );
}

#[test]
fn a_quiet_partition_pins_nothing() {
    let mut r = Timestamp::NEVER;
    let mut judge = Judge::new(window(100, 1_000), 0, 0, r);
    run(&mut judge, &[(1, 0), (2, 500)], 0, &mut r);
    judge.pass_time(2, Timestamp(1_400));
    assert_eq!(judge.from(), (1, Timestamp(500)));
    judge.pass_time(2, Timestamp(1_501));
    assert_eq!(judge.from(), (2, Timestamp(1_501)));
    assert_eq!(run(&mut judge, &[(2, 1_501)], 2, &mut r), [false]);
}

#[test]
fn tells_different_content_and_keys() {
    let mut judge = Judge::new(window(100, 1_000), 0, 0, Timestamp(0));
    let one = judge.fingerprint(1, b"id");
    assert_eq!(judge.judge(one, 5, 0), Verdict::New);
    assert_eq!(judge.judge(one, 5, 1), Verdict::Duplicate { conflict: false });
    assert_eq!(judge.judge(one, 6, 2), Verdict::Duplicate { conflict: true });
    assert_eq!(judge.judge(one, 6, 3), Verdict::Duplicate { conflict: false });
    assert_eq!(judge.judge(judge.fingerprint(2, b"id"), 5, 4), Verdict::New);
}

#[test]
fn offsets_beyond_32_bits_are_relative() {
    let far = u64::from(u32::MAX) * 3;
    let mut judge = Judge::new(window(10, 1_000), 0, 0, Timestamp(0));
    let one = judge.fingerprint(1, b"id");
    for offset in [far, far + 10, far + 21] {
        judge.advance(offset, Timestamp(0));
        let expect = if offset == far + 10 { Verdict::Duplicate { conflict: false } } else { Verdict::New };
        assert_eq!(judge.judge(one, 0, offset), expect, "{offset}");
    }
}
