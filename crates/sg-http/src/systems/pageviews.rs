//! Pageviews: the meters of its producer. Its paths, the shape of a pageview and the empty answer are the stream's
//! definition, and posting is `ingest`'s.

use crate::App;

/// The stream whose events are pageviews.
const STREAM: &str = "pageviews";

/// A counter with one tag.
pub(super) struct Meter {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) tag: &'static str,
    /// The tag's values, each with its count.
    pub(super) values: Vec<(&'static str, u64)>,
}

/// Returns the meters there are: what is not configured has none.
pub(super) fn meters(app: &App) -> Vec<Meter> {
    let door = app.doors.iter().find(|door| door.plan.stream.name == STREAM);
    let produced = door.map(|door| Meter {
        name: "pageviews.produced",
        description: "Pageviews that are durable in the log",
        tag: "endpoint",
        values: vec![("batch", door.taken_in_batches.get()), ("single", door.taken_singly.get())],
    });
    produced.into_iter().collect()
}
