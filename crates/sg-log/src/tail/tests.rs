//! The batches in memory.

use std::sync::Arc;

use sg_core::batch::{Fields, LogBatch, Span};
use sg_core::reason::{Code, Refusal};
use sg_core::testing::log_suite::{rows, sample};
use sg_core::time::Timestamp;
use sg_core::trace::TraceContext;

use super::{Tail, starting_at};

fn batch(first_offset: u64, count: usize) -> LogBatch {
    let events = Arc::new(sample("events", first_offset, count));
    LogBatch { events, first_offset, appended_at: Timestamp(5), places: None }
}

#[test]
fn the_oldest_go_first_across_streams() {
    let mut tail = Tail::default();
    for round in 0..4 {
        tail.push(0, batch(round * 2, 2));
        tail.push(5, batch(round * 3, 3));
    }
    let bytes = tail.bytes();
    assert!(tail.shrink(bytes).is_empty());
    assert_eq!(tail.shrink(bytes - 1).len(), 1);
    assert!(!tail.holds(0, 1) && tail.holds(0, 2) && tail.holds(5, 0));
    assert_eq!(tail.shrink(0).len(), 7);
    assert_eq!(tail.bytes(), 0);
    assert!(!tail.holds(0, 7) && !tail.holds(9, 0));
}

#[test]
fn reading_begins_and_ends_where_asked() {
    let mut tail = Tail::default();
    for round in 0..4 {
        tail.push(0, batch(10 + round * 2, 2));
    }
    let offsets = |from: u64, bytes_max: usize| -> Vec<(u64, usize)> {
        tail.read(0, from, bytes_max).iter().map(|batch| (batch.first_offset, batch.events.len())).collect()
    };
    assert_eq!(offsets(10, usize::MAX), [(10, 2), (12, 2), (14, 2), (16, 2)]);
    assert_eq!(offsets(13, usize::MAX), [(13, 1), (14, 2), (16, 2)]);
    assert_eq!(offsets(10, 1), [(10, 2)], "at least one batch");
    assert_eq!(offsets(18, usize::MAX), []);
}

#[test]
fn the_rest_of_a_batch_keeps_what_stands_beside_its_events() {
    let mut events = sample("events", 1, 4);
    let texts: Vec<Span> = (0..8).map(|at| Span::main(at, 1)).collect();
    events.fields = Some(Fields { texts, numbers: (0..4).collect() });
    let refusal = |detail: &str| Refusal::new(Code::BadNumber, "n", detail);
    events.refused = vec![(0, refusal("first")), (3, refusal("last"))];
    events.replays = vec![(1, (0, 7)), (2, (3, 9))];
    let trace = |span_id: u64| TraceContext { trace_id: 1, span_id, is_sampled: true };
    events.traces = vec![(0, trace(4)), (3, trace(5))];
    let whole = rows(&events);
    let given =
        LogBatch { events: Arc::new(events), first_offset: 100, appended_at: Timestamp(5), places: None };
    let rest = starting_at(given, 102);
    assert_eq!((rest.first_offset, rest.next_offset()), (102, 104));
    assert_eq!(rows(&rest.events), whole[2..]);
    let fields = rest.events.fields.as_ref().expect("fields are kept");
    assert_eq!(fields.texts, (4..8).map(|at| Span::main(at, 1)).collect::<Vec<Span>>());
    assert_eq!(fields.numbers, [2, 3]);
    assert_eq!(rest.events.refusal(1), Some(&refusal("last")));
    assert_eq!(rest.events.refused.len(), 1);
    assert_eq!(rest.events.replays, [(0, (3, 9))]);
    assert_eq!(rest.events.traces, [(1, trace(5))]);
}
