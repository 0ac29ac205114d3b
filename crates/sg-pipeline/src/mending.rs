//! What rebuilds and deletes by hand work on: one log, one store, one archive, and one turn, so that never two of them are
//! under way in a process. Makes and deletes nothing itself.

use std::sync::Arc;

use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, EventLog, Manifest, PortError, Rewriter, RollupReader};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::archiver::ArchivedStream;
use crate::rebuild::Sources;
use crate::spans::Tracer;

/// Makes another handle to the log, whose readers take nothing from those of the owners.
pub type OpenLog = Arc<dyn Fn() -> Result<Arc<dyn EventLog>, PortError> + Send + Sync>;

/// What is worked on when something that was counted is put right.
#[derive(Clone)]
pub struct Mending {
    /// Makes the log that is read.
    pub open_log: OpenLog,
    /// What is in which file of the archive.
    pub manifest: Arc<dyn Manifest>,
    /// The archives that this process knows: they have what the log has lost.
    pub archives: Vec<ArchivedStream>,
    /// The store's reading side.
    pub reader: Arc<dyn RollupReader>,
    /// The store's side that replaces cells and deletes events.
    pub rewriter: Arc<dyn Rewriter>,
    /// The streams' plans.
    pub plans: Vec<Arc<Plan>>,
    /// The secret of the duplicates' hash.
    pub seed: u64,
    /// Held by the one rebuild or delete that is under way.
    pub turn: Arc<Mutex<()>>,
    /// Makes spans of the steps.
    pub tracer: Tracer,
}

impl Mending {
    /// Opens what records are read from.
    pub(crate) fn sources(&self) -> Result<Sources, PortError> {
        let (manifest, archives) = (self.manifest.clone(), self.archives.clone());
        Ok(Sources { log: (self.open_log)()?, manifest, archives })
    }

    /// Takes the turn, if nobody has it.
    pub(crate) fn take_turn(&self, doing: &str) -> Result<OwnedMutexGuard<()>, PortError> {
        self.turn.clone().try_lock_owned().map_err(|_| {
            let doing = format!(
                "{doing}: a rebuild or a delete is under way in this process already: wait for its end"
            );
            PortError::new(ErrorKind::Retry, doing)
        })
    }
}

/// Makes the error of a wish that cannot be met, whoever has it.
pub(crate) fn refused(why: String) -> PortError {
    PortError::new(ErrorKind::Invalid, why)
}
