//! Counted events that are picked and deleted by hand, while the server goes on counting. Decides no event's fate: it finds
//! events by what they are, says what each gave to its rollups, and has the store take that back. `source` finds them,
//! `chunk` cuts them into steps, `job` takes these, `remake` makes those cells again out of which nothing can be subtracted.
//!
//! A delete is looked at as a whole before its first step is written; each step is a transaction that is right by itself.

mod chunk;
mod job;
mod remake;
mod source;

use std::sync::Arc;

use async_trait::async_trait;
use sg_core::erase::{DeleteSaid, DeleteTell, DeleteWish, Deleted, Standing};
use sg_core::plan::Plan;
use sg_core::ports::{EventPicker, Picking, PortError, StatusDetail, StoreStatus};
use sg_core::selection::Selection;

use crate::aside::{self, Say};
use crate::mending::{Mending, refused};

use job::Job;
use source::Source;

/// Bytes of cells made again at once, from one source, unless a test says otherwise.
pub const MEMORY_MAX: usize = 128 << 20;

/// Picks and deletes counted events.
#[derive(Clone)]
pub struct ByHand {
    /// What it works on.
    pub mending: Mending,
    /// Bytes of cells made again at once, from one source; what one step needs is made in any case.
    pub memory_max: usize,
}

#[async_trait]
impl EventPicker for ByHand {
    async fn pick(&self, stream: &str, selection: &Selection) -> Result<Box<dyn Picking>, PortError> {
        let plan = self.mending.plans.iter().find(|plan| *plan.name == *stream);
        let plan = plan.ok_or_else(|| refused(format!("there is no stream {stream}")))?;
        let standing = self.standing(stream).await?;
        Ok(Box::new(Source::open(self, plan, selection, &standing).await?))
    }

    async fn delete(&self, wish: &DeleteWish, tell: DeleteTell<'_>) -> Result<Deleted, PortError> {
        if wish.selection.is_empty() {
            return Err(refused(
                "deleting events: no condition is given, and all events are not meant".to_owned(),
            ));
        }
        let turn = self.mending.take_turn("deleting events")?;
        let (by_hand, wish) = (self.clone(), wish.clone());
        let work = async move |say: Say<DeleteSaid>| {
            let _turn = turn;
            by_hand.delete_all(&wish, &|said| drop(say.try_send(said))).await
        };
        aside::run("delete", work, tell).await
    }
}

impl ByHand {
    async fn delete_all(&self, wish: &DeleteWish, tell: DeleteTell<'_>) -> Result<Deleted, PortError> {
        let is_meant = |plan: &&Arc<Plan>| {
            wish.stream.as_deref().is_none_or(|wanted| *plan.name == *wanted)
                && wish.selection.may_be_in(&plan.name)
        };
        let mut jobs = Vec::new();
        for plan in self.mending.plans.iter().filter(is_meant) {
            jobs.push(Job::open(self, plan).await?);
        }
        let mut deleted = Deleted::default();
        // All of it is looked at first: nothing is deleted when some of it cannot be.
        for job in &mut jobs {
            job.look((&wish.selection, wish.is_dry), tell, &mut deleted).await?;
        }
        if wish.is_dry || deleted.refused > 0 {
            return Ok(deleted);
        }
        for job in &mut jobs {
            job.run(&wish.selection, tell, &mut deleted).await?;
        }
        Ok(deleted)
    }

    async fn standing(&self, stream: &str) -> Result<Standing, PortError> {
        Ok(standing_of(stream, &self.mending.reader.status(StatusDetail::Marks).await?))
    }
}

fn standing_of(stream: &str, status: &StoreStatus) -> Standing {
    let of_stream = || status.partitions.iter().filter(|known| known.stream == stream);
    let mut offsets: Vec<(u32, u64)> =
        of_stream().map(|known| (known.partition, known.next_offset)).collect();
    offsets.sort_unstable();
    Standing { offsets, deleted: of_stream().map(|known| known.ledger.deleted).sum() }
}
