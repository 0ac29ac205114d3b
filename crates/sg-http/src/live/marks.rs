//! How far log and store are, as those who watch are told it: asked once for all of them.

use std::sync::Arc;
use std::time::Duration;

use sg_core::ports::{Extent, PartitionStatus, Pending, PortError, StatusDetail, StoreStatus};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::App;

/// How long marks are told to others than those for whom they were asked.
const FRESH: Duration = Duration::from_millis(500);
/// How long log and store may take before those who watch are told that they do not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What log and store answered, or why they did not.
#[derive(Debug)]
pub(crate) struct Marks {
    pub(crate) pending: Result<Vec<Pending>, String>,
    pub(crate) status: Result<StoreStatus, String>,
}

/// The marks that were told last, and when.
pub(super) type Told = Mutex<Option<(Instant, Arc<Marks>)>>;

/// Returns marks that are at most half a second old.
pub(crate) async fn marks(app: &App) -> Arc<Marks> {
    let mut told = app.watchers.marks.lock().await;
    if let Some((_, marks)) = told.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return marks.clone();
    }
    // The log first: a store that is ahead of it has no lag.
    let pending = within_patience(app.pipeline.pending()).await;
    let status = within_patience(app.store.status(StatusDetail::Marks)).await;
    let marks = Arc::new(Marks { pending, status });
    *told = Some((Instant::now(), marks.clone()));
    marks
}

async fn within_patience<T>(asked: impl Future<Output = Result<T, PortError>>) -> Result<T, String> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("not within {} s", PATIENCE.as_secs())),
    }
}

/// A partition as log and store know it; either may not know it yet.
pub(crate) struct Place<'m> {
    pub(crate) pending: Option<&'m Pending>,
    pub(crate) stored: Option<&'m PartitionStatus>,
}

impl Place<'_> {
    fn extent(&self) -> Option<Extent> {
        self.pending.and_then(|pending| pending.extent)
    }

    /// Returns the first offset that the store does not have.
    pub(crate) fn next_offset(&self) -> u64 {
        let start = self.extent().map_or(0, |extent| extent.start);
        self.stored.map_or(start, |stored| stored.next_offset)
    }

    /// Returns how many records the log has and the store does not.
    pub(crate) fn lag(&self) -> u64 {
        self.extent().map_or(0, |extent| extent.end.saturating_sub(self.next_offset()))
    }
}

impl Marks {
    /// Returns whether both have answered.
    pub(crate) fn are_known(&self) -> bool {
        self.status.is_ok() && self.pending.is_ok()
    }

    /// Returns the partitions of a stream in order. What does not answer is left out.
    pub(crate) fn places(&self, stream: &str) -> Vec<Place<'_>> {
        let pending = self.pending.as_deref().unwrap_or_default();
        let stored = self.status.as_ref().map_or(&[][..], |status| &status.partitions);
        let of_log = pending.iter().filter(|here| here.stream == stream).map(|here| here.partition);
        let of_store = stored.iter().filter(|here| here.stream == stream).map(|here| here.partition);
        let mut partitions: Vec<u32> = of_log.chain(of_store).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let place = |partition: u32| Place {
            pending: pending.iter().find(|here| here.stream == stream && here.partition == partition),
            stored: stored.iter().find(|here| here.stream == stream && here.partition == partition),
        };
        partitions.into_iter().map(place).collect()
    }
}
