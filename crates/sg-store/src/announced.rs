//! What the outbox is made of, the same for every backend: how far windows have been announced, and how kinds and
//! dimensions stand in a table.

use sg_core::ports::{ErrorKind, OutboxKind, PortError};
use sg_core::time::Timestamp;

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
}

/// Returns how a kind stands in the table.
pub(crate) fn kind_text(kind: OutboxKind) -> &'static str {
    match kind {
        OutboxKind::Closed => "closed",
        OutboxKind::Corrected => "corrected",
    }
}

/// Reads a kind from the table, whose check allows no other text.
pub(crate) fn kind_from(text: &str) -> OutboxKind {
    if text == "closed" { OutboxKind::Closed } else { OutboxKind::Corrected }
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
