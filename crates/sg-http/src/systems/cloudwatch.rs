//! What is published to CloudWatch, under the names that alarms of pageviews are set on. Reads only; who publishes it, and how,
//! is not its business.

use sg_core::metrics::Histogram;
use sg_core::ports::StatusDetail;

use super::pageviews;
use crate::App;
use crate::health::judge;

/// One number as it stands now.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The metric.
    pub name: &'static str,
    /// What it is of: a tag and its value; `None` is of all.
    pub tag: Option<(&'static str, &'static str)>,
    /// The number.
    pub measured: Measured,
}

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measured {
    /// It only grows.
    Grown(u64),
    /// How often something was done, and how long that took in all.
    Took {
        /// Times.
        times: u64,
        /// Milliseconds.
        ms: f64,
    },
    /// It is so now.
    Is(u64),
}

const DURATION: &str = "s3.write.duration";

/// Returns all that there is to publish of this process; what it does not do has no readings.
pub async fn readings(app: &App) -> Vec<Reading> {
    let mut readings = Vec::new();
    for meter in pageviews::meters(app).iter().filter(|meter| meter.name != DURATION) {
        let of = |tag, count| Reading { name: meter.name, tag, measured: Measured::Grown(count) };
        readings.push(of(None, meter.values.iter().map(|(_, count)| count).sum()));
        readings.extend(meter.values.iter().map(|(value, count)| of(Some((meter.tag, *value)), *count)));
    }
    if !app.archive.streams.is_empty() {
        readings.extend(durations(app));
    }
    if app.roles.process {
        readings.extend(standing(app).await);
    }
    readings
}

fn durations(app: &App) -> Vec<Reading> {
    let metrics = &app.archive.metrics;
    let writers = [("raw", &metrics.raw), ("aggregate", &metrics.aggregate), ("late", &metrics.late)];
    let took = |duration: &Histogram| (duration.count(), duration.mean_ms() * duration.count() as f64);
    let of = |tag, (times, ms)| Reading { name: DURATION, tag, measured: Measured::Took { times, ms } };
    let all = writers.map(|(_, writer)| took(&writer.duration));
    let all = all.iter().fold((0, 0.0), |sum, took| (sum.0 + took.0, sum.1 + took.1));
    let each = writers.map(|(name, writer)| of(Some(("writer", name)), took(&writer.duration)));
    std::iter::once(of(None, all)).chain(each).collect()
}

/// Whether events are counted by this process, and how many wait for that anywhere.
async fn standing(app: &App) -> Vec<Reading> {
    let status = app.store.status(StatusDetail::Marks).await;
    let pending = app.pipeline.pending().await;
    let standing = judge(app, app.roles, Some(&status), Some(&pending));
    let is_up = standing.store.is_none() && standing.log.is_none() && standing.partitions.is_empty();
    let of = |name, number| Reading { name, tag: None, measured: Measured::Is(number) };
    let mut readings = vec![of("streams.up", u64::from(is_up))];
    if let (Ok(status), Ok(pending)) = (status, pending) {
        let lag = pending.iter().filter_map(|pending| {
            let extent = pending.extent?;
            let (stream, number) = (&pending.stream, pending.partition);
            let its = |stored: &&sg_core::ports::PartitionStatus| {
                stored.stream == *stream && stored.partition == number
            };
            let stored = status.partitions.iter().find(its).map_or(extent.start, |stored| stored.next_offset);
            Some(extent.end.saturating_sub(stored))
        });
        readings.push(of("consumer.lag", lag.sum()));
    }
    readings
}
