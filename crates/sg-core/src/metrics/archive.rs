//! What the archive of this process has done, and where it stands.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Counter, Histogram, head, line};
use crate::archive::FileKind;
use crate::time::Timestamp;

/// The counters of an archive, and how far each partition is.
#[derive(Debug, Default)]
pub struct ArchiveMetrics {
    /// Files of raw events.
    pub raw: WriterMetrics,
    /// Files of windows that became final.
    pub aggregate: WriterMetrics,
    /// Files of late events.
    pub late: WriterMetrics,
    /// Records in files of the manifest.
    pub records: Counter,
    /// Bytes in files of the manifest.
    pub bytes: Counter,
    /// Files deleted: written in vain, or older than is kept.
    pub deleted: Counter,
    partitions: Mutex<BTreeMap<(String, u32), ArchiverStanding>>,
    /// Why the files of lines get no further at the moment, by stream and kind; it is tried again.
    lanes: Mutex<BTreeMap<(String, FileKind), Option<String>>>,
}

/// What one kind of file counts.
#[derive(Debug, Default)]
pub struct WriterMetrics {
    /// Files written.
    pub writes: Counter,
    /// Writes that failed, each try counted.
    pub errors: Counter,
    /// One write, companion included.
    pub duration: Histogram,
}

/// Where the archiver of one partition stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiverStanding {
    /// The first offset that is in no file.
    pub next_offset: u64,
    /// A of the oldest record that it has seen and that is in no file.
    pub oldest: Option<Timestamp>,
    /// Why nothing gets further at the moment; it is tried again.
    pub failing: Option<String>,
    /// Why the partition stands still for good.
    pub stopped: Option<String>,
}

impl ArchiveMetrics {
    /// Takes note of where an archiver stands.
    pub fn stands(&self, stream: &str, partition: u32, change: impl FnOnce(&mut ArchiverStanding)) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        change(partitions.entry((stream.to_owned(), partition)).or_default());
    }

    /// Forgets an archiver: the partition is another process's.
    pub fn leaves(&self, stream: &str, partition: u32) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.remove(&(stream.to_owned(), partition));
    }

    /// Returns where every archiver of this process stands.
    pub fn standings(&self) -> BTreeMap<(String, u32), ArchiverStanding> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what the writers of a kind of file count.
    pub fn writer(&self, kind: FileKind) -> &WriterMetrics {
        match kind {
            FileKind::Raw => &self.raw,
            FileKind::Closed => &self.aggregate,
            FileKind::Late => &self.late,
        }
    }

    /// Takes note of why files of lines get no further; returns whether that is news.
    pub fn lane_stands(&self, stream: &str, kind: FileKind, failing: Option<String>) -> bool {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_failing = failing.is_some();
        let before = lanes.insert((stream.to_owned(), kind), failing).flatten();
        is_failing && before.is_none()
    }

    /// Returns why files of lines of this process get no further, by stream and kind.
    pub fn lanes(&self) -> BTreeMap<(String, FileKind), Option<String>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns everything that keeps files from being written, one sentence a partition or kind of file.
    pub fn faults(&self) -> Vec<String> {
        let standings = self.standings();
        let fault = |((stream, partition), standing): (&(String, u32), &ArchiverStanding)| {
            let why = standing.stopped.as_ref().or(standing.failing.as_ref())?;
            Some(format!("the archive of partition {partition} of {stream} does not get on: {why}"))
        };
        let lane = |((stream, kind), failing): ((String, FileKind), Option<String>)| {
            let why = failing?;
            Some(format!("the archive's {} files of {stream} do not get on: {why}", kind.name()))
        };
        standings.iter().filter_map(fault).chain(self.lanes().into_iter().filter_map(lane)).collect()
    }

    /// Writes all of it in the Prometheus text format.
    pub fn render(&self, now: Timestamp, out: &mut String) {
        let writers = [("raw", &self.raw), ("aggregate", &self.aggregate), ("late", &self.late)];
        let mut count = |name: &str, help: &str, counts: [&Counter; 3]| {
            head(out, name, "counter", help);
            for ((kind, _), counted) in writers.iter().zip(counts) {
                line(out, format_args!("{name}{{writer=\"{kind}\"}} {}", counted.get()));
            }
        };
        let writes = writers.map(|(_, writer)| &writer.writes);
        count("streamgauge_archive_writes_total", "Files written to the archive.", writes);
        let errors = writers.map(|(_, writer)| &writer.errors);
        count("streamgauge_archive_errors_total", "Writes to the archive that failed.", errors);
        let help = "One write of a file of raw events, its companion included.";
        self.raw.duration.render("streamgauge_archive_write_duration_seconds", help, out);
        self.records.render("streamgauge_archive_records_total", "Records in files of the manifest.", out);
        self.bytes.render("streamgauge_archive_bytes_total", "Bytes in files of the manifest.", out);
        self.deleted.render(
            "streamgauge_archive_deleted_total",
            "Files of the archive that were deleted.",
            out,
        );
        let standings = self.standings();
        let name = "streamgauge_archive_lag_seconds";
        head(
            out,
            name,
            "gauge",
            "Age of the oldest record that this process has seen and that is in no file.",
        );
        for ((stream, partition), standing) in &standings {
            let ms = standing.oldest.map_or(0, |oldest| now.0.saturating_sub(oldest.0).max(0));
            let labels = format!("stream=\"{stream}\",partition=\"{partition}\"");
            line(out, format_args!("{name}{{{labels}}} {}", ms as f64 / 1e3));
        }
        let name = "streamgauge_archive_failing";
        head(
            out,
            name,
            "gauge",
            "1 where files can not be written at the moment; it is tried again for ever.",
        );
        for ((stream, partition), standing) in &standings {
            let is_failing = standing.failing.is_some() || standing.stopped.is_some();
            let labels = format!("stream=\"{stream}\",partition=\"{partition}\"");
            line(out, format_args!("{name}{{{labels}}} {}", u8::from(is_failing)));
        }
    }
}
