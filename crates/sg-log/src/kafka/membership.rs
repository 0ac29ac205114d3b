//! This process as a member of the group that shares the partitions. A consumer of its own, which never reads: Kafka's
//! group decides who works on what, the store's epochs and offsets make it safe, and nothing is read back from the
//! group's own offsets.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use sg_core::ports::{Change, ErrorKind, Membership, PartitionName, PortError};
use tokio::sync::mpsc;

use super::fault::{self, Outage};
use super::stats::KafkaMetrics;
use crate::shared::lock;

/// Changes not yet taken: more than a process that runs could leave waiting.
const CHANGES_MAX: usize = 64;
/// How long a revocation waits for its work to be flushed: the new owner waits as long.
const RELEASE_WAIT: Duration = Duration::from_secs(6);
/// How long the thread that polls sleeps at most.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// A member of the group.
pub(super) struct Member {
    /// Present until it leaves.
    consumer: Option<Arc<BaseConsumer<Callbacks>>>,
    shared: Arc<Shared>,
    changes: mpsc::Receiver<Change>,
    thread: Option<JoinHandle<()>>,
    told_within: Duration,
}

/// What the member and its callbacks share.
struct Shared {
    /// Stream names by topic.
    streams: HashMap<String, String>,
    is_leaving: AtomicBool,
    released: Released,
    /// Partitions of topics that the group says are ours.
    assigned: Mutex<BTreeSet<(String, i32)>>,
    /// Why the membership ended, if not by leaving.
    failure: Mutex<Option<String>>,
    outage: Outage,
    stats: Arc<KafkaMetrics>,
}

/// How many revocations were announced, taken, and carried out.
#[derive(Default)]
struct Released {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    announced: u64,
    taken: u64,
    done: u64,
}

struct Callbacks {
    shared: Arc<Shared>,
    changes: mpsc::Sender<Change>,
}

impl Member {
    /// Joins the group for the given topics, named with their streams. Waits for no broker.
    pub(super) fn join(
        config: &ClientConfig,
        streams: HashMap<String, String>,
        told_within: Duration,
        stats: Arc<KafkaMetrics>,
    ) -> Result<Member, PortError> {
        let shared = Arc::new(Shared {
            streams,
            is_leaving: AtomicBool::new(false),
            released: Released::default(),
            assigned: Mutex::default(),
            failure: Mutex::default(),
            outage: Outage::default(),
            stats,
        });
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let context = Callbacks { shared: shared.clone(), changes: sender };
        let consumer = BaseConsumer::from_config_and_context(config, context)
            .map_err(|error| fault::unusable("make a member of the kafka group", error))?;
        let topics: Vec<&str> = shared.streams.keys().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| fault::retry("join the kafka group", error))?;
        let consumer = Arc::new(consumer);
        let (polled, context) = (consumer.clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("kafka-member".to_owned())
            .spawn(move || run(polled, &context))
            .map_err(|error| {
                PortError::from_source(ErrorKind::Retry, "start a thread of the kafka log", error)
            })?;
        Ok(Member { consumer: Some(consumer), shared, changes, thread: Some(thread), told_within })
    }

    /// Tells the thread to end; the group hears of it when the thread lets go of the consumer.
    fn part(&mut self) -> Option<JoinHandle<()>> {
        self.shared.is_leaving.store(true, Ordering::Release);
        self.shared.released.changed.notify_all();
        self.consumer = None;
        self.thread.take()
    }
}

/// Polls until the member leaves or cannot go on; then closes the consumer, which tells the group.
fn run(consumer: Arc<BaseConsumer<Callbacks>>, shared: &Shared) {
    while !shared.is_leaving.load(Ordering::Acquire) && lock(&shared.failure).is_none() {
        // Other errors were told to the context; records never come, because all partitions are paused.
        if let Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) = consumer.poll(POLL_WAIT) {
            lock(&shared.failure).get_or_insert(error.to_string());
        }
    }
    if shared.is_leaving.load(Ordering::Acquire) {
        return;
    }
    let why = lock(&shared.failure).clone().unwrap_or_default();
    tracing::error!(why, "this process is no longer a member of the kafka group");
    // The member's own handle keeps the consumer: without this others would wait for the session's end.
    consumer.unsubscribe();
}

#[async_trait]
impl Membership for Member {
    async fn change(&mut self) -> Result<Change, PortError> {
        let why = || lock(&self.shared.failure).clone().unwrap_or_else(|| "it has left".to_owned());
        let Some(change) = next(&mut self.changes, &self.shared).await else {
            return Err(PortError::new(
                ErrorKind::Retry,
                format!("stay a member of the kafka group: {}", why()),
            ));
        };
        if matches!(change, Change::Revoked(_)) {
            lock(&self.shared.released.counts).taken += 1;
        }
        Ok(change)
    }

    async fn released(&mut self) {
        let mut counts = lock(&self.shared.released.counts);
        counts.done = counts.taken;
        drop(counts);
        self.shared.released.changed.notify_all();
    }

    async fn report(&mut self, flushed: &[(String, u32, u64)]) {
        let Some(consumer) = &self.consumer else { return };
        let list = self.shared.committable(flushed);
        if list.count() == 0 {
            return;
        }
        if let Err(error) = consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "the kafka group was not told how far partitions are flushed");
        }
    }

    fn told_within(&self) -> Option<Duration> {
        Some(self.told_within)
    }

    async fn leave(&mut self) {
        let Some(thread) = self.part() else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::warn!("the thread of the kafka group ended badly");
        }
    }
}

/// Returns the next change; `None` when the membership has ended and every change was taken.
async fn next(changes: &mut mpsc::Receiver<Change>, shared: &Shared) -> Option<Change> {
    loop {
        if let Ok(change) = changes.try_recv() {
            return Some(change);
        }
        if lock(&shared.failure).is_some() || shared.is_leaving.load(Ordering::Acquire) {
            return None;
        }
        // The sender lives as long as the consumer: a failure does not close the channel.
        if let Ok(change) = tokio::time::timeout(POLL_WAIT, changes.recv()).await {
            return change;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.part());
    }
}

impl Shared {
    /// Returns what may be committed for the group: no partition that it gave to others.
    fn committable(&self, flushed: &[(String, u32, u64)]) -> TopicPartitionList {
        let assigned = lock(&self.assigned);
        let mut list = TopicPartitionList::new();
        for (stream, partition, offset) in flushed {
            let Some((topic, _)) = self.streams.iter().find(|(_, known)| *known == stream) else { continue };
            let at = (topic.clone(), partition.cast_signed());
            if assigned.contains(&at) {
                let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
                // Of a list that was just made, only an unrepresentable offset is refused.
                drop(list.add_partition_offset(topic, at.1, offset));
            }
        }
        list
    }

    fn names(&self, list: &TopicPartitionList) -> Vec<PartitionName> {
        let name = |at: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let stream = self.streams.get(at.topic())?;
            Some((stream.clone(), u32::try_from(at.partition()).ok()?))
        };
        list.elements().iter().filter_map(name).collect()
    }
}

impl Released {
    /// Waits until the last revocation announced was carried out, within limits.
    fn wait(&self, shared: &Shared) {
        let counts = lock(&self.counts);
        let is_open = |counts: &mut Counts| {
            counts.done < counts.announced && !shared.is_leaving.load(Ordering::Acquire)
        };
        let waited = self.changed.wait_timeout_while(counts, RELEASE_WAIT, is_open);
        let (_counts, waited) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        if waited.timed_out() {
            tracing::warn!("partitions were given up before their work was flushed: others fold it again");
        }
    }
}

impl Callbacks {
    /// Passes a change on; returns false when nobody will take it.
    fn tell(&self, change: Change) -> bool {
        if self.shared.is_leaving.load(Ordering::Acquire) {
            return false;
        }
        self.shared.stats.rebalances.add(1);
        let deadline = Instant::now() + RELEASE_WAIT;
        let mut change = change;
        loop {
            match self.changes.try_send(change) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(_)) if Instant::now() >= deadline => {
                    let why = format!("{CHANGES_MAX} changes of the group wait and nobody takes them");
                    lock(&self.shared.failure).get_or_insert(why);
                    return false;
                }
                Err(mpsc::error::TrySendError::Full(back)) => change = back,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn assign(&self, consumer: &BaseConsumer<Callbacks>, list: &mut TopicPartitionList) -> KafkaResult<()> {
        // Neither is ever read: the end, so that not even one fetch begins before the pause.
        list.set_all_offsets(Offset::End)?;
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list)?,
            _ => consumer.assign(list)?,
        }
        consumer.pause(list)?;
        lock(&self.shared.assigned)
            .extend(list.elements().iter().map(|at| (at.topic().to_owned(), at.partition())));
        let names = self.shared.names(list);
        if !names.is_empty() {
            self.tell(Change::Assigned(names));
        }
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Callbacks>, list: &TopicPartitionList) -> KafkaResult<()> {
        let is_lost = consumer.assignment_lost();
        {
            let mut assigned = lock(&self.shared.assigned);
            for at in list.elements() {
                assigned.remove(&(at.topic().to_owned(), at.partition()));
            }
        }
        let names = self.shared.names(list);
        if names.is_empty() {
        } else if is_lost {
            self.tell(Change::Lost(names));
        } else {
            lock(&self.shared.released.counts).announced += 1;
            if self.tell(Change::Revoked(names)) {
                self.shared.released.wait(&self.shared);
            }
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        }
    }
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        fault::log("member", level, facility, text);
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.shared.outage.note("member", &error, reason, &self.shared.stats);
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Callbacks>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        self.shared.outage.over("member");
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(consumer, list)
        } else {
            self.revoke(consumer, list)
        };
        if let Err(error) = done {
            lock(&self.shared.failure)
                .get_or_insert(format!("a change of the group could not be followed: {error}"));
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "the kafka group was not told how far partitions are flushed");
        }
    }
}
