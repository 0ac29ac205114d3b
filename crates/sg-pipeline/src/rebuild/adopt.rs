//! Taking up a rollup whose definition has changed: its cells are dropped only when all records are there that make them
//! again, and it is filled up in the background. Makes no cell itself.

use std::sync::Arc;
use std::time::Duration;

use sg_core::fold::Wanted;
use sg_core::ports::{ErrorKind, PortError, Rebuilder, StatusDetail};
use sg_core::rebuild::Wish;
use tokio_util::sync::CancellationToken;

use super::{ALL, Rebuild, Rebuilds};

/// Between two looks at whether a new rollup has been taken up, and how often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOKS_MAX: u32 = 3_000;
/// The longest pause after a try that failed.
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Rebuilds {
    /// Takes up the changed definition of a rollup: drops the cells that were counted under another one, once it is known
    /// that the records make all of them again; returns whether there were any. Reads all records for that.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when not all records are there any more, or they would have other fates than they had; nothing
    /// is dropped then. Those of log, archive and store.
    pub async fn adopt(&self, rollup: &str) -> Result<bool, PortError> {
        let wish = Wish { rollup: rollup.to_owned(), from: None, to: None, is_dry: true };
        let rebuild = self.of(&wish)?;
        let definition = &rebuild.plan.rollups[rebuild.rollup].rollup;
        if !self.0.rewriter.is_of_another_definition(definition).await? {
            return Ok(false);
        }
        tracing::info!(%rollup, "reading all records before its cells are dropped");
        rebuild.prove().await.map_err(|error| {
            let doing = format!(
                "taking up the changed definition of {rollup}: its cells cannot be made again, so none was dropped: {}; go \
                 back to the definition that it had, or give the new one another name, under which it counts from now on",
                error.doing
            );
            PortError { doing, ..error }
        })?;
        self.0.rewriter.forget(definition).await
    }

    /// Fills up a rollup that is new, as soon as the owners have taken it up; ends when that is done or cannot be.
    pub async fn fill_up(self: Arc<Rebuilds>, rollup: String, stop: CancellationToken) {
        let mut pause = LOOK_EVERY;
        for _ in 0..LOOKS_MAX {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            match self.try_fill_up(&rollup).await {
                Ok(false) => {}
                Ok(true) => return tracing::info!(%rollup, "the rollup is complete"),
                Err(error) if error.kind == ErrorKind::Retry => {
                    // It may have read the whole log.
                    pause = (2 * pause).min(PAUSE_MAX);
                    tracing::warn!(%rollup, "{error}; trying again in {pause:?}");
                }
                Err(error) => return tracing::error!(%rollup, "it stays incomplete: {error}"),
            }
        }
    }

    async fn try_fill_up(&self, rollup: &str) -> Result<bool, PortError> {
        let status = self.0.reader.status(StatusDetail::Marks).await?;
        let known = status.rollups.iter().find(|known| known.name == rollup);
        if known.is_none_or(|known| known.complete_from.is_none()) {
            return Ok(false);
        }
        let wish = Wish { rollup: rollup.to_owned(), from: None, to: None, is_dry: false };
        let rebuilt = self.rebuild(&wish, &|_| {}).await?;
        Ok(rebuilt.is_backfilled)
    }
}

impl Rebuild {
    /// Finds out whether all records are there and have the fates that they had, without making cells of them.
    async fn prove(&self) -> Result<(), PortError> {
        let mut standing = self.standing().await?;
        // As it will be when its cells are gone.
        standing.rollup.complete_from = Some(ALL.1);
        let mut pass = self.begin(&standing, ALL, &|_| {}).await?;
        pass.parts = pass.parts.into_iter().map(|part| part.only([Wanted::default()])).collect();
        self.read(&mut pass, &standing, &|_| {}).await?;
        self.check_ledgers(&pass, &standing)
    }
}
