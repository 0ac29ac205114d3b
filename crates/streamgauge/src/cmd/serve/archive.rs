//! The archive's part of a server.

use std::sync::Arc;

use sg_core::metrics::ArchiveMetrics;
use sg_pipeline::archiver::{self, Archivers, LineWriters, Sweeper};
use sg_pipeline::owner::Stopped;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::wire::Parts;

use super::{process_name, secret};

/// Starts the archivers of this process, and what deletes files.
pub(super) fn start_archive(
    parts: &Parts,
    metrics: &Arc<ArchiveMetrics>,
    stop: &CancellationToken,
    crew: &TaskTracker,
    told: mpsc::Sender<Stopped>,
) {
    let settings = archiver::Settings {
        log: parts.archive.log.clone(),
        manifest: parts.manifest.clone(),
        streams: parts.archive.streams.clone(),
        clock: parts.clock.clone(),
        metrics: metrics.clone(),
        name: process_name(),
        seed: secret(),
        tracer: parts.tracer(),
    };
    let sweeper = Sweeper {
        manifest: parts.manifest.clone(),
        streams: parts.archive.streams.clone(),
        files: parts.archive.files.clone(),
        clock: parts.clock.clone(),
        metrics: metrics.clone(),
    };
    if !(sweeper.streams.is_empty() && sweeper.files.is_empty()) {
        crew.spawn(sweeper.run(stop.clone()));
    }
    if settings.streams.is_empty() {
        return;
    }
    let archivers = Archivers::new(settings).run(stop.clone());
    crew.spawn(async move {
        if let Err(error) = archivers.await {
            // A full channel means that the process is leaving already.
            drop(told.try_send(Stopped::Apart(error)));
        }
    });
}

/// Makes what writes the files of closed windows and late events.
pub(super) fn line_writers(parts: &Parts, metrics: &Arc<ArchiveMetrics>) -> LineWriters {
    LineWriters {
        manifest: parts.manifest.clone(),
        files: parts.archive.files.clone(),
        clock: parts.clock.clone(),
        metrics: metrics.clone(),
        seed: secret(),
    }
}

/// Returns the streams that are archived.
pub(super) fn archived_names(parts: &Parts) -> Vec<String> {
    parts.archive.streams.iter().map(|archived| archived.stream.clone()).collect()
}
