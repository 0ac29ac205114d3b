//! A consumer whose own events are always heard: a thread takes them, and whoever must know what was said before a
//! moment takes them there and then.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sg_core::ports::{ErrorKind, PortError};

use super::fault::{self, Outage};
use super::stats::KafkaMetrics;
use super::topic_ids::TopicIds;
use crate::shared::lock;

/// How often events are looked for when nothing rings.
const LOOK_EVERY: Duration = Duration::from_millis(500);

thread_local! {
    /// Where the end of a partition was seen by the poll that is under way on this thread: librdkafka says it in the
    /// text of the event only, and rdkafka leaves it out of its own.
    static END_SEEN: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A consumer and its events.
pub(super) struct Listener {
    /// Present until the listener ends.
    consumer: Option<Arc<BaseConsumer<Context>>>,
    shared: Arc<Shared>,
    /// One at a time takes events, so that they have been handled when the gate opens.
    gate: Mutex<()>,
}

/// The consumer's callbacks.
pub(super) struct Context(Arc<Shared>);

/// What the callbacks work on.
struct Shared {
    name: &'static str,
    ids: Arc<TopicIds>,
    outage: Outage,
    stats: Arc<KafkaMetrics>,
    /// Grows with every event handled.
    handled: AtomicU64,
    bell: Bell,
}

/// Wakes the thread that takes events.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Listener {
    /// Makes a consumer and the thread that takes its events.
    pub(super) fn new(
        name: &'static str,
        config: &ClientConfig,
        ids: Arc<TopicIds>,
        stats: Arc<KafkaMetrics>,
    ) -> Result<Arc<Listener>, PortError> {
        let shared = Arc::new(Shared {
            name,
            ids,
            outage: Outage::default(),
            stats,
            handled: AtomicU64::new(0),
            bell: Bell::default(),
        });
        let consumer = BaseConsumer::from_config_and_context(config, Context(shared.clone()));
        let mut consumer = consumer.map_err(|error| fault::unusable("make a kafka consumer", error))?;
        let rung = shared.clone();
        consumer.set_nonempty_callback(move || rung.bell.ring());
        let listener =
            Arc::new(Listener { consumer: Some(Arc::new(consumer)), shared, gate: Mutex::new(()) });
        let (weak, shared) = (Arc::downgrade(&listener), listener.shared.clone());
        let thread = std::thread::Builder::new().name(format!("kafka-{name}"));
        thread.spawn(move || attend(&weak, &shared)).map_err(|error| {
            PortError::from_source(ErrorKind::Retry, "start a thread of the kafka log", error)
        })?;
        Ok(listener)
    }

    /// Returns the consumer.
    pub(super) fn consumer(&self) -> &Arc<BaseConsumer<Context>> {
        self.consumer.as_ref().expect("only drop takes the consumer")
    }

    /// Handles events until there are none: when it returns, whatever librdkafka said before the call has been
    /// heard. Does not wait for more.
    pub(super) fn attend(&self) {
        let _alone = lock(&self.gate);
        let consumer = self.consumer();
        loop {
            let before = self.shared.handled.load(Ordering::Acquire);
            // What is returned was told to the context, too. A poll without waiting takes one event at most, and
            // does not tell none from one that was handled.
            let is_event = consumer.poll(Duration::ZERO).is_some()
                || self.shared.handled.load(Ordering::Acquire) != before;
            if !is_event {
                return;
            }
        }
    }

    /// Takes note that a broker answered.
    pub(super) fn heard_from_broker(&self) {
        self.shared.outage.over(self.shared.name);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.bell.ring();
        let consumer = self.consumer.take();
        // Closing waits for librdkafka's threads: not here, which may be a thread of the runtime.
        drop(std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(consumer)));
    }
}

/// Takes events until the listener is gone.
fn attend(listener: &Weak<Listener>, shared: &Shared) {
    loop {
        shared.bell.wait();
        let Some(listener) = listener.upgrade() else { return };
        listener.attend();
    }
}

impl Bell {
    fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let waited = self.changed.wait_timeout_while(lock(&self.rung), LOOK_EVERY, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if let Some(topic) = self.0.ids.note(facility, text) {
            tracing::error!(topic, "a kafka topic was deleted and made again: its partitions stop");
        }
        fault::log(self.0.name, level, facility, text);
        self.0.handled.fetch_add(1, Ordering::Release);
    }

    fn stats_raw(&self, _: &[u8]) {
        self.0.handled.fetch_add(1, Ordering::Release);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            END_SEEN.set(end_in(reason));
        } else {
            self.0.outage.note(self.0.name, &error, reason, &self.0.stats);
        }
        self.0.handled.fetch_add(1, Ordering::Release);
    }
}

impl ConsumerContext for Context {}

/// Returns where the poll that has just returned on this thread saw the partition's end.
pub(super) fn take_end() -> Option<u64> {
    END_SEEN.take()
}

/// Reads `… reached end of partition at offset N (HighwaterMark …`.
fn end_in(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once("end of partition at offset ")?;
    let digits = rest.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests;
