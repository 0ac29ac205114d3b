//! What the rest of the process knows of an owner and can ask of it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use sg_core::flush::Flush;
use sg_core::metrics::Metrics;
use sg_core::time::Timestamp;
use tokio::sync::{Notify, watch};

/// A time that is set now and then; none at first.
#[derive(Debug)]
pub struct Moment(AtomicI64);

impl Moment {
    fn none() -> Moment {
        Moment(AtomicI64::new(Timestamp::NEVER.0))
    }

    /// Sets it.
    pub fn set(&self, at: Option<Timestamp>) {
        self.0.store(at.unwrap_or(Timestamp::NEVER).0, Ordering::Relaxed);
    }

    /// Returns it.
    pub fn get(&self) -> Option<Timestamp> {
        Some(Timestamp(self.0.load(Ordering::Relaxed))).filter(|at| *at != Timestamp::NEVER)
    }
}

/// What the rest of the process knows of an owner and can ask of it.
#[derive(Debug)]
pub struct Progress {
    /// The stream.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// The offset behind the last record folded; the largest number until folding begins, since nobody need wait for it.
    pub folded: AtomicU64,
    /// Bytes of the duplicate window.
    pub judge_bytes: AtomicU64,
    /// The offset behind the last record in the store; zero until the partition is claimed.
    pub flushed: watch::Sender<u64>,
    /// Events and cells written since the process began.
    pub written: (AtomicU64, AtomicU64),
    /// When the store last took something.
    pub flushed_at: Moment,
    /// When what is folded will be flushed at the latest; none while nothing is.
    pub flush_due: Moment,
    /// Records before this offset are flushed as soon as they are folded; who raises it rings `flush_now`.
    pub wanted: AtomicU64,
    /// Says that `wanted` was raised.
    pub flush_now: Notify,
    /// Why the owner stopped for good, if it did.
    pub stopped: watch::Sender<Option<String>>,
}

impl Progress {
    /// Makes the progress of an owner that has not begun.
    pub fn new(stream: &str, partition: u32) -> Progress {
        Progress {
            stream: stream.to_owned(),
            partition,
            folded: AtomicU64::new(u64::MAX),
            judge_bytes: AtomicU64::new(0),
            flushed: watch::Sender::new(0),
            written: (AtomicU64::new(0), AtomicU64::new(0)),
            flushed_at: Moment::none(),
            flush_due: Moment::none(),
            wanted: AtomicU64::new(0),
            flush_now: Notify::new(),
            stopped: watch::Sender::new(None),
        }
    }

    /// Takes note of a flush that the store has taken, tells those who wait for it, and counts it.
    pub(super) fn note_written(&self, flush: &Flush, metrics: &Metrics, now: Timestamp) {
        let cells: usize = flush.rollups.iter().map(|delta| delta.cells.len()).sum();
        metrics.flushes.add(1);
        metrics.cells_flushed.add(cells as u64);
        self.written.0.fetch_add(flush.end - flush.base, Ordering::Relaxed);
        self.written.1.fetch_add(cells as u64, Ordering::Relaxed);
        metrics.visible.add(&flush.plan.name, &flush.timing.latencies(now));
        metrics.lateness.add(&flush.plan.name, &flush.timing.lateness);
        self.flushed_at.set(Some(now));
        // Whoever is told finds everything else in its place.
        self.flushed.send_replace(flush.end);
    }
}
