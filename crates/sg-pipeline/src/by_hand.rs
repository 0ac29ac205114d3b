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
use crate::spans;

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
        let selection = meant(plan, selection)?;
        let standing = self.standing(stream).await?;
        Ok(Box::new(Source::open(self, plan, &selection, &standing).await?))
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
            let tell = |said| drop(say.try_send(said));
            spans::step(&by_hand.mending.tracer, "delete events".to_owned(), by_hand.delete_all(&wish, &tell))
                .await
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
            jobs.push(Job::open(self, plan, meant(plan, &wish.selection)?).await?);
        }
        let mut deleted = Deleted::default();
        let tracer = &self.mending.tracer;
        // All of it is looked at first: nothing is deleted when some of it cannot be.
        for job in &mut jobs {
            let doing = format!("look for events of {}", job.plan.name);
            spans::step(tracer, doing, job.look(wish.is_dry, tell, &mut deleted)).await?;
        }
        spans::note("streamgauge.events.matched", deleted.matched);
        if wish.is_dry || deleted.refused > 0 {
            return Ok(deleted);
        }
        for job in &mut jobs {
            let doing = format!("delete events of {}", job.plan.name);
            spans::step(tracer, doing, job.run(tell, &mut deleted)).await?;
        }
        spans::note("streamgauge.events.deleted", deleted.deleted);
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

/// Returns conditions as a stream means them.
fn meant(plan: &Plan, selection: &Selection) -> Result<Selection, PortError> {
    let meant = selection.of_stream(&plan.stream.fields);
    meant.map_err(|error| refused(format!("where, in the stream {}: {error}", plan.name)))
}
