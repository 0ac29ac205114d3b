//! Every record's fate, at the edges. The law over many records is `sg-pipeline`'s confluence test.

use super::*;
use crate::batch::{Entry, content_hash, key_hash};
use crate::definition::{Condition, Dedup, Function, Measure, Rollup, Stream};
use crate::output::Outputs;
use bytes::Bytes;
use std::time::Duration;

mod again;
mod timing;

const MINUTE: i64 = 60_000;

fn plan(late: LatePolicy, grace_ms: i64) -> Arc<Plan> {
    let stream = Stream {
        name: "s".into(),
        default_type: "x".into(),
        fields: Default::default(),
        derive_id: false,
        partition_by: Vec::new(),
        require: Vec::new(),
        types: Vec::new(),
        raw_table: None,
        dedup: Dedup { records: 1_000, horizon: Duration::from_secs(86_400) },
        max_future: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(30),
        outputs: Outputs::default(),
        letters: Default::default(),
    };
    let count = Measure { name: "n".into(), function: Function::Count, filter: Condition::default() };
    let rollup = Rollup {
        name: "r".into(),
        stream: "s".into(),
        window_ms: MINUTE,
        pane_ms: MINUTE,
        grace_ms,
        late,
        keep_ms: i64::MAX,
        by: Vec::new(),
        measures: vec![count],
    };
    Arc::new(Plan::new(stream, &[rollup]))
}

fn start() -> Checkpoint {
    Checkpoint {
        epoch: 1,
        next_offset: 0,
        first_offset: 0,
        clock: PartitionClock::NEVER,
        dedup_from: (0, Timestamp::NEVER),
        dead_offsets: Vec::new(),
    }
}

/// One record: event time (if sent), received_at, A.
fn record(offset: u64, event_time: Option<i64>, received_at: i64, appended_at: i64) -> LogBatch {
    let id = format!("e{offset}");
    record_of(offset, &id, event_time, (received_at, appended_at))
}

fn record_of(
    offset: u64,
    id: &str,
    event_time: Option<i64>,
    (received_at, appended_at): (i64, i64),
) -> LogBatch {
    let raw = format!("{{\"id\":\"{id}\"}}");
    let mut batch = EventBatch::new(Arc::from("s"), Bytes::from(raw.clone()));
    let id_span = batch.push_side(id.as_bytes());
    let kind = batch.push_side(b"x");
    batch.entries.push(Entry {
        raw: Span::main(0, raw.len()),
        id: id_span,
        kind,
        key_hash: key_hash(b""),
        key: Span::NONE,
        event_time: event_time.map(Timestamp),
        received_at: Some(Timestamp(received_at)),
        content: content_hash(raw.as_bytes()),
    });
    LogBatch {
        events: Arc::new(batch),
        first_offset: offset,
        appended_at: Timestamp(appended_at),
        places: None,
    }
}

fn fold_all(plan: &Arc<Plan>, records: &[LogBatch]) -> Flush {
    let mut fold = Fold::resume(plan.clone(), (0, 1), &start(), 7);
    for record in records {
        fold.batch(record, u64::MAX);
    }
    fold.take().expect("something was folded")
}

/// Cells as (pane, events, late).
fn cells(flush: &Flush) -> Vec<(i64, u64, u64)> {
    flush.rollups[0].cells.sorted().iter().map(|cell| (cell.pane.0, cell.events, cell.late)).collect()
}

const NOW: i64 = 1_700_000_040_000;

#[test]
fn start_is_inside_and_end_is_outside_also_before_1970() {
    let plan = plan(LatePolicy::Correct, i64::MAX / 2);
    for (time, pane) in [
        (0, 0),
        (MINUTE - 1, 0),
        (MINUTE, MINUTE),
        (-1, -MINUTE),
        (-MINUTE, -MINUTE),
        (-MINUTE - 1, -2 * MINUTE),
    ] {
        assert_eq!(cells(&fold_all(&plan, &[record(0, Some(time), NOW, NOW)])), [(pane, 1, 0)], "{time}");
    }
}

#[test]
fn the_equal_case_is_late() {
    let (end, grace) = (NOW - NOW % MINUTE + MINUTE, 30_000);
    for (policy, clock, is_late) in [
        (LatePolicy::Correct, end + grace - 1, false),
        (LatePolicy::Correct, end + grace, true),
        (LatePolicy::Correct, end + grace + 1, true),
        (LatePolicy::Divert, end + grace - 1, false),
        (LatePolicy::Divert, end + grace, true),
    ] {
        let plan = plan(policy, grace);
        let later = end + 10 * MINUTE;
        let flush =
            fold_all(&plan, &[record(0, Some(clock), later, later), record(1, Some(end - 1), later, later)]);
        let old_window: Vec<_> = cells(&flush).into_iter().filter(|cell| cell.0 == end - MINUTE).collect();
        let diverted = flush.rollups[0].late.len();
        match policy {
            LatePolicy::Correct => assert_eq!(
                (old_window, diverted),
                (vec![(end - MINUTE, 1, u64::from(is_late))], 0),
                "{clock}"
            ),
            LatePolicy::Divert => assert_eq!(
                (old_window.len(), diverted),
                (usize::from(!is_late), usize::from(is_late)),
                "{clock}"
            ),
        }
        assert_eq!(flush.rollups[0].folded, 2);
    }
}

#[test]
fn an_event_can_make_itself_late_never_by_its_own_time_alone() {
    // Its own time moves the clock only to itself, which lies before its window's end.
    let flush = fold_all(
        &plan(LatePolicy::Correct, 0),
        &[record(0, Some(NOW), NOW + 10 * MINUTE, NOW + 10 * MINUTE)],
    );
    assert_eq!(cells(&flush)[0].2, 0);
}

#[test]
fn a_future_event_is_dead_and_moves_nothing() {
    let plan = plan(LatePolicy::Correct, 0);
    let limit = NOW + 300_000;
    let flush = fold_all(&plan, &[record(0, Some(limit + 1), NOW, NOW), record(1, Some(limit), NOW, NOW)]);
    assert_eq!((flush.ledger.dead_lettered, flush.ledger.counted), (1, 1));
    assert_eq!(flush.dead_letters[0].code, Code::FutureTimestamp);
    assert_eq!(flush.clock.m, Timestamp(NOW), "a clock never runs ahead of arrival");
    // A door whose clock is an hour ahead is judged by the log's time.
    let ahead = NOW + 3_600_000;
    let flush = fold_all(&plan, &[record(0, Some(ahead), ahead, NOW), record(1, Some(NOW), NOW, NOW)]);
    assert_eq!((flush.ledger.dead_lettered, cells(&flush).len(), cells(&flush)[0].2), (1, 1, 0));
}

#[test]
fn without_a_timestamp_the_earlier_arrival_counts() {
    for (received_at, appended_at) in [(NOW, NOW + MINUTE), (NOW + MINUTE, NOW)] {
        let flush = fold_all(&plan(LatePolicy::Correct, 0), &[record(0, None, received_at, appended_at)]);
        assert_eq!(cells(&flush)[0].0, NOW - NOW % MINUTE);
        assert_eq!(flush.clock, PartitionClock { m: Timestamp(NOW), r: Timestamp(appended_at) });
    }
}

#[test]
fn duplicates_move_the_clock_and_count_once() {
    let plan = plan(LatePolicy::Correct, 0);
    let records = [
        record_of(0, "a", Some(NOW), (NOW, NOW)),
        record_of(1, "a", Some(NOW + MINUTE), (NOW + MINUTE, NOW + MINUTE)),
    ];
    let flush = fold_all(&plan, &records);
    assert_eq!((flush.ledger.counted, flush.ledger.duplicate, flush.ledger.id_conflict), (1, 1, 0));
    assert_eq!(flush.clock.m, Timestamp(NOW + MINUTE));
    assert!(flush.ledger.adds_up());
}

#[test]
fn a_dead_letter_is_no_first_record() {
    let plan = plan(LatePolicy::Correct, 0);
    let future = record_of(0, "a", Some(NOW + MINUTE * 60), (NOW, NOW));
    let flush = fold_all(&plan, &[future, record_of(1, "a", Some(NOW), (NOW, NOW))]);
    assert_eq!((flush.ledger.counted, flush.ledger.dead_lettered, flush.ledger.duplicate), (1, 1, 0));
}

#[test]
fn a_process_that_restarted_judges_as_one_that_lived_through_it() {
    let plan = plan(LatePolicy::Correct, 0);
    let records = [
        record_of(0, "a", Some(NOW), (NOW, NOW)),
        record_of(1, "b", Some(NOW + MINUTE * 60), (NOW, NOW)),
        record_of(2, "a", Some(NOW), (NOW - 5, NOW + 1)),
        record_of(3, "b", Some(NOW), (NOW, NOW + 1)),
        record_of(4, "a", Some(NOW), (NOW, NOW + 2)),
    ];
    let lived = fold_all(&plan, &records).ledger;
    for crash_at in 1..records.len() {
        let mut fold = Fold::resume(plan.clone(), (0, 1), &start(), 7);
        records[..crash_at].iter().for_each(|record| fold.batch(record, u64::MAX));
        let before = fold.take().expect("folded");
        let dead: Vec<u64> = before.dead_letters.iter().map(|letter| letter.offset).collect();
        let checkpoint = Checkpoint {
            next_offset: before.end,
            clock: before.clock,
            dedup_from: before.dedup_from,
            dead_offsets: dead.clone(),
            ..start()
        };
        let mut fold = Fold::resume(plan.clone(), (0, 1), &checkpoint, 8);
        let mut r = checkpoint.dedup_from.1;
        for record in &records[..crash_at] {
            r = fold.remember(record, &dead, r);
        }
        records[crash_at..].iter().for_each(|record| fold.batch(record, u64::MAX));
        let after = fold.take().expect("folded").ledger;
        assert_eq!(before.ledger.counted + after.counted, lived.counted, "crash at {crash_at}");
        assert_eq!(before.ledger.duplicate + after.duplicate, lived.duplicate, "crash at {crash_at}");
    }
}

#[test]
fn a_batch_can_be_folded_in_parts_and_begun_inside() {
    let plan = plan(LatePolicy::Correct, 0);
    let mut events = EventBatch::new(Arc::from("s"), Bytes::from_static(b"{}"));
    for at in 0..5u8 {
        let id = events.push_side(&[b'a' + at]);
        let one = record(0, Some(NOW), NOW, NOW).events.entries[0];
        events.entries.push(Entry { raw: Span::main(0, 2), id, kind: id, ..one });
    }
    let batch =
        LogBatch { events: Arc::new(events), first_offset: 10, appended_at: Timestamp(NOW), places: None };
    let mut fold = Fold::resume(plan, (0, 1), &Checkpoint { next_offset: 11, ..start() }, 7);
    fold.batch(&batch, 13);
    assert_eq!((fold.next_offset(), fold.pending()), (13, 2));
    fold.batch(&batch, u64::MAX);
    fold.batch(&batch, u64::MAX);
    assert_eq!((fold.next_offset(), fold.pending()), (15, 4));
    let flush = fold.take().expect("folded");
    assert_eq!((flush.base, flush.end, flush.ledger.counted), (11, 15, 4));
    assert!(fold.take().is_none());
}

#[test]
fn a_record_refused_by_the_store_is_a_dead_letter() {
    let mut fold = Fold::resume(plan(LatePolicy::Correct, 0), (0, 1), &start(), 7);
    fold.refuse(1, Refusal::new(Code::StoreRefused, "", "no"));
    for offset in 0..3 {
        fold.batch(&record(offset, Some(NOW), NOW, NOW), u64::MAX);
    }
    let flush = fold.take().expect("folded");
    assert_eq!((flush.ledger.counted, flush.ledger.dead_lettered, flush.dead_letters[0].offset), (2, 1, 1));
}

#[test]
fn holes_are_passed_and_nothing_is_counted_for_them() {
    let mut fold = Fold::resume(plan(LatePolicy::Correct, 0), (0, 1), &start(), 7);
    fold.pass_to(3);
    let flush = fold.take().expect("the offset moved");
    assert_eq!((flush.base, flush.end, flush.ledger), (0, 3, Ledger::default()));
    fold.batch(&record_of(5, "a", Some(NOW), (NOW, NOW)), u64::MAX);
    fold.pass_to(4);
    assert_eq!((fold.base(), fold.next_offset()), (3, 6), "passing never goes back");
    let flush = fold.take().expect("a record was folded");
    assert_eq!((flush.base, flush.end, flush.ledger.counted), (3, 6, 1));
    assert!(fold.take().is_none());
}

#[test]
fn partitions_share_the_records_of_the_duplicate_window() {
    let plan = plan(LatePolicy::Correct, 0);
    let records = plan.stream.dedup.records;
    for (partitions, distance, counted) in
        [(1, records, 1), (1, records + 1, 2), (4, records / 4, 1), (4, records / 4 + 1, 2)]
    {
        let mut fold = Fold::resume(plan.clone(), (0, partitions), &start(), 7);
        fold.batch(&record_of(0, "a", Some(NOW), (NOW, NOW)), u64::MAX);
        fold.batch(&record_of(distance, "a", Some(NOW), (NOW, NOW)), u64::MAX);
        let ledger = fold.take().expect("folded").ledger;
        assert_eq!(ledger.counted, counted, "{partitions} partitions, {distance} records apart");
    }
}

#[test]
fn offsets_that_the_log_has_lost_are_skipped_once_they_are_passed() {
    let plan = plan(LatePolicy::Correct, 0);
    // Records 0, 1, 5 and 6; 2 to 4 and 7 to 9 are lost.
    let records = [0, 1, 5, 6].map(|offset| record(offset, None, 1_000, 1_000));
    // Wherever flushes end, and however often a reader that is opened again tells of what is lost.
    for cut in 1..=10 {
        let mut fold = Fold::resume(plan.clone(), (0, 1), &start(), 7);
        let mut ledger = Ledger::default();
        let mut covered = 0;
        for until in [cut, 10] {
            fold.lose(2.max(covered)..5);
            for record in &records {
                fold.batch(record, until);
            }
            fold.lose(7.max(covered)..10);
            fold.pass_to(until);
            let Some(flush) = fold.take() else { continue };
            assert_eq!((flush.base, flush.end), (covered, until));
            assert_eq!(flush.ledger.processed + flush.ledger.skipped, until - covered, "cut at {cut}");
            covered = until;
            ledger.processed += flush.ledger.processed;
            ledger.skipped += flush.ledger.skipped;
        }
        assert_eq!((ledger.processed, ledger.skipped), (4, 6), "cut at {cut}");
    }
}

#[test]
fn holes_of_which_nobody_says_that_they_are_losses_are_not_skipped() {
    let plan = plan(LatePolicy::Correct, 0);
    let flush = fold_all(&plan, &[record(0, None, 1_000, 1_000), record(9, None, 1_000, 1_000)]);
    assert_eq!((flush.end, flush.ledger.processed, flush.ledger.skipped), (10, 2, 0));
}
