//! What every log must do. A backend's tests make a factory and run each case; all cases use partition 0 of streams
//! that have one partition. Knows nothing of files, brokers or runtimes.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::{Entry, EventBatch, LetterPlace, LogBatch, Span, content_hash, key_hash};
use crate::ports::{Change, ErrorKind, EventLog, LogReader};
use crate::time::Timestamp;

/// How long a reader may wait for records that are there or on their way: only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
const BYTES_MAX: usize = 64 << 10;

/// Makes logs for the cases.
#[async_trait]
pub trait LogFactory: Send + Sync {
    /// Makes a log without records that holds, or can hold, the given streams.
    async fn make(&self, streams: &[&str]) -> Arc<dyn EventLog>;
    /// Closes a log and opens it again, as a restart does.
    async fn reopen(&self, log: Arc<dyn EventLog>) -> Arc<dyn EventLog>;
}

/// One record with all that must come back as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The event as sent.
    pub raw: Vec<u8>,
    /// The event id; `None` when absent.
    pub id: Option<Vec<u8>>,
    /// The event type; `None` when absent.
    pub kind: Option<Vec<u8>>,
    /// The hash of the partition key.
    pub key_hash: u64,
    /// The event's timestamp.
    pub event_time: Option<Timestamp>,
    /// When the door received it.
    pub received_at: Option<Timestamp>,
    /// The hash of the raw bytes.
    pub content: u32,
    /// The dead letter that the record stands for.
    pub replay_of: Option<LetterPlace>,
}

/// Returns a batch's records.
pub fn rows(batch: &EventBatch) -> Vec<Row> {
    let text = |span: Span| (!span.is_none()).then(|| batch.bytes(span).to_vec());
    let row = |(index, entry): (usize, &Entry)| Row {
        raw: batch.bytes(entry.raw).to_vec(),
        id: text(entry.id),
        kind: text(entry.kind),
        key_hash: entry.key_hash,
        event_time: entry.event_time,
        received_at: entry.received_at,
        content: entry.content,
        replay_of: batch.replay_of(index),
    };
    batch.entries.iter().enumerate().map(row).collect()
}

/// Makes a batch of events that differ in `seed` and place: ids inside and outside the raw bytes, with and without times.
pub fn sample(stream: &str, seed: u64, count: usize) -> EventBatch {
    let mut main = Vec::new();
    let mut places = Vec::new();
    for index in 0..count {
        let at = main.len();
        let before_id = r#"{"event_id":""#.len();
        let id = format!("{stream}-{seed}-{index}");
        let event =
            format!(r#"{{"event_id":"{id}","event_type":"käse","n":{}}}"#, seed.wrapping_mul(index as u64));
        main.extend_from_slice(event.as_bytes());
        places.push((at, event.len(), at + before_id, id.len()));
        main.push(b'\n');
    }
    let mut batch = EventBatch::new(Arc::from(stream), Bytes::from(main));
    for (index, (at, len, id_at, id_len)) in places.into_iter().enumerate() {
        let (raw, inside) = (Span::main(at, len), Span::main(id_at, id_len));
        let id = if index % 3 == 1 {
            batch.push_side(format!("derived-{seed}-{index}").as_bytes())
        } else {
            inside
        };
        let kind = batch.push_side("käse".as_bytes());
        let content = content_hash(batch.bytes(raw));
        let time = 1_735_689_600_000 + (seed as i64 % 1_000) * 61 - index as i64 * 997;
        batch.entries.push(Entry {
            raw,
            id,
            kind,
            key_hash: key_hash(&[seed as u8, index as u8]),
            key: id,
            event_time: (index % 4 != 3).then_some(Timestamp(time)),
            received_at: Some(Timestamp(1_735_689_700_000 + seed as i64 % 1_000)),
            content,
        });
    }
    batch
}

/// Makes a batch as [`sample`], of which some events stand for dead letters.
pub fn sample_replays(stream: &str, seed: u64, count: usize) -> EventBatch {
    let mut batch = sample(stream, seed, count);
    let letters = (0..count as u32).step_by(2).map(|index| (index, (index % 5, seed << (index % 40))));
    batch.replays = letters.collect();
    batch
}

/// Reads records from an offset on until as many were read, with their offsets.
///
/// # Panics
/// When the log fails or does not deliver them.
pub async fn read(log: &dyn EventLog, stream: &str, from: u64, count: usize) -> Vec<(u64, Row)> {
    let mut reader = log.open(stream, 0, from).await.expect("an offset inside the extent can be opened");
    read_more(&mut *reader, count).await
}

async fn read_more(reader: &mut dyn LogReader, count: usize) -> Vec<(u64, Row)> {
    let mut records = Vec::new();
    while records.len() < count {
        let batches = reader.next(BYTES_MAX, PATIENCE).await.expect("durable records can be read");
        assert!(!batches.is_empty(), "only {} of {count} records came", records.len());
        for batch in &batches {
            records.extend(placed(batch));
        }
        let last = records.last().map_or(0, |(offset, _)| *offset);
        assert!(reader.passed() > last, "a record that was returned has been passed");
    }
    records
}

/// Returns the records of a batch with their offsets.
pub fn placed(batch: &LogBatch) -> Vec<(u64, Row)> {
    let row = |(index, row)| (batch.place(index).0, row);
    rows(&batch.events).into_iter().enumerate().map(row).collect()
}

/// Appends a batch and returns the offset of its first record.
async fn append(log: &dyn EventLog, batch: EventBatch) -> u64 {
    let count = batch.len() as u64;
    let appended = log.append(batch).await.expect("an open log takes records");
    assert_eq!(appended.len(), 1, "a stream of one partition");
    assert_eq!(appended[0].partition, 0);
    assert!(appended[0].next_offset - appended[0].first_offset >= count, "every record has an offset");
    appended[0].first_offset
}

/// Appends batches one after the other; returns all their records with their offsets.
async fn fill(log: &dyn EventLog, stream: &str, sizes: &[usize]) -> Vec<(u64, Row)> {
    let mut records = Vec::new();
    for (seed, size) in sizes.iter().enumerate() {
        let batch = sample(stream, seed as u64, *size);
        let expected = rows(&batch);
        let first = append(log, batch).await;
        records.extend(expected.into_iter().enumerate().map(|(index, row)| (first + index as u64, row)));
    }
    records
}

/// Records come back as they were given, in order, stream by stream, from memory and after a restart.
pub async fn records_come_back(factory: &dyn LogFactory) {
    let log = factory.make(&["left", "right"]).await;
    let left = fill(&*log, "left", &[1, 2, 1, 300, 1]).await;
    let right = fill(&*log, "right", &[7, 1]).await;
    let more = fill(&*log, "left", &[5]).await;
    let left = [left, more].concat();
    let check = async |log: &dyn EventLog| {
        assert_eq!(read(log, "left", left[0].0, left.len()).await, left);
        assert_eq!(read(log, "right", right[0].0, right.len()).await, right);
    };
    check(&*log).await;
    let log = factory.reopen(log).await;
    check(&*log).await;
    let after = fill(&*log, "left", &[3]).await;
    assert!(after[0].0 > left[left.len() - 1].0, "offsets go on after a restart");
    assert_eq!(read(&*log, "left", left[0].0, left.len() + 3).await, [left, after].concat());
}

/// A record that stands for a dead letter says so when it comes back, wherever a reader begins.
pub async fn replays_come_back(factory: &dyn LogFactory) {
    let log = factory.make(&["events"]).await;
    let mut records = fill(&*log, "events", &[3]).await;
    let batch = sample_replays("events", 9, 7);
    let expected = rows(&batch);
    assert!(expected.iter().any(|row| row.replay_of.is_some()), "the sample has replays");
    let first = append(&*log, batch).await;
    records.extend(expected.into_iter().enumerate().map(|(index, row)| (first + index as u64, row)));
    let check = async |log: &dyn EventLog| {
        for (skipped, (offset, _)) in records.iter().enumerate() {
            assert_eq!(read(log, "events", *offset, records.len() - skipped).await, records[skipped..]);
        }
    };
    check(&*log).await;
    let log = factory.reopen(log).await;
    check(&*log).await;
}

/// A reader may begin at any record, also inside a batch.
pub async fn readers_begin_anywhere(factory: &dyn LogFactory) {
    let log = factory.make(&["events"]).await;
    let records = fill(&*log, "events", &[3, 1, 4]).await;
    for _ in 0..2 {
        for (skipped, (offset, _)) in records.iter().enumerate() {
            assert_eq!(read(&*log, "events", *offset, records.len() - skipped).await, records[skipped..]);
        }
    }
    let log = factory.reopen(log).await;
    for (skipped, (offset, _)) in records.iter().enumerate() {
        assert_eq!(read(&*log, "events", *offset, records.len() - skipped).await, records[skipped..]);
    }
}

/// A reader at the end waits, wakes when records come, and returns none when its time is over.
pub async fn readers_wait(factory: &dyn LogFactory) {
    let log = factory.make(&["events", "others"]).await;
    let records = fill(&*log, "events", &[2]).await;
    let mut reader = log.open("events", 0, records[1].0 + 1).await.expect("the end can be opened");
    let none = reader.next(BYTES_MAX, Duration::from_millis(1)).await.expect("waiting is no failure");
    assert!(none.is_empty(), "nothing came and {} batches were read", none.len());
    let append = async {
        fill(&*log, "others", &[1]).await;
        fill(&*log, "events", &[4]).await
    };
    let (woken, appended) = join(read_more(&mut *reader, 4), append).await;
    assert_eq!(woken, appended);
}

/// Appenders at the same time get offsets of their own, in order within each batch, without overlap.
pub async fn appenders_do_not_overlap(factory: &dyn LogFactory) {
    let log = factory.make(&["events"]).await;
    let append = |seed: u64| {
        let log = log.clone();
        async move {
            let batch = sample("events", seed, 1 + seed as usize % 5);
            let expected = rows(&batch);
            (append(&*log, batch).await, expected)
        }
    };
    let mut placed = join_all((0..100).map(append).collect()).await;
    placed.sort_by_key(|(first, _)| *first);
    let flat = |(first, rows): &(u64, Vec<Row>)| {
        let first = *first;
        rows.clone()
            .into_iter()
            .enumerate()
            .map(move |(index, row)| (first + index as u64, row))
            .collect::<Vec<_>>()
    };
    let expected: Vec<(u64, Row)> = placed.iter().flat_map(flat).collect();
    assert!(expected.windows(2).all(|pair| pair[0].0 < pair[1].0), "two records have one offset");
    assert_eq!(read(&*log, "events", expected[0].0, expected.len()).await, expected);
}

/// The extent tells where records begin and end, and nothing else can be opened.
pub async fn extents_are_right(factory: &dyn LogFactory) {
    let log = factory.make(&["events", "quiet"]).await;
    let quiet = log.extent("quiet", 0).await.expect("an empty stream has an extent");
    assert_eq!(quiet.start, quiet.end);
    assert_eq!(log.partitions("events").await.expect("a stream has partitions"), 1);
    let records = fill(&*log, "events", &[5, 1]).await;
    let extent = log.extent("events", 0).await.expect("a stream has an extent");
    assert_eq!((extent.start, extent.end), (records[0].0, records[5].0 + 1));
    let beyond = log.open("events", 0, extent.end + 1).await.err().map(|error| error.kind);
    assert_eq!(beyond, Some(ErrorKind::Invalid), "an offset beyond the end");
    let needed = [("events".to_owned(), 0, extent.start), ("quiet".to_owned(), 0, quiet.end)];
    log.trim(&needed).await.expect("nothing may be deleted, which is no failure");
    assert_eq!(log.extent("events", 0).await.expect("a stream has an extent").start, extent.start);
    assert_eq!(read(&*log, "events", extent.start, records.len()).await, records);
}

/// The identity stays with the log and is no other log's.
pub async fn identities_differ(factory: &dyn LogFactory) {
    let (log, other) = (factory.make(&["events"]).await, factory.make(&["events"]).await);
    let identity = log.identity("events").await.expect("a log has an identity");
    assert_ne!(identity, other.identity("events").await.expect("a log has an identity"));
    let log = factory.reopen(log).await;
    assert_eq!(identity, log.identity("events").await.expect("a log has an identity"));
}

/// The log's time of records never runs back, and no later record is older than the extent promised.
pub async fn log_time_never_runs_back(factory: &dyn LogFactory) {
    let log = factory.make(&["events"]).await;
    let mut promised = Timestamp::NEVER;
    for _ in 0..3 {
        let records = fill(&*log, "events", &[1, 2]).await;
        let mut reader = log.open("events", 0, records[0].0).await.expect("an offset inside can be opened");
        for batch in reader.next(BYTES_MAX, PATIENCE).await.expect("durable records can be read") {
            for index in 0..batch.events.len() {
                assert!(batch.place(index).1 >= promised, "the log's time ran back");
            }
        }
        promised = log.extent("events", 0).await.expect("a stream has an extent").newest;
    }
}

/// A closed log takes nothing and keeps what it has; closing again is no failure.
pub async fn closed_logs_refuse(factory: &dyn LogFactory) {
    let log = factory.make(&["events"]).await;
    let records = fill(&*log, "events", &[2, 2]).await;
    log.close().await.expect("an open log can be closed");
    let refused = log.append(sample("events", 9, 1)).await.err().map(|error| error.kind);
    assert_eq!(refused, Some(ErrorKind::Closed));
    log.close().await.expect("a closed log can be closed");
    let log = factory.reopen(log).await;
    assert_eq!(read(&*log, "events", records[0].0, records.len()).await, records);
    assert_eq!(log.extent("events", 0).await.expect("a stream has an extent").end, records[3].0 + 1);
}

/// Runs two futures at the same time, on whatever runtime the caller has.
async fn join<A, B>(left: impl Future<Output = A>, right: impl Future<Output = B>) -> (A, B) {
    let (mut left, mut right) = (std::pin::pin!(left), std::pin::pin!(right));
    let (mut left_done, mut right_done) = (None, None);
    poll_fn(move |context| {
        if left_done.is_none() {
            left_done = ready(left.as_mut().poll(context));
        }
        if right_done.is_none() {
            right_done = ready(right.as_mut().poll(context));
        }
        match (left_done.take(), right_done.take()) {
            (Some(left), Some(right)) => Poll::Ready((left, right)),
            (left, right) => {
                (left_done, right_done) = (left, right);
                Poll::Pending
            }
        }
    })
    .await
}

/// Runs many futures at the same time; returns their results in order.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, done) in running.iter_mut().zip(&mut done) {
            if done.is_none() {
                *done = ready(future.as_mut().poll(context));
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A process that joins is told of partitions to work on, and may leave.
pub async fn members_are_assigned_partitions(factory: &dyn LogFactory) {
    let log = factory.make(&["left", "right"]).await;
    let streams = ["left".to_owned(), "right".to_owned()];
    let mut member = log.join(&streams).await.expect("a log can be joined");
    let mut assigned = Vec::new();
    while assigned.len() < 2 {
        match member.change().await.expect("a member is told of changes") {
            Change::Assigned(partitions) => assigned.extend(partitions),
            change => panic!("nobody else is there, and yet: {change:?}"),
        }
    }
    assigned.sort();
    assert_eq!(assigned, [("left".to_owned(), 0), ("right".to_owned(), 0)]);
    member.report(&[("left".to_owned(), 0, 0)]).await;
    member.leave().await;
}
