//! Segments over their life: filled, rolled, trimmed, used again; and numbers as large as they get.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sg_core::ports::{ErrorKind, EventLog};
use sg_core::testing::log_suite;
use sg_core::time::Timestamp;
use sg_log::{EmbeddedLog, Options};

use crate::bench::{TestClock, append, files, folder, open, options, read_all, segment_files};

async fn fill(log: &EmbeddedLog, stream: &str, batches: u64) {
    for seed in 0..batches {
        append(log, stream, seed, 3).await;
    }
}

async fn trim(log: &EmbeddedLog, needed: &[(&str, u64)]) {
    let needed: Vec<(String, u32, u64)> =
        needed.iter().map(|(stream, offset)| ((*stream).to_owned(), 0, *offset)).collect();
    log.trim(&needed).await.expect("trimming works");
}

#[tokio::test]
async fn trim_deletes_only_what_nobody_needs() {
    let dir = folder();
    let log = open(options(dir.path()));
    fill(&log, "left", 20).await;
    fill(&log, "right", 20).await;
    let all = segment_files(dir.path()).len();
    assert!(all >= 4, "only {all} segments");
    for needed in
        [&[("right", 60)][..], &[("left", 60), ("right", 60), ("left", 0)], &[("left", 0), ("right", 60)]]
    {
        trim(&log, needed).await;
        assert_eq!(read_all(&log, "left").await.expect("a log can be read").len(), 60, "{needed:?}");
    }
    trim(&log, &[("left", 60)]).await;
    assert_eq!(read_all(&log, "right").await.expect("a log can be read").len(), 60, "right was not named");
    trim(&log, &[("left", 60), ("right", 31)]).await;
    let right = log.extent("right", 0).await.expect("an extent");
    assert!(right.start > 0 && right.start <= 31, "right starts at {}", right.start);
    let left = log.extent("left", 0).await.expect("an extent");
    assert_eq!((left.start, left.end), (60, 60));
    let gone = log.open("left", 0, 0).await.err().map(|error| error.kind);
    assert_eq!(gone, Some(ErrorKind::Invalid), "records that were deleted");
    assert!(segment_files(dir.path()).len() < all);
    drop(log);
    let log = open(options(dir.path()));
    assert_eq!(log.extent("right", 0).await.expect("an extent").start, right.start);
    assert_eq!(append(&log, "left", 1, 1).await[0].0, 60, "offsets go on though all records are gone");
}

#[tokio::test]
async fn trim_keeps_what_is_young_or_little() {
    let dir = folder();
    let clock = TestClock::new();
    let kept = Options {
        keep_bytes: 12 << 10,
        keep_age: Duration::from_secs(60),
        clock: clock.clone(),
        ..options(dir.path())
    };
    let log = open(kept);
    fill(&log, "events", 80).await;
    trim(&log, &[("events", u64::MAX)]).await;
    let bytes: usize = segment_files(dir.path()).len() * (4 << 10);
    assert!((12 << 10..=16 << 10).contains(&bytes), "{bytes} bytes were kept");
    clock.0.fetch_add(60_001, Ordering::SeqCst);
    fill(&log, "events", 20).await;
    let begun = segment_files(dir.path()).len();
    trim(&log, &[("events", u64::MAX)]).await;
    assert!(segment_files(dir.path()).len() < begun, "old segments go however little there is");
}

#[tokio::test]
async fn a_reader_whose_segment_is_trimmed_is_told() {
    let dir = folder();
    let log = open(Options { tail_bytes_max: 0, ..options(dir.path()) });
    fill(&log, "events", 40).await;
    let mut reader = log.open("events", 0, 0).await.expect("the start can be opened");
    reader.next(1, Duration::ZERO).await.expect("the first batch is there");
    trim(&log, &[("events", u64::MAX)]).await;
    let error = reader.next(1, Duration::ZERO).await.expect_err("its segment is gone");
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn records_of_a_segment_used_again_do_not_come_back() {
    let dir = folder();
    let recycling = Options { pool_bytes_max: 16 << 10, tail_bytes_max: 0, ..options(dir.path()) };
    let log = open(recycling.clone());
    let mut recycled = 0;
    for round in 0..12 {
        fill(&log, "events", 30).await;
        let end = log.extent("events", 0).await.expect("an extent").end;
        trim(&log, &[("events", end)]).await;
        recycled += files(dir.path(), ".free").len();
        if round % 3 == 2 {
            // The last segment has old frames behind its end.
            let before = read_all(&log, "events").await.expect("a log can be read");
            let copy = folder();
            for file in files(dir.path(), "") {
                let name = file.file_name().expect("a file has a name").to_owned();
                if file.is_file() {
                    std::fs::copy(&file, copy.path().join(name)).expect("files can be copied");
                }
            }
            let crashed = Options { dir: copy.path().to_owned(), ..recycling.clone() };
            assert_eq!(read_all(&open(crashed), "events").await.expect("a log can be read"), before);
        }
    }
    assert!(recycled > 0, "no segment was used again");
}

#[tokio::test]
async fn the_log_time_never_runs_back() {
    let dir = folder();
    let clock = TestClock::new();
    let timed = Options { clock: clock.clone(), ..options(dir.path()) };
    let log = open(timed.clone());
    append(&log, "events", 1, 1).await;
    clock.set(2_000_000_000_000);
    append(&log, "events", 2, 1).await;
    clock.set(5);
    append(&log, "events", 3, 1).await;
    drop(log);
    let log = open(timed);
    append(&log, "events", 4, 1).await;
    let mut reader = log.open("events", 0, 0).await.expect("the start can be opened");
    let mut times = Vec::new();
    while times.len() < 4 {
        for batch in reader.next(1 << 20, Duration::ZERO).await.expect("a log can be read") {
            times.push(batch.appended_at.0);
        }
    }
    assert_eq!(times, [1_700_000_000_000, 2_000_000_000_000, 2_000_000_000_000, 2_000_000_000_000]);
    assert_eq!(log.extent("events", 0).await.expect("an extent").newest, Timestamp(2_000_000_000_000));
}

#[tokio::test]
async fn a_batch_larger_than_a_segment_gets_its_own() {
    let dir = folder();
    let log = open(options(dir.path()));
    let mut given = append(&log, "events", 1, 1).await;
    given.extend(append(&log, "events", 2, 500).await);
    given.extend(append(&log, "events", 3, 1).await);
    assert_eq!(read_all(&log, "events").await.expect("a log can be read"), given);
    drop(log);
    assert_eq!(read_all(&open(options(dir.path())), "events").await.expect("a log can be read"), given);
}

#[tokio::test]
async fn many_segments_open_and_read() {
    let dir = folder();
    let tiny = Options { segment_bytes: 1, tail_bytes_max: 0, ..options(dir.path()) };
    let log = open(tiny.clone());
    let mut given = Vec::new();
    for seed in 0..2_000 {
        given.extend(append(&log, "events", seed, 1).await);
    }
    assert_eq!(log.stats().segments.get(), 2_000);
    drop(log);
    let log = open(tiny);
    assert_eq!(read_all(&log, "events").await.expect("a log can be read"), given);
    let late =
        log.open("events", 0, 1_999).await.expect("the last can be opened").next(1, Duration::ZERO).await;
    assert_eq!(late.expect("a log can be read")[0].first_offset, 1_999);
}

#[tokio::test]
async fn a_new_reader_of_a_stream_that_is_not_there_yet_waits_for_it() {
    let dir = folder();
    let log = open(options(dir.path()));
    let mut reader = log.open("later", 0, 0).await.expect("a new stream can be opened at 0");
    let (read, given) = tokio::join!(reader.next(1, Duration::from_secs(20)), append(&log, "later", 1, 2));
    assert_eq!(read.expect("a log can be read")[0].events.len(), given.len());
    assert_eq!(log.partitions("later").await.expect("a number"), 1);
    assert_eq!(log.open("later", 1, 0).await.err().map(|error| error.kind), Some(ErrorKind::Invalid));
    let unnamed = log.append(log_suite::sample("", 1, 1)).await;
    assert_eq!(unnamed.err().map(|error| error.kind), Some(ErrorKind::Invalid));
}

#[tokio::test]
async fn counters_count() {
    let dir = folder();
    let log = open(Options { clock: Arc::new(TestClock(1.into())), ..options(dir.path()) });
    fill(&log, "events", 5).await;
    let stats = log.stats();
    assert_eq!(stats.appends.get(), 5);
    assert_eq!(stats.events.get(), 15);
    assert!(stats.sync.count() > 0);
    assert_eq!(stats.append.count(), 5);
    let bytes = std::fs::metadata(&segment_files(dir.path())[0]).expect("the segment is there").len();
    assert_eq!(stats.bytes.get(), bytes);
}

#[tokio::test]
async fn memory_and_files_give_the_same_batches() {
    let dir = folder();
    let log = open(options(dir.path()));
    let mut given = Vec::new();
    for seed in 0..30 {
        given.extend(append(&log, "events", seed, 1 + seed as usize % 4).await);
    }
    let places = async |log: &EmbeddedLog| {
        let mut reader = log.open("events", 0, 3).await.expect("an offset inside can be opened");
        let mut places = Vec::new();
        while places.last().is_none_or(|(next, _, _)| *next < given.len() as u64) {
            for batch in reader.next(700, Duration::ZERO).await.expect("a log can be read") {
                places.push((batch.next_offset(), batch.appended_at, log_suite::placed(&batch)));
            }
        }
        places
    };
    let from_memory = places(&log).await;
    drop(log);
    assert_eq!(places(&open(Options { tail_bytes_max: 0, ..options(dir.path()) })).await, from_memory);
}
