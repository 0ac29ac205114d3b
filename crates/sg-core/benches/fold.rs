//! What one core does: reading events at the door, and folding them with duplicates judged over five million ids.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sg_core::batch::{EventBatch, LogBatch};
use sg_core::definition::{Condition, Dedup, Function, LatePolicy, Measure, Rollup, Stream};
use sg_core::flush::{Checkpoint, PartitionClock};
use sg_core::fold::{Beginning, Fold, Stretch};
use sg_core::output::Outputs;
use sg_core::plan::{Arrival, Plan};
use sg_core::time::Timestamp;

const BATCH: usize = 1_000;
/// Batches folded between two makings of fresh ones: as many as a flush takes.
const AT_ONCE: usize = 50;
const WINDOW: u64 = 5_000_000;
const NOW: i64 = 1_700_000_000_000;

fn plan() -> Arc<Plan> {
    let stream = Stream {
        name: "events".into(),
        default_type: String::new(),
        fields: Default::default(),
        derive_id: false,
        partition_by: vec!["session_id".into(), "user_id".into()],
        require: Vec::new(),
        types: Vec::new(),
        raw_table: None,
        dedup: Dedup { records: WINDOW, horizon: Duration::from_secs(86_400) },
        max_future: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(30),
        outputs: Outputs::default(),
        letters: Default::default(),
    };
    let rollup = |name: &str, by: &str| Rollup {
        name: name.into(),
        stream: "events".into(),
        window_ms: 60_000,
        pane_ms: 60_000,
        grace_ms: 30_000,
        late: LatePolicy::Correct,
        keep_ms: i64::MAX / 2,
        by: vec![by.into()],
        measures: vec![Measure { name: "n".into(), function: Function::Count, filter: Condition::default() }],
    };
    Arc::new(Plan::new(stream, &[rollup("by_type", "event_type"), rollup("by_postcode", "postcode")]))
}

/// A fixed sequence of well-mixed numbers.
struct Mixed(u64);

impl Mixed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB)
    }
}

fn body(mixed: &mut Mixed) -> Bytes {
    const TYPES: [&str; 8] = [
        "page_view",
        "add_cart_",
        "purchase_",
        "search___",
        "sign_up__",
        "log_in___",
        "log_out__",
        "share____",
    ];
    let line = |_| {
        let (high, low, rest) = (mixed.next(), mixed.next(), mixed.next());
        format!(
            "{{\"event_id\":\"{high:016x}{low:016x}\",\"user_id\":{},\"event_type\":\"{}\",\"postcode\":\"SW{:02}\",\"timestamp\":{}}}",
            1_000 + rest % 9_000,
            TYPES[(rest >> 16) as usize % 8],
            (rest >> 24) % 2_900,
            NOW - (rest >> 40) as i64 % 5_000
        )
    };
    Bytes::from((0..BATCH).map(line).collect::<Vec<_>>().join("\n"))
}

fn accept(plan: &Plan, body: &Bytes) -> EventBatch {
    let mut batch = EventBatch::new(plan.name.clone(), body.clone());
    batch.entries.reserve(BATCH);
    let mut arrival = Arrival { received_at: Some(Timestamp(NOW)), new_id: &mut String::new };
    let text = std::str::from_utf8(body).expect("text");
    for line in text.lines() {
        plan.accept(line, &mut arrival, &mut batch).expect("a good event");
    }
    batch
}

fn fresh_fold(plan: &Arc<Plan>) -> Fold {
    let checkpoint = Checkpoint {
        epoch: 1,
        next_offset: 0,
        first_offset: 0,
        clock: PartitionClock::NEVER,
        dedup_from: (0, Timestamp::NEVER),
        dead_offsets: Vec::new(),
    };
    Fold::resume(plan.clone(), (0, 1), &checkpoint, 7)
}

fn door(criterion: &mut Criterion) {
    let plan = plan();
    let body = body(&mut Mixed(1));
    let mut group = criterion.benchmark_group("door");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("accept 1000 events", |bencher| bencher.iter(|| accept(&plan, &body)));
    group.finish();
}

/// A fold whose duplicate window is full, and the offset that its next batch gets.
fn full_fold(plan: &Arc<Plan>, mixed: &mut Mixed) -> (Fold, u64) {
    let mut fold = fresh_fold(plan);
    let mut offset = 0;
    for _ in 0..WINDOW / BATCH as u64 + 500 {
        fold.batch(&next(plan, mixed, &mut offset), u64::MAX);
    }
    drop(fold.take());
    (fold, offset)
}

fn next(plan: &Plan, mixed: &mut Mixed, offset: &mut u64) -> LogBatch {
    let events = Arc::new(accept(plan, &body(mixed)));
    let batch = LogBatch { events, first_offset: *offset, appended_at: Timestamp(NOW), places: None };
    *offset += BATCH as u64;
    batch
}

fn fold(criterion: &mut Criterion) {
    let plan = plan();
    let mut mixed = Mixed(2);
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements((BATCH * AT_ONCE) as u64));
    group.bench_function("two rollups, duplicates over 5 M ids", |bencher| {
        let (mut fold, mut offset) = full_fold(&plan, &mut mixed);
        bencher.iter_batched_ref(
            // Kept alive until after the measurement: freeing them is not the fold's work.
            || (0..AT_ONCE).map(|_| next(&plan, &mut mixed, &mut offset)).collect::<Vec<_>>(),
            |batches| {
                for batch in batches {
                    fold.batch(batch, u64::MAX);
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Records as a log gives them back: what the door decided beside each, no fields.
fn again(criterion: &mut Criterion) {
    let plan = plan();
    let mut mixed = Mixed(3);
    let mut group = criterion.benchmark_group("again");
    group.throughput(Throughput::Elements((BATCH * AT_ONCE) as u64));
    for (at, what) in [(0, "a rollup of what the door decided"), (1, "a rollup of a field")] {
        let alone = Arc::new(Plan::new(plan.stream.clone(), &[plan.rollups[at].rollup.clone()]));
        let mut offset = 0;
        let stretch = Stretch {
            beginning: Beginning::First(0),
            from: Timestamp::NEVER,
            to: Timestamp(i64::MAX),
            removed_before: Timestamp::NEVER,
        };
        let mut fold = Fold::again(alone, (0, 1), stretch, 7);
        group.bench_function(what, |bencher| {
            bencher.iter_batched_ref(
                || {
                    let read_back = |_| {
                        let mut batch = next(&plan, &mut mixed, &mut offset);
                        Arc::make_mut(&mut batch.events).fields = None;
                        batch
                    };
                    (0..AT_ONCE).map(read_back).collect::<Vec<_>>()
                },
                |batches| {
                    for batch in batches {
                        fold.batch(batch, u64::MAX);
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = door, fold, again
}
criterion_main!(benches);
