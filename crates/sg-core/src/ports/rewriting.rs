//! The store, as who puts right what was counted sees it.

use async_trait::async_trait;

use crate::definition::Rollup;
use crate::erase::{Erase, EraseOutcome};
use crate::fold::Fates;
use crate::rebuild::{Rebuilt, Rewrite, RewriteOutcome, Tell, Wish};

use super::PortError;

/// Makes cells again, as the doors see it.
#[async_trait]
pub trait Rebuilder: Send + Sync {
    /// Makes the cells of a rollup again from log and archive and replaces those that differ. What cannot be shown to be right is
    /// refused as [`super::ErrorKind::Invalid`] or, when it may be tried again, as `Retry`.
    async fn rebuild(&self, wish: &Wish, tell: Tell<'_>) -> Result<Rebuilt, PortError>;
}

/// Puts right what was counted.
#[async_trait]
pub trait Rewriter: Send + Sync {
    /// Returns what became of a partition's records from one offset to before another, beyond what the log tells.
    async fn fates(&self, stream: &str, partition: u32, range: (u64, u64)) -> Result<Fates, PortError>;
    /// Returns whether there are cells of a rollup that were counted under another definition than this.
    async fn is_of_another_definition(&self, rollup: &Rollup) -> Result<bool, PortError>;
    /// Forgets the cells and the ledger of a rollup that were counted under another definition than this, so that it can be
    /// prepared as a new one; returns whether there were any. Events that it diverted stay in the late lane. Durable.
    async fn forget(&self, rollup: &Rollup) -> Result<bool, PortError>;
    /// Replaces cells that differ, if every partition of the stream stands where they were made; durable.
    async fn rewrite(&self, rewrite: &Rewrite) -> Result<RewriteOutcome, PortError>;
    /// Deletes events that were counted, all or nothing; those deleted before change nothing. Durable.
    async fn erase(&self, erase: &Erase) -> Result<EraseOutcome, PortError>;
}
