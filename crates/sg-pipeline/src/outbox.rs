//! Announces what became final or was corrected: takes rows from the store's outbox, tells whoever watches, and only
//! then deletes them. After a crash a row may be announced again; its revision tells.

use std::sync::Arc;
use std::time::Duration;

use sg_core::metrics::Metrics;
use sg_core::ports::{OutboxKind, OutboxRow, PortError, RollupWriter};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Announcements that a slow watcher may fall behind before it is told that it missed some.
pub const WATCHERS_LAG_MAX: usize = 4_096;

const ROWS_AT_ONCE: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(500);

/// The loop over the outboxes of all streams.
pub struct Outbox {
    /// The streams' names.
    pub streams: Vec<String>,
    /// The store.
    pub store: Arc<dyn RollupWriter>,
    /// The process's counters.
    pub metrics: Arc<Metrics>,
    /// Whoever watches; nobody watching is fine.
    pub watchers: broadcast::Sender<Arc<OutboxRow>>,
}

impl Outbox {
    /// Announces until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let mut is_busy = false;
            for stream in &self.streams {
                match self.announce(stream).await {
                    Ok(rows) => is_busy |= rows == ROWS_AT_ONCE,
                    Err(error) => tracing::warn!(%stream, "announcing closed windows: {error}"),
                }
            }
            if !is_busy {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }

    /// Announces the oldest rows of one stream and returns how many.
    ///
    /// # Errors
    /// Those of the store; nothing is deleted then.
    pub async fn announce(&self, stream: &str) -> Result<usize, PortError> {
        let rows = self.store.outbox(stream, ROWS_AT_ONCE).await?;
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(0) };
        let count = rows.len();
        for row in rows {
            match row.kind {
                OutboxKind::Closed => self.metrics.windows_closed.add(1),
                OutboxKind::Corrected => self.metrics.corrections.add(1),
            }
            // An error means that nobody watches.
            drop(self.watchers.send(Arc::new(row)));
        }
        self.store.outbox_sent(stream, last).await?;
        Ok(count)
    }
}
