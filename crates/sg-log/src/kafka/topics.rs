//! Makes and checks topics, for an operator's command. Never changes a number of partitions, and never wipes a
//! setting: rdkafka can only set all of a topic's settings at once, so those that were made by hand are sent again.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use sg_core::ports::{ErrorKind, PortError};

use super::fault::{invalid, retry, unusable};
use super::questions::{Described, Questions};
use super::{KafkaOptions, settings};

/// How long one request to the brokers may take.
const REQUEST_WAIT: Duration = Duration::from_secs(30);
const TIME_TYPE: &str = "message.timestamp.type";
const LOG_APPEND_TIME: &str = "LogAppendTime";

/// Whether anything may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only tells what would be done.
    Check,
    /// Makes missing topics and corrects settings.
    Change,
}

/// How topics are to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Partitions of topics that are made.
    pub partitions: u32,
    /// Copies of each record; `None`: three, or as many as there are brokers.
    pub replication: Option<u16>,
    /// By topic: how long records must be kept, so that duplicates are known as such; topics not named are not checked.
    pub retention_min: Vec<(String, Duration)>,
    /// Topics that are written for others: they need no time of the broker's, and nothing of theirs is changed.
    pub outputs: Vec<String>,
}

/// What was found of a topic, and done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// The topic.
    pub topic: String,
    /// What happened to it.
    pub state: TopicState,
    /// Its partitions now; none if it is missing.
    pub partitions: u32,
    /// What the operator should know or do, in words.
    pub notes: Vec<String>,
}

/// What happened to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicState {
    /// It was as it should be.
    Right,
    /// It was made.
    Made,
    /// It was there and its settings were corrected.
    Corrected,
    /// It is not there, and only a check was asked for.
    Missing,
    /// Its settings are wrong: only a check was asked for, or they cannot be corrected from here.
    Wrong,
}

struct Admin {
    client: AdminClient<DefaultClientContext>,
    options: AdminOptions,
    questions: Arc<Questions>,
}

/// What the brokers have of one topic.
struct Found {
    described: Described,
    settings: ConfigResource,
}

/// Makes missing topics and corrects settings that exactness rests on, or only tells.
///
/// # Errors
/// [`ErrorKind::Invalid`] for options that cannot be, [`ErrorKind::Retry`] when brokers cannot be reached or refuse.
pub async fn ensure(
    options: &KafkaOptions,
    wanted: &Wanted,
    mode: Mode,
) -> Result<Vec<TopicReport>, PortError> {
    settings::check(options)?;
    let admin = Admin::new(options)?;
    let brokers = admin.brokers().await?;
    let mut reports = Vec::with_capacity(options.topics.len() + wanted.outputs.len());
    for topic in &options.topics {
        let name = topic.topic.as_str();
        let report = match admin.find(name).await? {
            None if mode == Mode::Check => missing(name),
            None => admin.make(name, wanted, brokers).await?,
            Some(found) => admin.correct(name, &found, wanted, mode).await?,
        };
        reports.push(report);
    }
    for name in &wanted.outputs {
        let report = match admin.find(name).await? {
            None if mode == Mode::Check => missing(name),
            None => admin.make(name, wanted, brokers).await?,
            Some(found) => right(name, &found),
        };
        reports.push(report);
    }
    Ok(reports)
}

fn missing(topic: &str) -> TopicReport {
    let notes = vec!["the topic does not exist; `streamgauge topics ensure` makes it".to_owned()];
    TopicReport { topic: topic.to_owned(), state: TopicState::Missing, partitions: 0, notes }
}

/// An output topic is its readers': that it is there is all that is asked.
fn right(topic: &str, found: &Found) -> TopicReport {
    let partitions = found.described.partitions;
    TopicReport { topic: topic.to_owned(), state: TopicState::Right, partitions, notes: Vec::new() }
}

impl Admin {
    fn new(options: &KafkaOptions) -> Result<Admin, PortError> {
        let client = AdminClient::from_config(&settings::admin(options))
            .map_err(|error| unusable("make a kafka admin client", error))?;
        let (ids, stats) = (Arc::default(), Arc::default());
        let questions = Arc::new(Questions::new(&settings::questions(options), ids, stats)?);
        let options =
            AdminOptions::new().request_timeout(Some(REQUEST_WAIT)).operation_timeout(Some(REQUEST_WAIT));
        Ok(Admin { client, options, questions })
    }

    async fn brokers(&self) -> Result<usize, PortError> {
        let questions = self.questions.clone();
        super::blocking("ask kafka for its brokers", move || questions.brokers()).await
    }

    async fn find(&self, topic: &str) -> Result<Option<Found>, PortError> {
        let (questions, name) = (self.questions.clone(), topic.to_owned());
        let described = super::blocking("ask kafka for a topic", move || questions.describe(&name));
        let Some(described) = described.await? else { return Ok(None) };
        let doing = || format!("read the settings of the kafka topic {topic}");
        let found = self.client.describe_configs(&[ResourceSpecifier::Topic(topic)], &self.options).await;
        let settings = found
            .map_err(|error| retry(doing(), error))?
            .pop()
            .ok_or_else(|| PortError::new(ErrorKind::Retry, doing()))?
            .map_err(|code| refused(doing(), code))?;
        Ok(Some(Found { described, settings }))
    }

    async fn make(&self, topic: &str, wanted: &Wanted, brokers: usize) -> Result<TopicReport, PortError> {
        let replication = wanted.replication.map_or(brokers.clamp(1, 3), usize::from);
        let partitions = i32::try_from(wanted.partitions).ok().filter(|count| *count > 0);
        let partitions = partitions.ok_or_else(|| {
            invalid(format!(
                "make the kafka topic {topic} with {} partitions: give at least 1",
                wanted.partitions
            ))
        })?;
        let copies = i32::try_from(replication).unwrap_or(i32::MAX);
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
        if !wanted.outputs.iter().any(|output| output == topic) {
            new = new.set(TIME_TYPE, LOG_APPEND_TIME);
        }
        let mut notes =
            vec![format!("made with {partitions} partitions and {replication} copies of each record")];
        if replication >= 3 {
            new = new.set("min.insync.replicas", "2");
        } else {
            notes.push("fewer than three copies: a lost disk loses what it alone held".to_owned());
        }
        let retention = retention_min(topic, wanted).map(|kept| kept.as_millis());
        // The brokers' own default is seven days: longer horizons need it said.
        let retention_text = retention.filter(|ms| *ms > WEEK.as_millis()).map(|ms| ms.to_string());
        if let Some(ms) = &retention_text {
            new = new.set("retention.ms", ms);
        }
        let doing = || format!("make the kafka topic {topic}");
        let made = self.client.create_topics(&[new], &self.options).await;
        match made.map_err(|error| retry(doing(), error))?.pop() {
            Some(Ok(_)) => {}
            Some(Err((_, code))) => return Err(refused(doing(), code)),
            None => return Err(PortError::new(ErrorKind::Retry, doing())),
        }
        Ok(TopicReport {
            topic: topic.to_owned(),
            state: TopicState::Made,
            partitions: wanted.partitions,
            notes,
        })
    }

    async fn correct(
        &self,
        topic: &str,
        found: &Found,
        wanted: &Wanted,
        mode: Mode,
    ) -> Result<TopicReport, PortError> {
        let mut notes = notes_of(topic, found, wanted);
        let time_type = value_of(&found.settings, TIME_TYPE).unwrap_or_default();
        let state = if time_type == LOG_APPEND_TIME {
            TopicState::Right
        } else if mode == Mode::Check {
            notes.push(format!("{TIME_TYPE} is {time_type}: `streamgauge topics ensure` corrects it"));
            TopicState::Wrong
        } else if let Some(hidden) = hidden(&found.settings) {
            notes.push(format!(
                "{TIME_TYPE} is {time_type} and cannot be set from here without wiping {hidden}, whose value the \
                 brokers hide; set it with `kafka-configs.sh --alter --entity-type topics --entity-name {topic} \
                 --add-config {TIME_TYPE}={LOG_APPEND_TIME}`"
            ));
            TopicState::Wrong
        } else {
            self.set_time_type(topic, &found.settings).await?;
            notes.push(format!(
                "{TIME_TYPE} was {time_type} and is {LOG_APPEND_TIME} now; records from before still stop a partition"
            ));
            TopicState::Corrected
        };
        Ok(TopicReport { topic: topic.to_owned(), state, partitions: found.described.partitions, notes })
    }

    async fn set_time_type(&self, topic: &str, settings: &ConfigResource) -> Result<(), PortError> {
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for entry in
            settings.entries.iter().filter(|entry| is_by_hand(&entry.source) && entry.name != TIME_TYPE)
        {
            if let Some(value) = &entry.value {
                alter = alter.set(&entry.name, value);
            }
        }
        let alter = alter.set(TIME_TYPE, LOG_APPEND_TIME);
        let doing = || format!("set {TIME_TYPE} of the kafka topic {topic}");
        let altered = self.client.alter_configs(&[alter], &self.options).await;
        match altered.map_err(|error| retry(doing(), error))?.pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err((_, code))) => Err(refused(doing(), code)),
            None => Err(PortError::new(ErrorKind::Retry, doing())),
        }
    }
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Returns what the operator should know of a topic that is there.
fn notes_of(topic: &str, found: &Found, wanted: &Wanted) -> Vec<String> {
    let mut notes = Vec::new();
    if found.described.partitions != wanted.partitions {
        notes.push(format!(
            "it has {} partitions and {} are wanted: left as it is, because a change moves keys to other partitions",
            found.described.partitions, wanted.partitions
        ));
    }
    if wanted.replication.is_some_and(|copies| usize::from(copies) != found.described.replicas) {
        notes.push(format!("each record has {} copies: left as it is", found.described.replicas));
    }
    let number = |name: &str| value_of(&found.settings, name).and_then(|value| value.parse::<i64>().ok());
    let kept_ms = number("retention.ms").unwrap_or(-1);
    if let Some(least) = retention_min(topic, wanted) {
        let least_ms = i64::try_from(least.as_millis()).unwrap_or(i64::MAX);
        if kept_ms >= 0 && kept_ms < least_ms {
            notes.push(format!(
                "retention.ms is {kept_ms}, less than the {least_ms} over which duplicates are to be known: raise it"
            ));
        }
    }
    if number("retention.bytes").is_some_and(|bytes| bytes >= 0) {
        notes.push("retention.bytes is set: records may go before they are counted".to_owned());
    }
    if value_of(&found.settings, "cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        notes
            .push("cleanup.policy compacts: earlier events of a key go missing; set it to delete".to_owned());
    }
    if found.described.replicas >= 3 && number("min.insync.replicas").is_some_and(|count| count < 2) {
        notes.push(
            "min.insync.replicas is 1: an acknowledged record may stand on one disk only; set it to 2"
                .to_owned(),
        );
    }
    notes
}

fn retention_min(topic: &str, wanted: &Wanted) -> Option<Duration> {
    wanted.retention_min.iter().find(|(name, _)| name == topic).map(|(_, kept)| *kept)
}

fn value_of<'a>(settings: &'a ConfigResource, name: &str) -> Option<&'a str> {
    settings.get(name)?.value.as_deref()
}

/// Returns whether a setting was made for the topic, so that setting others would wipe it.
fn is_by_hand(source: &ConfigSource) -> bool {
    matches!(source, ConfigSource::DynamicTopic | ConfigSource::Unknown)
}

/// Returns the name of a setting made by hand whose value the brokers do not tell.
fn hidden(settings: &ConfigResource) -> Option<&str> {
    let is_hidden = |entry: &&rdkafka::admin::ConfigEntry| {
        is_by_hand(&entry.source) && (entry.is_sensitive || entry.value.is_none())
    };
    settings.entries.iter().find(is_hidden).map(|entry| entry.name.as_str())
}

fn refused(doing: String, code: RDKafkaErrorCode) -> PortError {
    PortError::from_source(ErrorKind::Retry, format!("{doing}: the brokers refuse"), code)
}
