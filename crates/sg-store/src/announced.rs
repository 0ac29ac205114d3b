//! What the outbox is made of, the same for every backend: how far windows have been announced, and how kinds and
//! dimensions stand in a table.

use sg_core::flush::Flush;
use sg_core::ports::{ErrorKind, OutboxKind, PortError};
use sg_core::time::Timestamp;

use crate::rewriting::Gone;
use crate::unfit::Unfit;

/// Windows × dimensions of one rollup, in their order.
pub(crate) type Keys = Vec<(Timestamp, Vec<String>)>;

/// How far a rollup's windows have been announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Windows that start earlier have been announced.
    pub(crate) from: Timestamp,
    /// Of the window that starts at `from`, the dimensions up to these.
    pub(crate) key: Option<Vec<String>>,
}

impl Announced {
    /// Returns whether a window × dimensions has been announced.
    pub(crate) fn includes(&self, start: Timestamp, dimensions: &[String]) -> bool {
        start < self.from || (start == self.from && self.key.as_deref().is_some_and(|key| dimensions <= key))
    }

    /// Returns those of the windows × dimensions without a cell that have been announced.
    pub(crate) fn of_gone<'g>(&self, gone: &'g Gone) -> Vec<(&'g (Timestamp, Vec<String>), u64)> {
        let told = gone.iter().filter(|((start, dimensions), _)| self.includes(*start, dimensions));
        told.map(|(key, revision)| (key, *revision)).collect()
    }
}

/// Reads a kind from the table, where it stands by its name.
pub(crate) fn kind_from(text: &str) -> Result<OutboxKind, PortError> {
    let found = OutboxKind::ALL.into_iter().find(|kind| kind.name() == text);
    found.ok_or_else(|| {
        let doing = format!("reading the outbox: {text:?} is no kind of row");
        PortError::new(ErrorKind::Corrupt, doing)
    })
}

/// An event that a flush puts into the outbox, for a topic.
pub(crate) struct Told<'a> {
    /// Why.
    pub(crate) kind: OutboxKind,
    /// The rollup, the start of the window and the dimensions, of a late event.
    pub(crate) window: Option<(&'a str, Timestamp, &'a [String])>,
    /// Its place in the partition.
    pub(crate) offset: u64,
    /// The key of its record.
    pub(crate) key: Option<&'a [u8]>,
    /// The event id.
    pub(crate) event_id: &'a str,
    /// When the door received it.
    pub(crate) received_at: Timestamp,
    /// Why it is a dead letter.
    pub(crate) reason: &'static str,
    /// The reason in one sentence.
    pub(crate) detail: &'a str,
    /// The event as sent.
    pub(crate) raw: &'a [u8],
}

/// Returns the events of a flush for which its stream has a topic.
pub(crate) fn told(flush: &Flush) -> Vec<Told<'_>> {
    let outputs = &flush.plan.stream.outputs;
    let mut told = Vec::new();
    if outputs.wants(OutboxKind::Late) {
        for (planned, delta) in flush.plan.rollups.iter().zip(&flush.rollups) {
            told.extend(delta.late.iter().map(|late| Told {
                kind: OutboxKind::Late,
                window: Some((&planned.rollup.name, late.window_start, &late.dimensions)),
                offset: late.offset,
                key: late.key.as_deref(),
                event_id: &late.event_id,
                received_at: late.received_at,
                reason: "",
                detail: "",
                raw: &late.raw,
            }));
        }
    }
    if outputs.wants(OutboxKind::DeadLetter) {
        told.extend(flush.dead_letters.iter().map(|letter| Told {
            kind: OutboxKind::DeadLetter,
            window: None,
            offset: letter.offset,
            key: letter.key.as_deref(),
            event_id: &letter.event_id,
            received_at: letter.received_at,
            reason: letter.code.as_str(),
            detail: &letter.detail,
            raw: &letter.raw,
        }));
    }
    told
}

/// Returns texts as a JSON array.
pub(crate) fn texts_to_json(texts: &[String]) -> Result<String, Unfit> {
    serde_json::to_string(texts).map_err(|error| Unfit(format!("dimensions as JSON: {error}")))
}

/// Reads texts from a JSON array that [`texts_to_json`] wrote.
pub(crate) fn texts_from_json(json: &str) -> Result<Vec<String>, PortError> {
    serde_json::from_str(json)
        .map_err(|error| PortError::from_source(ErrorKind::Corrupt, "reading dimensions", error))
}
