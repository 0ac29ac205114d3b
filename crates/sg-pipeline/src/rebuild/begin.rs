//! Where a rebuild begins: at the first record that was ever folded, at a mark, or where nothing is known, and which
//! windows it can make from there.

use sg_core::definition::LatePolicy;
use sg_core::fold::{Beginning, Stretch, complete_after, plan_of};
use sg_core::ports::{Mark, PartitionStatus, PortError, RollupStatus, StatusDetail};
use sg_core::rebuild::{Said, Tell};
use sg_core::time::Timestamp;

use super::again::Again;
use super::records::Held;
use super::{Pass, Rebuild};
use crate::mending::refused;

/// Where stream and rollup stood when a pass began.
pub(super) struct Standing {
    pub(super) partitions: Vec<PartitionStatus>,
    pub(super) rollup: RollupStatus,
    /// Whether log and archive reach back to the first record that was ever folded, in every partition.
    pub(super) is_whole: bool,
    /// From where on each partition's records can be read.
    held: Vec<Held>,
}

impl Standing {
    /// Returns how many events had been deleted by hand.
    pub(super) fn deleted(&self) -> u64 {
        self.partitions.iter().map(|known| known.ledger.deleted).sum()
    }
}

impl Rebuild {
    pub(super) async fn standing(&self) -> Result<Standing, PortError> {
        let (stream, name) = (&*self.plan.name, &self.plan.rollups[self.rollup].rollup.name);
        let status = self.reader.status(StatusDetail::Marks).await?;
        let mut partitions: Vec<PartitionStatus> =
            status.partitions.into_iter().filter(|known| *known.stream == *stream).collect();
        partitions.sort_by_key(|known| known.partition);
        let rollup = status.rollups.into_iter().find(|known| known.name == *name);
        let rollup = rollup.ok_or_else(|| refused(format!("the store has no rollup {name}")))?;
        let identity = self.sources.log.identity(stream).await?;
        let positions = self.sources.manifest.archive_positions().await?;
        let mut held = Vec::with_capacity(partitions.len());
        for known in &partitions {
            if known.log_identity != identity {
                let partition = known.partition;
                return Err(refused(format!(
                    "partition {partition} of {stream} was counted from another log"
                )));
            }
            held.push(self.sources.held((stream, known.partition), &positions).await?);
        }
        let is_whole = partitions.iter().zip(&held).all(|(known, held)| held.start <= known.first_offset);
        Ok(Standing { partitions, rollup, is_whole, held })
    }

    pub(super) async fn begin(
        &self,
        standing: &Standing,
        (from, to): (Timestamp, Timestamp),
        tell: Tell<'_>,
    ) -> Result<Pass, PortError> {
        let rollup = &self.plan.rollups[self.rollup].rollup;
        let is_backfill = standing.rollup.complete_from.is_some();
        let alone = [plan_of(&self.plan, rollup)];
        let removed_before = standing.rollup.removed_before;
        let mut parts = Vec::new();
        let of = self.sources.log.partitions(&rollup.stream).await?;
        for (known, held) in standing.partitions.iter().zip(&standing.held) {
            let beginning = self.beginning(known, held, (from, is_backfill)).await?;
            let is_first = matches!(beginning, Beginning::First(_));
            let is_refused = if is_backfill {
                (!is_first).then_some("it has not seen earlier records")
            } else {
                let is_diverting = rollup.late == LatePolicy::Divert && !beginning.is_known();
                is_diverting.then_some("it diverts late events")
            };
            if let Some(why) = is_refused {
                let (name, stream) = (&rollup.name, &rollup.stream);
                return Err(refused(format!(
                    "rebuilding {name}: the first records of {stream} are no longer there ({}: partition {} can be read \
                     from offset {} on), and {why}: what became of them cannot be made again",
                    held.why, known.partition, held.start
                )));
            }
            if !is_first && held.start > known.first_offset {
                let (partition, offset) = (known.partition, beginning.reads_from());
                tell(Said::Begins { partition, offset, why: held.why.clone() });
            }
            let stretch = Stretch { beginning, from, to, removed_before };
            let (place, plans) = ((known.partition, of), (&self.plan, &alone[..]));
            parts.push(Again::open(&self.sources, plans, place, stretch, self.seed).await?);
        }
        Ok(Pass {
            parts,
            to,
            removed_at_first: removed_before,
            removed_before,
            deleted: standing.deleted(),
            is_backfill,
        })
    }

    async fn beginning(
        &self,
        known: &PartitionStatus,
        held: &Held,
        (from, is_backfill): (Timestamp, bool),
    ) -> Result<Beginning, PortError> {
        let is_whole = held.start <= known.first_offset;
        if is_whole && (is_backfill || from == Timestamp::NEVER) {
            return Ok(Beginning::First(known.first_offset));
        }
        let marks = self.sources.manifest.marks(&self.plan.name, known.partition).await?;
        let usable = |mark: &&Mark| {
            mark.dedup_from.0 >= held.start
                && mark.offset >= known.first_offset
                && mark.offset <= known.next_offset
        };
        let marks: Vec<&Mark> = marks.iter().filter(usable).collect();
        let max_future = self.plan.stream.max_future;
        let nearest = marks.iter().rfind(|mark| complete_after(mark.clock.m, max_future) <= from);
        Ok(match (nearest, marks.first()) {
            (Some(mark), _) => Beginning::Mark(**mark),
            (None, _) if is_whole => Beginning::First(known.first_offset),
            (None, Some(mark)) => Beginning::Mark(**mark),
            (None, None) => Beginning::Unknown(held.start),
        })
    }
}
