//! How near what the log removes has come to what is not processed or archived yet. Only warns: nobody is less ready for
//! it, and an embedded log removes nothing that is needed, but grows.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use sg_core::metrics::{head, line};
use sg_core::ports::{ArchivePosition, PartitionName, Pending, PortError, StatusDetail, StoreStatus};
use sg_core::time::Timestamp;

use crate::App;

/// Fewer records that wait are of the last moment, and no reason to warn.
const WAITING_MIN: u64 = 1_000;
/// Headroom that lasts no longer at the pace of the last minute is a reason to warn: somebody must have the time to act.
const LEFT_MIN_SECONDS: u64 = 3_600;
/// Between two looks by which the pace is told.
const PACE_MS: i64 = 30_000;

/// What was seen of each partition's headroom before, for its pace.
#[derive(Debug, Default)]
pub struct Headrooms(Mutex<HashMap<PartitionName, Paces>>);

/// A look some time ago, and one since.
#[derive(Debug, Clone, Copy)]
struct Paces {
    before: Option<(Timestamp, u64)>,
    last: (Timestamp, u64),
}

/// The headroom of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Headroom {
    stream: String,
    partition: u32,
    /// Records that the log holds.
    held: u64,
    /// Those of them that are processed and, where the stream is archived, in a file: what the log may lose.
    records: u64,
    /// Whether it is the archive that is behind.
    is_archive_behind: bool,
    /// Whether the log removes records, or would if they were not needed.
    is_removing: bool,
    /// Whether the log keeps what is needed.
    is_keeping: bool,
    /// How long it lasts at the pace of the last minute; `None` where it does not shrink, or that is not known yet.
    seconds_left: Option<u64>,
}

impl Headroom {
    fn waiting(&self) -> u64 {
        self.held - self.records
    }

    /// Returns the part of the log that it may lose; all of it while it removes nothing and while hardly anything waits.
    pub(crate) fn ratio(&self) -> f64 {
        if !self.is_removing || self.waiting() < WAITING_MIN {
            return 1.0;
        }
        self.records as f64 / self.held as f64
    }

    /// Returns a sentence for who should look; `None` where nobody need.
    pub(crate) fn warning(&self) -> Option<String> {
        let is_small = self.ratio() < 0.5;
        let is_soon = self.ratio() < 1.0 && self.seconds_left.is_some_and(|left| left < LEFT_MIN_SECONDS);
        if !is_small && (!is_soon || self.is_keeping) {
            return None;
        }
        let Headroom { stream, partition, held, .. } = self;
        let (waiting, done) = (self.waiting(), if self.is_archive_behind { "archived" } else { "processed" });
        let threat = if self.is_keeping {
            "it is larger or older than it is to be, and grows until the disk is full".to_owned()
        } else {
            let left = self.seconds_left.map(|left| format!(", the first of these in {left} s at this pace"));
            format!("it removes old ones{}", left.unwrap_or_default())
        };
        Some(format!(
            "{waiting} of the {held} records that the log holds of {stream}/{partition} are not {done} yet, and {threat}"
        ))
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "records": self.records,
            "held": self.held,
            "seconds_left": self.seconds_left,
            "warning": self.warning(),
        })
    }

    pub(crate) fn is_of(&self, stream: &str, partition: u32) -> bool {
        self.stream == stream && self.partition == partition
    }
}

/// Looks at every partition whose log answers.
pub(crate) async fn look(
    app: &App,
    status: &StoreStatus,
    pending: &[Pending],
) -> Result<Vec<Headroom>, PortError> {
    let positions =
        if app.archive.streams.is_empty() { Vec::new() } else { app.manifest.archive_positions().await? };
    let now = app.clock.now();
    let of = |pending: &Pending| {
        let mut headroom = measure(app, status, pending, &positions)?;
        headroom.seconds_left = app.headrooms.seconds_left(&headroom, now);
        Some(headroom)
    };
    Ok(pending.iter().filter_map(of).collect())
}

fn measure(
    app: &App,
    status: &StoreStatus,
    pending: &Pending,
    positions: &[ArchivePosition],
) -> Option<Headroom> {
    let (stream, partition, extent) = (&pending.stream, pending.partition, pending.extent?);
    let stored =
        status.partitions.iter().find(|known| known.stream == *stream && known.partition == partition);
    let processed = stored.map_or(extent.start, |known| known.next_offset);
    let is_archived = app.archive.streams.iter().any(|(archived, _)| archived == stream);
    let position = positions.iter().find(|known| known.stream == *stream && known.partition == partition);
    let archived = position.map_or(extent.start, |known| known.next_offset);
    let needed = if is_archived { processed.min(archived) } else { processed };
    let held = extent.end.saturating_sub(extent.start);
    Some(Headroom {
        stream: stream.clone(),
        partition,
        held,
        records: needed.saturating_sub(extent.start).min(held),
        is_archive_behind: is_archived && archived < processed,
        is_removing: if app.searches_log { extent.is_surplus } else { extent.start > 0 },
        is_keeping: app.searches_log,
        seconds_left: None,
    })
}

impl Headrooms {
    /// Returns how long a headroom lasts at the pace since a look before.
    fn seconds_left(&self, headroom: &Headroom, now: Timestamp) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = (now, headroom.records);
        let name = (headroom.stream.clone(), headroom.partition);
        let paces = seen.entry(name).or_insert(Paces { before: None, last });
        if now.0 - paces.last.0.0 >= PACE_MS {
            *paces = Paces { before: Some(paces.last), last };
        }
        let (at, records) = paces.before?;
        let passed_ms = u64::try_from(now.0 - at.0).ok()?;
        let shrunk = records.checked_sub(headroom.records).filter(|shrunk| *shrunk > 0)?;
        Some((u128::from(headroom.records) * u128::from(passed_ms) / u128::from(shrunk) / 1_000) as u64)
    }
}

/// Returns what somebody should look at before it is too late; nothing while the parts do not answer, which is said
/// elsewhere.
pub(crate) async fn warnings(app: &App) -> Vec<String> {
    let (Ok(status), Ok(pending)) =
        (app.store.status(StatusDetail::Marks).await, app.pipeline.pending().await)
    else {
        return Vec::new();
    };
    let headrooms = look(app, &status, &pending).await.unwrap_or_default();
    headrooms.iter().filter_map(Headroom::warning).collect()
}

/// Writes the metric; the same from whichever process it is asked.
pub(crate) fn render(out: &mut String, headrooms: &[Headroom]) {
    let name = "streamgauge_log_headroom_ratio";
    let help = "The part of the log's records that is processed and archived; 1 while it removes none or hardly any wait.";
    head(out, name, "gauge", help);
    for headroom in headrooms {
        let labels = format!("stream=\"{}\",partition=\"{}\"", headroom.stream, headroom.partition);
        line(out, format_args!("{name}{{{labels}}} {}", headroom.ratio()));
    }
}

#[cfg(test)]
mod tests;
