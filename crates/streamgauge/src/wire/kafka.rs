//! From settings to the log on Kafka: its options, its topics, and the log itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use sg_core::plan::Plan;
use sg_core::ports::{EventLog, PortError};
use sg_log::kafka::topics::{self, Mode, Wanted};
pub(crate) use sg_log::kafka::topics::{TopicReport, TopicState};
use sg_log::kafka::{KafkaLog, KafkaOptions, KafkaOutputs, Topic};

use super::{Failure, LogParts, patiently};
use crate::config::Settings;
use crate::config::settings::StreamSettings;

/// Bytes of events that wait for the brokers: what some seconds bring, then the door refuses more.
const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;

/// Bytes of records read ahead for the archive, over all partitions: files need no low latency.
const ARCHIVE_READ_BYTES_MAX: usize = 16 << 20;

/// Opens the log. Topics that are not there are made; those that are there are left as they are.
pub(super) async fn open(
    settings: &Settings,
    brokers: &str,
    plans: &[Arc<Plan>],
) -> Result<LogParts, Failure> {
    let options = options(settings, brokers, plans);
    if settings.roles.ingest || settings.roles.process {
        patiently("looking at the topics", || make_missing(settings, &options)).await?;
    }
    let outputs = Arc::new(KafkaOutputs::open(&options).map_err(Failure::of_port)?);
    let again = options.clone();
    let log = Arc::new(KafkaLog::open(options).map_err(Failure::of_port)?);
    let stats = log.clone();
    Ok(LogParts {
        another: Arc::new(move || Ok(Arc::new(KafkaLog::open(again.clone())?))),
        failure: None,
        outputs: Some(outputs),
        metrics: Arc::new(move |out| stats.stats().render(out)),
        log,
        name: "kafka",
        is_own: false,
    })
}

async fn make_missing(settings: &Settings, options: &KafkaOptions) -> Result<(), PortError> {
    let mut wanted = wanted(settings);
    let found = topics::ensure(options, &wanted, Mode::Check).await?;
    let mut missing = options.clone();
    missing.topics.retain(|topic| {
        found.iter().any(|report| report.topic == topic.topic && report.state == TopicState::Missing)
    });
    for report in found.iter().filter(|report| report.state == TopicState::Wrong) {
        tracing::error!("{}", line(report));
    }
    wanted.outputs.retain(|topic| {
        found.iter().any(|report| report.topic == *topic && report.state == TopicState::Missing)
    });
    for report in topics::ensure(&missing, &wanted, Mode::Change).await? {
        tracing::info!("{}", line(&report));
    }
    Ok(())
}

/// Opens the log to write to the topics of some streams, as they are.
pub(crate) fn writer(
    settings: &Settings,
    brokers: &str,
    plans: &[Arc<Plan>],
) -> Result<Arc<dyn EventLog>, PortError> {
    let mut options = options(settings, brokers, plans);
    options.topics.retain(|topic| plans.iter().any(|plan| *plan.name == *topic.stream));
    Ok(Arc::new(KafkaLog::open(options)?))
}

/// Opens the log a second time, for archivers: they read the same partitions as the fold does, share them among
/// themselves in a group of their own, and keep little in memory.
pub(super) fn archive_log(
    settings: &Settings,
    brokers: &str,
    plans: &[Arc<Plan>],
) -> Result<Arc<dyn EventLog>, PortError> {
    let mut options = options(settings, brokers, plans);
    let archived = settings.archived();
    options.topics.retain(|topic| archived.iter().any(|(stream, ..)| stream.stream.name == topic.stream));
    options.group += ".archive";
    options.read_bytes_max = options.read_bytes_max.min(ARCHIVE_READ_BYTES_MAX);
    Ok(Arc::new(KafkaLog::open(options)?))
}

/// Makes the topics of all streams that are not there, and corrects those that are.
pub(crate) async fn ensure(
    settings: &Settings,
    brokers: &str,
    plans: &[Arc<Plan>],
) -> Result<Vec<TopicReport>, PortError> {
    topics::ensure(&options(settings, brokers, plans), &wanted(settings), Mode::Change).await
}

/// Tells what of the topics is missing or wrong, and changes nothing.
pub(crate) async fn check(
    settings: &Settings,
    brokers: &str,
    plans: &[Arc<Plan>],
) -> Result<Vec<TopicReport>, PortError> {
    topics::ensure(&options(settings, brokers, plans), &wanted(settings), Mode::Check).await
}

/// Returns a topic's report as a line for people.
pub(crate) fn line(report: &TopicReport) -> String {
    let state = match report.state {
        TopicState::Right => "right",
        TopicState::Made => "made",
        TopicState::Corrected => "corrected",
        TopicState::Missing => "missing",
        TopicState::Wrong => "wrong",
    };
    let notes: String = report.notes.iter().map(|note| format!("; {note}")).collect();
    format!("topic {}: {state}, {} partitions{notes}", report.topic, report.partitions)
}

fn wanted(settings: &Settings) -> Wanted {
    let horizon = |stream: &StreamSettings| (stream.topic.clone(), stream.stream.dedup.horizon);
    let outputs = settings.streams.iter().flat_map(|stream| stream.stream.outputs.topics());
    let outputs: BTreeSet<String> = outputs.map(str::to_owned).collect();
    Wanted {
        outputs: outputs.into_iter().collect(),
        partitions: settings.kafka.partitions,
        replication: settings.kafka.replication,
        retention_min: settings.streams.iter().map(horizon).collect(),
    }
}

fn options(settings: &Settings, brokers: &str, plans: &[Arc<Plan>]) -> KafkaOptions {
    let topic_of =
        |stream: &StreamSettings| Topic { stream: stream.stream.name.clone(), topic: stream.topic.clone() };
    KafkaOptions {
        brokers: brokers.to_owned(),
        group: settings.kafka.group.clone(),
        topics: settings.streams.iter().map(topic_of).collect(),
        plans: plans.to_vec(),
        properties: settings.kafka.properties.clone(),
        in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
        read_bytes_max: settings.kafka.read_ahead_bytes as usize,
        session_timeout: settings.kafka.session_timeout,
    }
}
