//! Pageviews: the meters of its producer. Its paths, the shape of a pageview and the empty answer are the stream's
//! definition, and posting is `ingest`'s.

use sg_core::metrics::WriterMetrics;

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
    produced.into_iter().chain(archive_meters(app)).collect()
}

/// The meters of what writes files, by the writer.
fn archive_meters(app: &App) -> Vec<Meter> {
    if app.archive.is_off() {
        return Vec::new();
    }
    let metrics = &app.archive.metrics;
    let writers = [("raw", &metrics.raw), ("aggregate", &metrics.aggregate), ("late", &metrics.late)];
    let meter = |name, description, count: fn(&WriterMetrics) -> u64| Meter {
        name,
        description,
        tag: "writer",
        values: writers.iter().map(|(name, writer)| (*name, count(writer))).collect(),
    };
    vec![
        meter("s3.writes", "Files written to the archive", |writer| writer.writes.get()),
        meter("s3.errors", "Writes to the archive that failed", |writer| writer.errors.get()),
        meter("s3.write.duration", "Writes to the archive that were timed", |writer| writer.duration.count()),
    ]
}
