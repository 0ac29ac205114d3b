//! Appends batches: room for all of a batch is given out before any of it is sent, and the answer waits until every
//! record of it is acknowledged by all in-sync replicas.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use sg_core::batch::{Entry, EventBatch};
use sg_core::ports::{Appended, ErrorKind, PortError};
use sg_core::time::Timestamp;
use sg_core::trace::TRACEPARENT;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::fault::{self, Outage, invalid};
use super::header::{self, Decided};
use super::stats::KafkaMetrics;
use crate::shared::lock;

/// What librdkafka keeps of a record beside its bytes, about.
const RECORD_OVERHEAD_BYTES: usize = 256;
/// How long an append waits for room: a moment of many appends passes, a broker that is away does not.
const ROOM_WAIT: Duration = Duration::from_millis(250);
/// Larger batches are handed over on a thread that may take its time.
const INLINE_RECORDS_MAX: usize = 512;
/// How long a close waits for what is on its way: longer than a record may be.
const FLUSH_WAIT: Duration = Duration::from_secs(35);

/// Appends to the topics of one cluster.
pub(super) struct Sender {
    config: ClientConfig,
    phase: RwLock<Phase>,
    room: Arc<Semaphore>,
    room_bytes: usize,
    stats: Arc<KafkaMetrics>,
}

/// Whether records are taken.
enum Phase {
    Open(Arc<Live>),
    Closed(Arc<Live>),
}

/// A producer, until an error that it cannot survive.
struct Live {
    producer: ThreadedProducer<Deliveries>,
    is_dead: Arc<AtomicBool>,
}

/// Takes the brokers' answers.
struct Deliveries {
    is_dead: Arc<AtomicBool>,
    outage: Outage,
    stats: Arc<KafkaMetrics>,
}

/// A batch on its way.
struct Pending {
    left: AtomicUsize,
    outcome: Mutex<Outcome>,
    /// Taken when the last record has been answered.
    caller: Mutex<Option<Caller>>,
}

/// Who waits for a batch's answer, and the room that is free again then.
struct Caller {
    answer: oneshot::Sender<Outcome>,
    room: OwnedSemaphorePermit,
}

/// What is known of a batch so far.
#[derive(Debug, Default)]
struct Outcome {
    appended: Vec<Appended>,
    failures: u64,
    /// The first failure.
    failure: Option<RDKafkaErrorCode>,
}

impl Sender {
    /// Makes the producer. Reaches for no broker yet.
    pub(super) fn new(
        config: ClientConfig,
        room_bytes: usize,
        stats: Arc<KafkaMetrics>,
    ) -> Result<Sender, PortError> {
        let live =
            Live::new(&config, &stats).map_err(|error| fault::unusable("make a kafka producer", error))?;
        let room_bytes = room_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Ok(Sender {
            config,
            phase: RwLock::new(Phase::Open(Arc::new(live))),
            room: Arc::new(Semaphore::new(room_bytes)),
            room_bytes,
            stats,
        })
    }

    /// Appends a batch to a topic.
    pub(super) async fn append(
        self: &Arc<Sender>,
        topic: &str,
        batch: EventBatch,
    ) -> Result<Vec<Appended>, PortError> {
        let records = batch.len() as u64;
        let room = self.reserve(topic, &batch).await?;
        let (answer, answered) = oneshot::channel();
        let pending = Arc::new(Pending {
            left: AtomicUsize::new(batch.len()),
            outcome: Mutex::default(),
            caller: Mutex::new(Some(Caller { answer, room })),
        });
        if batch.len() <= INLINE_RECORDS_MAX {
            self.send(topic, &batch, pending)?;
        } else {
            let (sender, topic) = (self.clone(), topic.to_owned());
            let work = tokio::task::spawn_blocking(move || sender.send(&topic, &batch, pending));
            work.await
                .map_err(|error| PortError::from_source(ErrorKind::Retry, "append to kafka", error))??;
        }
        let outcome = answered.await.map_err(|_| lost(topic))?;
        self.note_room();
        self.stats.appended.add(records - outcome.failures);
        self.stats.delivery_failures.add(outcome.failures);
        outcome.into_result(topic)
    }

    async fn reserve(&self, topic: &str, batch: &EventBatch) -> Result<OwnedSemaphorePermit, PortError> {
        let bytes = cost(batch);
        if bytes > self.room_bytes {
            let room = self.room_bytes;
            return Err(invalid(format!(
                "append {} events to the kafka topic {topic}: they take {bytes} bytes and only {room} may be on \
                 their way; send smaller batches or allow more in flight",
                batch.len()
            )));
        }
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = tokio::time::timeout(ROOM_WAIT, self.room.clone().acquire_many_owned(wanted)).await;
        self.note_room();
        match room {
            Ok(Ok(room)) => Ok(room),
            _ => {
                self.stats.appends_full.add(1);
                let doing = format!(
                    "append to the kafka topic {topic}: too many bytes wait for its brokers; send again when they \
                     keep up"
                );
                Err(PortError::new(ErrorKind::Retry, doing))
            }
        }
    }

    fn note_room(&self) {
        self.stats
            .in_flight_bytes
            .set((self.room_bytes - self.room.available_permits().min(self.room_bytes)) as u64);
    }

    /// Hands a batch to the producer. Nobody closes or replaces the producer meanwhile.
    fn send(&self, topic: &str, batch: &EventBatch, pending: Arc<Pending>) -> Result<(), PortError> {
        self.replace_dead()?;
        let phase = self.phase.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Phase::Open(live) = &*phase else { return Err(closed()) };
        let mut text = String::new();
        for index in 0..batch.len() {
            if let Err(error) = live.send_one(topic, batch, index, &pending, &mut text) {
                // What was handed over is on its way; the rest counts as answered.
                pending.fail(batch.len() - index, error.rdkafka_error_code());
                break;
            }
        }
        Ok(())
    }

    /// Puts a new producer in the place of one that cannot go on.
    fn replace_dead(&self) -> Result<(), PortError> {
        let is_dead =
            |phase: &Phase| matches!(phase, Phase::Open(live) if live.is_dead.load(Ordering::Acquire));
        if !is_dead(&self.phase.read().unwrap_or_else(std::sync::PoisonError::into_inner)) {
            return Ok(());
        }
        let mut phase = self.phase.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !is_dead(&phase) {
            return Ok(());
        }
        let live = Live::new(&self.config, &self.stats)
            .map_err(|error| fault::retry("make another kafka producer", error))?;
        self.stats.producers_replaced.add(1);
        tracing::warn!("the kafka producer could not go on: another one took its place");
        let old = std::mem::replace(&mut *phase, Phase::Open(Arc::new(live)));
        // Waits for answers that may not come: not here.
        drop(std::thread::Builder::new().name("kafka-producer-end".to_owned()).spawn(move || drop(old)));
        Ok(())
    }

    /// Takes no more records and waits until those on their way are answered. Blocks.
    pub(super) fn close(&self) -> Result<(), PortError> {
        let live = {
            let mut phase = self.phase.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            let (Phase::Open(live) | Phase::Closed(live)) = &*phase;
            let live = live.clone();
            *phase = Phase::Closed(live.clone());
            live
        };
        let flushed = live.producer.flush(FLUSH_WAIT);
        flushed.map_err(|error| fault::retry("wait for records on their way to kafka", error))
    }
}

impl Live {
    fn new(config: &ClientConfig, stats: &Arc<KafkaMetrics>) -> Result<Live, KafkaError> {
        let is_dead = Arc::new(AtomicBool::new(false));
        let context =
            Deliveries { is_dead: is_dead.clone(), outage: Outage::default(), stats: stats.clone() };
        Ok(Live { producer: ThreadedProducer::from_config_and_context(config, context)?, is_dead })
    }

    fn send_one(
        &self,
        topic: &str,
        batch: &EventBatch,
        index: usize,
        pending: &Arc<Pending>,
        text: &mut String,
    ) -> Result<(), KafkaError> {
        let entry = &batch.entries[index];
        let key = if entry.key.is_none() { entry.id } else { entry.key };
        let mut record = BaseRecord::with_opaque_to(topic, pending.clone())
            .key(batch.bytes(key))
            .payload(batch.bytes(entry.raw));
        // What no door has received goes as others write it, and is read as theirs.
        if let Some(received_at) = entry.received_at {
            record = record.headers(own_headers(batch, index, received_at, text));
        }
        self.producer.send(record).map_err(|(error, _)| {
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                self.is_dead.store(true, Ordering::Release);
            }
            error
        })
    }
}

/// Returns the header that says what the door decided, and the one of a trace that begins with the event.
fn own_headers(batch: &EventBatch, index: usize, received_at: Timestamp, text: &mut String) -> OwnedHeaders {
    let entry = &batch.entries[index];
    let decided = Decided {
        replay_of: batch.replay_of(index),
        received_at,
        event_time: entry.event_time,
        key_hash: entry.key_hash,
        kind: batch.text(entry.kind),
        id: batch.text(entry.id),
    };
    header::encode(&decided, text);
    let header = Header { key: header::NAME, value: Some(text.as_bytes()) };
    let headers = OwnedHeaders::new_with_capacity(1).insert(header);
    let Some(context) = batch.trace_of(index) else { return headers };
    headers.insert(Header { key: TRACEPARENT, value: Some(&context.to_string()) })
}

impl Pending {
    /// Counts records that will not be answered by a broker.
    fn fail(&self, records: usize, code: Option<RDKafkaErrorCode>) {
        {
            let mut outcome = lock(&self.outcome);
            outcome.failures += records as u64;
            outcome.failure.get_or_insert(code.unwrap_or(RDKafkaErrorCode::Fail));
        }
        self.count(records);
    }

    /// Counts answered records; the last one answers the caller.
    fn count(&self, records: usize) {
        if self.left.fetch_sub(records, Ordering::AcqRel) != records {
            return;
        }
        let outcome = std::mem::take(&mut *lock(&self.outcome));
        if let Some(Caller { answer, room }) = lock(&self.caller).take() {
            drop(room);
            // A caller that went away does not wait for it.
            drop(answer.send(outcome));
        }
    }
}

impl Outcome {
    /// Widens a partition's range by one record. `None` when the broker kept the offset for itself.
    fn place(&mut self, partition: i32, offset: i64) -> Option<()> {
        let (partition, offset) = (u32::try_from(partition).ok()?, u64::try_from(offset).ok()?);
        match self.appended.iter_mut().find(|range| range.partition == partition) {
            None => {
                self.appended.push(Appended { partition, first_offset: offset, next_offset: offset + 1 });
            }
            Some(range) => {
                range.first_offset = range.first_offset.min(offset);
                range.next_offset = range.next_offset.max(offset + 1);
            }
        }
        Some(())
    }

    fn into_result(mut self, topic: &str) -> Result<Vec<Appended>, PortError> {
        let Some(code) = self.failure else {
            self.appended.sort_by_key(|range| range.partition);
            return Ok(self.appended);
        };
        let failures = self.failures;
        let doing = format!("append to the kafka topic {topic}: {failures} records were not acknowledged");
        Err(match code {
            RDKafkaErrorCode::MessageSizeTooLarge => PortError::from_source(
                ErrorKind::Invalid,
                format!("{doing}; raise the topic's max.message.bytes and the property message.max.bytes"),
                KafkaError::MessageProduction(code),
            ),
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
                PortError::from_source(
                    ErrorKind::Retry,
                    format!("{doing}; `streamgauge topics ensure` makes missing topics"),
                    KafkaError::MessageProduction(code),
                )
            }
            _ => PortError::from_source(
                ErrorKind::Retry,
                format!("{doing}; send the same events again, with the same ids"),
                KafkaError::MessageProduction(code),
            ),
        })
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        fault::log("producer", level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.is_dead.store(true, Ordering::Release);
        }
        self.outage.note("producer", &error, reason, &self.stats);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Arc<Pending>) {
        match result {
            Ok(message) => {
                self.outage.over("producer");
                let placed = lock(&pending.outcome).place(message.partition(), message.offset());
                match placed {
                    Some(()) => pending.count(1),
                    // Durable, but the caller needs its place: sent again it is a duplicate, which is harmless.
                    None => pending.fail(1, Some(RDKafkaErrorCode::DuplicateSequenceNumber)),
                }
            }
            Err((error, _)) => pending.fail(1, error.rdkafka_error_code()),
        }
    }
}

/// Returns the memory that a batch takes while it is on its way.
fn cost(batch: &EventBatch) -> usize {
    let of_entry = |entry: &Entry| {
        entry.raw.len()
            + entry.key.len().max(entry.id.len())
            + entry.kind.len()
            + entry.id.len()
            + RECORD_OVERHEAD_BYTES
    };
    batch.entries.iter().map(of_entry).sum()
}

fn closed() -> PortError {
    PortError::new(ErrorKind::Closed, "append to kafka: the log is closed")
}

fn lost(topic: &str) -> PortError {
    PortError::new(
        ErrorKind::Retry,
        format!("append to the kafka topic {topic}: the producer ended before it answered"),
    )
}

#[cfg(test)]
mod tests;
