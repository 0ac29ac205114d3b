//! Which topic a name stands for. A topic that was deleted and made again has the same name and another id; rdkafka
//! does not give ids out, and librdkafka goes on reading in the new topic at the old offset without a word but for one
//! line of its debug log (2.12, `rdkafka_topic.c`: "Topic %s changed id from %s to %s"), which also tells the first id
//! it learns. That line is read here; a test on a real broker fails when its wording changes.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::shared::lock;

/// The id of a topic that librdkafka knows nothing of yet: sixteen zero bytes in base64.
const ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAA";
/// The log facility of the line.
const FACILITY: &str = "METADATA";

/// The topics' ids as one consumer learned them.
#[derive(Debug, Default)]
pub(super) struct TopicIds(Mutex<HashMap<String, Known>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// The first id learned, which all readers of this process mean.
    id: String,
    /// The id of the topic that took its place.
    made_again: Option<String>,
}

impl TopicIds {
    /// Takes note of a line of librdkafka's log; returns the topic's name when the line says that it was made again.
    pub(super) fn note(&self, facility: &str, text: &str) -> Option<String> {
        if facility != FACILITY {
            return None;
        }
        let (topic, from, to) = parse(text)?;
        let mut known = lock(&self.0);
        let first = if from == ZERO { to } else { from };
        let known =
            known.entry(topic.to_owned()).or_insert_with(|| Known { id: first.to_owned(), made_again: None });
        if known.id == to {
            return None;
        }
        known.made_again = Some(to.to_owned());
        Some(topic.to_owned())
    }

    /// Returns the first id learned of a topic.
    pub(super) fn id(&self, topic: &str) -> Option<String> {
        lock(&self.0).get(topic).map(|known| known.id.clone())
    }

    /// Returns both ids of a topic that was made again since its first was learned.
    pub(super) fn made_again(&self, topic: &str) -> Option<(String, String)> {
        let known = lock(&self.0);
        let known = known.get(topic)?;
        Some((known.id.clone(), known.made_again.clone()?))
    }
}

/// Reads `[thrd:main]: Topic NAME changed id from ID to ID`.
fn parse(text: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = text.split_once("Topic ")?;
    let (topic, ids) = rest.split_once(" changed id from ")?;
    let (from, to) = ids.split_once(" to ")?;
    Some((topic, from.trim(), to.trim()))
}

#[cfg(test)]
mod tests;
