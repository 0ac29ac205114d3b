//! The load tests of other systems as forms of `load`: one table says what each sends and how.

/// A load test of another system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// event-platform: 50 events/s for 10 s, one a request, each in the words of that platform
    EventPlatform,
    /// web-analytics: 2000 events/s for 10 s, one a request, in groups of 100 at once; compares what was accepted with
    /// what /metrics/stream tells at the start and at the end
    WebAnalytics,
}

/// What a form is when nothing else is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Events per second.
    pub(super) rate: u64,
    /// Connections.
    pub(super) connections: u64,
    /// How the connections go together.
    pub(super) turns: Turns,
    /// How an event looks.
    pub(super) wording: Wording,
}

/// How the connections of a load go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turns {
    /// Each for itself.
    Alone,
    /// All at once, and none again before all are answered.
    Together,
}

/// How an event looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wording {
    /// As our own: with an id.
    Own,
    /// `user_id`, `event_name`, `metadata`, `timestamp`; the server makes the id of them.
    EventPlatform,
    /// `sessionId`, `eventType`, `payload`; the server gives id and time.
    WebAnalytics,
}

impl Form {
    /// Returns the form's row of the table.
    pub(super) fn row(self) -> Row {
        match self {
            Form::EventPlatform => {
                Row { rate: 50, connections: 8, turns: Turns::Alone, wording: Wording::EventPlatform }
            }
            Form::WebAnalytics => {
                Row { rate: 2_000, connections: 100, turns: Turns::Together, wording: Wording::WebAnalytics }
            }
        }
    }
}
