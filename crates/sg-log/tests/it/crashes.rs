//! The machine stops before, within and after every single operation of a scripted run. Whatever was acknowledged must
//! be there afterwards, exactly once and in order; what was not may be there whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use sg_core::ports::EventLog;
use sg_core::testing::log_suite::{Row, rows, sample};
use sg_log::{EmbeddedLog, Options};

use crate::bench::{append, folder, open, options, read_all, try_append, with_disk};
use crate::faults::{Fault, FaultyDisk, Lost};

const STREAMS: [&str; 2] = ["left", "right"];

/// What a run acknowledged and tried.
#[derive(Default)]
struct Promise {
    acknowledged: BTreeMap<&'static str, Vec<(u64, Row)>>,
    /// Records that may be there or not, by stream.
    tried: BTreeMap<&'static str, Vec<Row>>,
    /// First offsets that trims allowed to go below.
    trimmed: BTreeMap<&'static str, u64>,
}

/// Appends to two streams, trims, closes and opens again, until the machine stops.
async fn script(options: &Options, promise: &mut Promise) {
    for round in 0..3_u64 {
        let Ok(log) = EmbeddedLog::open(options.clone()) else { return };
        for step in 0..6_u64 {
            let seed = round * 100 + step;
            let stream = STREAMS[seed as usize % 2];
            let count = 1 + seed as usize % 4;
            match try_append(&log, stream, seed, count).await {
                Ok(records) => promise.acknowledged.entry(stream).or_default().extend(records),
                Err(_) => {
                    promise.tried.entry(stream).or_default().extend(rows(&sample(stream, seed, count)));
                    return;
                }
            }
            if step == 4 && trim(&log, promise).await.is_none() {
                return;
            }
        }
        // The last round ends without closing.
        if round < 2 && log.close().await.is_err() {
            return;
        }
    }
}

/// Says that all but the last two records of each stream may go.
async fn trim(log: &EmbeddedLog, promise: &mut Promise) -> Option<()> {
    let mut needed = Vec::new();
    for stream in STREAMS {
        let end = log.extent(stream, 0).await.ok()?.end;
        promise.trimmed.insert(stream, end.saturating_sub(2));
        needed.push((stream.to_owned(), 0, end.saturating_sub(2)));
    }
    log.trim(&needed).await.ok()
}

/// Opens the log on a sound disk and compares it with what was promised.
async fn check(options: &Options, promise: &Promise, context: &str) {
    let log = EmbeddedLog::open(options.clone()).unwrap_or_else(|error| panic!("{context}: {error}"));
    for stream in STREAMS {
        let found = read_all(&log, stream).await.unwrap_or_else(|error| panic!("{context}: {error}"));
        let extent = log.extent(stream, 0).await.expect("a stream has an extent");
        let offsets: Vec<u64> = found.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(
            offsets,
            (extent.start..extent.end).collect::<Vec<u64>>(),
            "{context}: {stream} has holes"
        );
        let trimmed = promise.trimmed.get(stream).copied().unwrap_or(0);
        assert!(extent.start <= trimmed, "{context}: {stream} lost records that were needed");
        let nothing = Vec::new();
        let acknowledged = promise.acknowledged.get(stream).unwrap_or(&nothing);
        let kept: Vec<(u64, Row)> =
            acknowledged.iter().filter(|(offset, _)| *offset >= extent.start).cloned().collect();
        assert!(found.len() >= kept.len(), "{context}: {stream} lost acknowledged records");
        assert_eq!(found[..kept.len()], kept, "{context}: {stream}");
        let nothing = Vec::new();
        let tried = promise.tried.get(stream).unwrap_or(&nothing);
        let extra: Vec<Row> = found[kept.len()..].iter().map(|(_, row)| row.clone()).collect();
        assert!(extra.is_empty() || extra == *tried, "{context}: {stream} has records that nobody sent");
    }
    let next = append(&log, "left", 999, 2).await;
    log.close().await.expect("a recovered log closes");
    let log = open(options.clone());
    let found = read_all(&log, "left").await.expect("a closed log can be read");
    assert_eq!(found[found.len() - 2..], next, "{context}");
}

/// Small segments, so that the script rolls often; two files made ahead, so that trimmed ones are used again.
fn small(dir: &std::path::Path, pool_bytes_max: u64) -> Options {
    Options { segment_bytes: 1_200, pool_bytes_max, tail_bytes_max: 600, ..options(dir) }
}

const STOPS: [Fault; 3] = [Fault::StopBefore, Fault::StopWithin, Fault::StopAfter];
const POWER_CUTS: [Fault; 5] = [
    Fault::PowerCut(Lost::All),
    Fault::PowerCut(Lost::LastAndEveryOther),
    Fault::PowerCut(Lost::EveryOther),
    Fault::PowerCut(Lost::FirstHalves),
    Fault::PowerCut(Lost::OldestName),
];

async fn sweep(pool_bytes_max: u64, faults: &[Fault]) {
    let counted = FaultyDisk::sound();
    let dir = folder();
    let mut promise = Promise::default();
    script(&with_disk(small(dir.path(), pool_bytes_max), Arc::new(counted.clone())), &mut promise).await;
    check(&small(dir.path(), pool_bytes_max), &promise, "without a fault").await;
    assert!(promise.tried.is_empty() && counted.count() > 50, "the script ran through");
    for fault in faults {
        for at in 0..counted.count() {
            let dir = folder();
            let disk = FaultyDisk::new(None, at, *fault);
            let mut promise = Promise::default();
            let options = small(dir.path(), pool_bytes_max);
            script(&with_disk(options.clone(), Arc::new(disk)), &mut promise).await;
            check(&options, &promise, &format!("{fault:?} operation {at}")).await;
        }
    }
}

#[tokio::test]
async fn every_crash_point_keeps_what_was_acknowledged() {
    sweep(0, &STOPS).await;
}

#[tokio::test]
async fn every_crash_point_with_recycled_segments_keeps_what_was_acknowledged() {
    sweep(2_400, &STOPS).await;
}

#[tokio::test]
async fn every_power_cut_keeps_what_was_acknowledged() {
    sweep(0, &POWER_CUTS).await;
}

#[tokio::test]
async fn every_power_cut_with_recycled_segments_keeps_what_was_acknowledged() {
    sweep(2_400, &POWER_CUTS).await;
}
