//! Finds counted events of a stream: in its raw table, or where it keeps none in the log, whose records are folded again to
//! tell which of them count.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use sg_core::erase::Standing;
use sg_core::fold::{Beginning, Fold, Stretch};
use sg_core::plan::Plan;
use sg_core::ports::{Picked, Picking, PortError, Rewriter, RollupReader, StatusDetail};
use sg_core::query::EventScan;
use sg_core::selection::Selection;
use sg_core::time::Timestamp;

use crate::rebuild::Sources;
use crate::rebuild::again::Again;

use crate::mending::refused;

use super::ByHand;

/// Rows of one page.
pub(super) const PAGE_ROWS: usize = 1_000;
/// Bytes of records that are gathered before they are handed out.
const GATHERED_BYTES: usize = 1 << 20;

/// Counted events of one stream, by partition and offset.
pub(super) struct Source {
    /// Reads what a raw table keeps.
    plan: Arc<Plan>,
    selection: Selection,
    reader: Arc<dyn RollupReader>,
    rewriter: Arc<dyn Rewriter>,
    parts: VecDeque<Part>,
}

/// A partition and the offset to which it is read.
struct Part {
    partition: u32,
    end: u64,
    from: From,
}

enum From {
    /// The raw table, from this offset on.
    Table(u64),
    Log(Box<Again>),
}

/// Checks that a log is the one that a stream was counted from; returns what is left of each partition's records.
pub(super) async fn stretches(
    by_hand: &ByHand,
    sources: &Sources,
    stream: &str,
) -> Result<Vec<(u32, Stretch)>, PortError> {
    let status = by_hand.mending.reader.status(StatusDetail::Marks).await?;
    let identity = sources.log.identity(stream).await?;
    let positions = sources.manifest.archive_positions().await?;
    let mut stretches = Vec::new();
    for known in status.partitions.iter().filter(|known| known.stream == stream) {
        let partition = known.partition;
        if known.log_identity != identity {
            return Err(refused(format!("partition {partition} of {stream} was counted from another log")));
        }
        let held = sources.held((stream, partition), &positions).await?;
        let is_whole = held.start <= known.first_offset;
        let stretch = Stretch {
            beginning: if is_whole {
                Beginning::First(known.first_offset)
            } else {
                Beginning::Unknown(held.start)
            },
            from: Timestamp::ALWAYS.0,
            to: Timestamp::ALWAYS.1,
            removed_before: Timestamp::NEVER,
        };
        stretches.push((partition, stretch));
    }
    stretches.sort_by_key(|(partition, _)| *partition);
    Ok(stretches)
}

impl Source {
    /// Opens the events that had been counted at a standing.
    pub(super) async fn open(
        by_hand: &ByHand,
        plan: &Arc<Plan>,
        selection: &Selection,
        standing: &Standing,
    ) -> Result<Source, PortError> {
        let is_meant = |partition: u32| selection.may_be_in_partition(partition);
        let raw = [Arc::new(Plan::of_raw(&plan.stream))];
        let mut parts = VecDeque::new();
        if plan.stream.raw_table.is_some() {
            for (partition, end) in standing.offsets.iter().filter(|(partition, _)| is_meant(*partition)) {
                parts.push_back(Part { partition: *partition, end: *end, from: From::Table(0) });
            }
        } else {
            let sources = by_hand.mending.sources()?;
            let of = sources.log.partitions(&plan.name).await?;
            for (partition, stretch) in stretches(by_hand, &sources, &plan.name).await? {
                let reached = standing.offsets.iter().find(|(known, _)| *known == partition);
                let Some((_, end)) = reached.filter(|_| is_meant(partition)) else { continue };
                let again =
                    Again::open(&sources, (plan, &raw[..]), (partition, of), stretch, by_hand.mending.seed)
                        .await?;
                parts.push_back(Part { partition, end: *end, from: From::Log(Box::new(again)) });
            }
        }
        Ok(Source {
            plan: raw[0].clone(),
            selection: selection.clone(),
            reader: by_hand.mending.reader.clone(),
            rewriter: by_hand.mending.rewriter.clone(),
            parts,
        })
    }

    /// Returns the partitions that are read from the log, and where what is left of them begins.
    pub(super) fn log_starts(&self) -> Vec<(u32, u64)> {
        let start = |part: &Part| match &part.from {
            From::Table(_) => None,
            From::Log(again) => Some((part.partition, again.first_offset())),
        };
        self.parts.iter().filter_map(start).collect()
    }
}

#[async_trait]
impl Picking for Source {
    async fn next(&mut self) -> Result<Option<Vec<Picked>>, PortError> {
        let Some(part) = self.parts.front_mut() else { return Ok(None) };
        let mut events = Vec::new();
        let is_over = match &mut part.from {
            From::Table(at) => {
                let scan = EventScan {
                    stream: self.plan.name.to_string(),
                    partition: part.partition,
                    from: *at,
                    to: part.end,
                    times: self.selection.times(),
                    limit: PAGE_ROWS,
                };
                let rows = self.reader.scan_events(&scan).await?;
                *at = rows.last().map_or(part.end, |row| row.offset + 1);
                let is_over = rows.len() < PAGE_ROWS;
                events.extend(rows.into_iter().map(|row| (row, None)));
                is_over
            }
            From::Log(again) => {
                let enough = |folds: &[Fold]| folds[0].pending_bytes() > GATHERED_BYTES;
                let is_over = again.advance(&*self.rewriter, part.end, &enough).await?;
                for rows in again.take_raw() {
                    for row in &rows.rows {
                        let entry = &rows.batch.entries[row.index as usize];
                        let sent = rows.batch.text(entry.raw).to_owned();
                        let event = self.plan.stored(part.partition, &rows, row);
                        events.extend(event.map(|event| (event, Some(sent))));
                    }
                }
                is_over
            }
        };
        if is_over {
            self.parts.pop_front();
        }
        events.retain(|(event, _)| self.selection.selects(&self.plan.name, event));
        Ok(Some(events))
    }
}
