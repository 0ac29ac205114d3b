//! The producers of other systems as forms of `simulate`: one table says what each sends, how often, and which of its
//! variables it minds. What is typed goes before a variable, a variable before the table.

use std::time::Duration;

use crate::generate::{Cast, Stream, broadcast};

/// A producer of another system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// hourly-aggregations: events at irregular intervals, until stopped
    Default,
    /// hourly-aggregations: EVENT_COUNT events (100000) as fast as they are answered
    Bulk,
    /// hourly-aggregations: TARGET_EVENT_COUNT events (5 million a day) spread over SIMULATION_DURATION_HOURS (1)
    Simulation,
    /// stream-metrics: EVENTS_PER_SEC (20) about STREAM_IDS (stream_1,stream_2,stream_3) and USER_COUNT users (500),
    /// until stopped
    Generator,
    /// event-platform: 300 events of 30 users, one a request, to http://127.0.0.1:8004/events
    SendEvents,
}

/// What a form is when nothing else is said.
#[derive(Debug)]
pub(super) struct Row {
    /// The name as it is typed.
    pub(super) name: &'static str,
    /// Where events go.
    pub(super) stream: Stream,
    /// How many; `None` for as many as come until somebody stops it.
    pub(super) events: Option<u64>,
    /// How many a day, where the number follows from how long it runs.
    pub(super) events_per_day: Option<u64>,
    /// Thousandths of an event per second.
    pub(super) rate_milli: Option<u64>,
    /// How long it runs.
    pub(super) duration: Option<Duration>,
    /// When events are sent.
    pub(super) rhythm: Rhythm,
    /// Whom they are about.
    pub(super) cast: Cast,
    /// Where the server is.
    pub(super) url: Option<&'static str>,
    /// The path for one event a request; batches go to the stream's own.
    pub(super) path: Option<&'static str>,
    /// Flags that make sense beside it, of those that do not make sense with every form.
    pub(super) takes: &'static [&'static str],
    /// Its variables, each with the flag that says the same.
    pub(super) variables: &'static [(&'static str, &'static str)],
}

/// When a form sends its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rhythm {
    /// As fast as they are answered, each dated when it is made.
    Rush,
    /// In bursts and pauses, each dated when it is made.
    Irregular,
    /// One as long after the other as the next.
    Even,
}

/// The variable that names the brokers, of every form that takes `--kafka`.
pub(in crate::cmd) const BROKERS: &str = "KAFKA_BOOTSTRAP_SERVERS";
/// The users of the event platform's script.
const SCRIPT_USERS: u64 = 30;
const HOUR: Duration = Duration::from_secs(3_600);

impl Form {
    /// Returns the form's row of the table.
    pub(super) fn row(self) -> Row {
        let plain = Row {
            name: "",
            stream: Stream::Web,
            events: None,
            events_per_day: None,
            rate_milli: None,
            duration: None,
            rhythm: Rhythm::Even,
            cast: Cast::Usual,
            url: None,
            path: None,
            takes: &[],
            variables: &[],
        };
        match self {
            Form::Default => Row {
                name: "default",
                rate_milli: Some(5_000),
                rhythm: Rhythm::Irregular,
                takes: &["events", "rate", "duration", "kafka"],
                ..plain
            },
            Form::Bulk => Row {
                name: "bulk",
                events: Some(100_000),
                rhythm: Rhythm::Rush,
                takes: &["events", "kafka", "batch"],
                variables: &[("EVENT_COUNT", "events")],
                ..plain
            },
            Form::Simulation => Row {
                name: "simulation",
                events_per_day: Some(5_000_000),
                duration: Some(HOUR),
                takes: &["events", "duration", "kafka", "batch"],
                variables: &[("TARGET_EVENT_COUNT", "events"), ("SIMULATION_DURATION_HOURS", "hours")],
                ..plain
            },
            Form::Generator => Row {
                name: "generator",
                stream: Stream::Broadcast,
                rate_milli: Some(20_000),
                cast: Cast::crowd(broadcast::STREAMS, broadcast::USERS),
                takes: &["events", "rate", "duration", "users", "stream-ids", "kafka", "batch"],
                variables: &[
                    ("EVENTS_PER_SEC", "rate"),
                    ("USER_COUNT", "users"),
                    ("STREAM_IDS", "stream-ids"),
                ],
                ..plain
            },
            Form::SendEvents => Row {
                name: "send-events",
                events: Some(300),
                rhythm: Rhythm::Rush,
                cast: Cast::Named { users: SCRIPT_USERS },
                url: Some("http://127.0.0.1:8004"),
                path: Some("/events"),
                takes: &["events", "rate", "users"],
                ..plain
            },
        }
    }
}

impl Row {
    /// Returns the variable that says the same as a flag.
    pub(super) fn variable(&self, flag: &str) -> Option<&'static str> {
        self.variables.iter().find(|(_, known)| *known == flag).map(|(name, _)| *name)
    }
}
