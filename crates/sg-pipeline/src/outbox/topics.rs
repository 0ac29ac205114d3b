//! Topics as a sink: each row becomes the records that its stream's outputs name. What a topic refuses is parked in the
//! topic's lane, and what is too large goes there cut short, so that neither holds up the rest or is lost.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sg_core::metrics::Metrics;
use sg_core::output::{self, Origin, OutputRecord, Outputs};
use sg_core::plan::Plan;
use sg_core::ports::{MAIN_LANE, OutboxKind, OutputTopics, Parked, PortError};
use tokio::time::Instant;

use super::{REFUSED_PAUSE, Sink, Told};

/// Bytes of a value that are tried when the whole is too large, the largest first. At last the headers go alone.
const SHORT_BYTES: [usize; 2] = [32 << 10, 0];

/// The topics of one stream.
pub struct Topics {
    plan: Arc<Plan>,
    origin: Origin,
    topics: Arc<dyn OutputTopics>,
    metrics: Arc<Metrics>,
    /// Topics that refused lately, and when they are tried again; until then nothing is sent there.
    refusing: Mutex<HashMap<String, Instant>>,
}

/// A record on its way, and the row that it tells.
struct Sent {
    id: i64,
    record: OutputRecord,
}

impl Topics {
    /// Makes the sink of a stream, whose events come from a topic.
    pub fn new(
        plan: Arc<Plan>,
        topic: String,
        topics: Arc<dyn OutputTopics>,
        metrics: Arc<Metrics>,
    ) -> Topics {
        let origin = Origin { stream: plan.name.to_string(), topic };
        Topics { plan, origin, topics, metrics, refusing: Mutex::default() }
    }

    fn outputs(&self) -> &Outputs {
        &self.plan.stream.outputs
    }

    /// Returns the records of a row, for all its topics.
    fn records(&self, told: &Told) -> Vec<OutputRecord> {
        let (row, outputs) = (&told.row, self.outputs());
        match (row.kind, &row.event) {
            (OutboxKind::Closed | OutboxKind::Corrected, _) => {
                let planned = self.plan.rollups.iter().find(|planned| planned.rollup.name == row.rollup);
                let (Some(closed), Some(planned)) = (&outputs.closed, planned) else { return Vec::new() };
                let Some(cell) = &told.cell else {
                    tracing::warn!(
                        rollup = %row.rollup, window_start = %row.window_start, dimensions = ?row.dimensions,
                        "a window was removed before its topic was told"
                    );
                    return Vec::new();
                };
                vec![output::cell_record(closed, &planned.rollup, row.kind, cell)]
            }
            (OutboxKind::Late, Some(event)) => {
                let topic = outputs.late.iter();
                topic.map(|topic| output::late_record(topic, &self.origin, row, event)).collect()
            }
            (OutboxKind::DeadLetter, Some(event)) => {
                let topics = outputs.dead_letters.iter();
                topics.map(|topic| output::dead_letter_record(topic, &self.origin, event)).collect()
            }
            (OutboxKind::Late | OutboxKind::DeadLetter, None) => Vec::new(),
        }
    }

    /// Returns whether a topic refused a moment ago.
    fn is_refusing(&self, topic: &str) -> bool {
        let refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
        refusing.get(topic).is_some_and(|until| Instant::now() < *until)
    }

    /// Produces records; returns those that are too large and those that their topics refuse.
    async fn produce(&self, sent: Vec<Sent>) -> Result<(Vec<Sent>, Vec<Sent>), PortError> {
        let records: Vec<OutputRecord> = sent.iter().map(|sent| sent.record.clone()).collect();
        let refused = self.topics.produce(&records).await?;
        self.metrics.output_records.add((records.len() - refused.len()) as u64);
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for refusal in &refused {
            let topic = records[refusal.index].topic.as_str();
            if !refusal.is_too_large && told.insert(topic) {
                tracing::error!(
                    stream = %self.plan.name, topic,
                    "a topic refuses records: {}; they wait, and are tried again every {} s",
                    refusal.why, REFUSED_PAUSE.as_secs()
                );
                let mut refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
                refusing.insert(topic.to_owned(), Instant::now() + REFUSED_PAUSE);
            }
        }
        let of: HashMap<usize, bool> =
            refused.iter().map(|refusal| (refusal.index, refusal.is_too_large)).collect();
        let (mut large, mut others) = (Vec::new(), Vec::new());
        for (index, sent) in sent.into_iter().enumerate() {
            match of.get(&index) {
                Some(true) => large.push(sent),
                Some(false) => others.push(sent),
                None => {}
            }
        }
        Ok((large, others))
    }
}

#[async_trait]
impl Sink for Topics {
    fn wants(&self, kind: OutboxKind) -> bool {
        self.outputs().wants(kind)
    }

    fn lanes(&self) -> Vec<String> {
        let topics: BTreeSet<&str> = self.outputs().topics().into_iter().collect();
        topics.into_iter().map(str::to_owned).collect()
    }

    async fn take(&self, lane: &str, told: &[Told]) -> Result<Vec<Parked>, PortError> {
        let mut waiting = Vec::new();
        let mut refused = Vec::new();
        for told in told {
            for record in self.records(told) {
                let sent = Sent { id: told.row.id, record };
                if lane == MAIN_LANE && self.is_refusing(&sent.record.topic) {
                    refused.push(sent);
                } else if lane == MAIN_LANE || lane == sent.record.topic {
                    waiting.push(sent);
                }
            }
        }
        for bytes_max in SHORT_BYTES.into_iter().map(Some).chain([None]) {
            if waiting.is_empty() {
                break;
            }
            let (large, others) = self.produce(std::mem::take(&mut waiting)).await?;
            refused.extend(others);
            match bytes_max {
                None => refused.extend(large),
                Some(bytes_max) => waiting.extend(large.into_iter().map(|sent| {
                    self.metrics.output_records_shortened.add(1);
                    tracing::warn!(
                        stream = %self.plan.name, topic = %sent.record.topic, bytes = sent.record.value.len(),
                        "a record is too large for its topic: it goes there cut short"
                    );
                    Sent { record: sent.record.shortened(bytes_max), ..sent }
                })),
            }
        }
        self.metrics.output_records_refused.add(refused.len() as u64);
        Ok(refused.into_iter().map(|sent| Parked { id: sent.id, topic: sent.record.topic }).collect())
    }
}
