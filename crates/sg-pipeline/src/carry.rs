//! Carries what an old log and store hold over to new ones, so that a server goes on there exactly where the old one
//! stopped: the same counts, the same ledger, and what was a duplicate still is one. Changes nothing of the old ones.
//!
//! The old log may have been trimmed, so that its records alone would not give the counts again. All it still holds is
//! appended to the new log in order. What of it was folded already is a prefix of every new partition, and is never
//! folded again: flushes over that prefix bring the old cells, ledger, letters and rows along. The server folds the rest.
//!
//! In reading order: `old` looks at the old side and reads it; `forerunners` are records of letters and late events
//! that the old log no longer holds; `append` writes the new log; `heads` finds each record's new place; `share` is
//! what one new partition gets; `cells` and `late` page through what the old store holds.
//!
//! Deliberately absent: resuming. What was interrupted leaves a new side that [`check_fresh`] refuses.

mod append;
mod cells;
mod forerunners;
mod heads;
mod late;
mod old;
mod share;

use std::fmt;
use std::sync::Arc;

use sg_core::flush::Ledger;
use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, EventLog, PortError, Refresh, RollupReader, RollupWriter, StatusDetail};
use sg_core::time::Timestamp;

use heads::Heads;
pub use old::{Looked, Old, look};
use share::Share;

/// Where the counts are carried from.
#[derive(Clone)]
pub struct Source {
    /// The log, of which each stream has one partition.
    pub log: Arc<dyn EventLog>,
    /// The store.
    pub store: Arc<dyn RollupReader>,
}

/// Where they are carried to.
#[derive(Clone)]
pub struct Target {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The store's writing side, which is prepared for the plans.
    pub writer: Arc<dyn RollupWriter>,
    /// The store's reading side.
    pub reader: Arc<dyn RollupReader>,
    /// The name under which partitions are claimed.
    pub owner: String,
}

/// Why nothing, or not all, was carried.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It was not begun: one of the two sides is not as it must be.
    #[error("{0}")]
    Refused(String),
    /// A log or store failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// What is being done to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Looking which records have a raw row.
    Looking,
    /// Writing records to the new log.
    Appending,
    /// Writing cells to the new store.
    Counting,
    /// Writing what belongs to records that were folded before.
    Placing,
}

impl fmt::Display for Doing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Doing::Looking => "raw rows looked at",
            Doing::Appending => "records appended",
            Doing::Counting => "cells written",
            Doing::Placing => "records placed",
        })
    }
}

/// Hears how far a stream's carrying is: the stream, what is being done, and how many so far.
pub type Tell<'a> = &'a (dyn Fn(&str, Doing, u64) + Send + Sync);

/// What was carried of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// The stream.
    pub stream: String,
    /// Partitions of the new log.
    pub partitions: u32,
    /// Records written to the new log.
    pub appended: u64,
    /// Those of them that stand for letters and late events whose records the old log no longer held.
    pub written_again: u64,
    /// Those of them that were folded before.
    pub folded: u64,
    /// Those of them that the server is to fold.
    pub waiting: u64,
    /// Cells.
    pub cells: u64,
    /// Rows of raw events.
    pub raw_rows: u64,
    /// Late events that were diverted.
    pub late_events: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// What had become of the records.
    pub ledger: Ledger,
    /// What could not come along, a sentence each.
    pub left_behind: Vec<String>,
}

/// Flushes what is held of all partitions after so many records …
const FLUSH_RECORDS_MAX: u64 = 20_000;
/// … or about so many bytes.
const FLUSH_BYTES_MAX: usize = 8 << 20;

/// Refuses a new side that is not empty: what was there would be mixed up with what is brought.
///
/// # Errors
/// [`Fault::Refused`] when the log holds a record of a stream, or the store knows one of its partitions.
pub async fn check_fresh(target: &Target, plans: &[Arc<Plan>]) -> Result<(), Fault> {
    let remedy = "import into empty ones: delete the topics and the database, and begin again";
    for plan in plans {
        let stream = &plan.name;
        for partition in 0..target.log.partitions(stream).await? {
            let extent = target.log.extent(stream, partition).await?;
            if extent.start != extent.end {
                let what = format!("partition {partition} of the new log holds records");
                return Err(Fault::Refused(format!("importing {stream}: {what}; {remedy}")));
            }
        }
    }
    let status = target.reader.status(StatusDetail::Marks).await?;
    let known = status.partitions.iter().find(|known| plans.iter().any(|plan| *plan.name == *known.stream));
    match known {
        None => Ok(()),
        Some(known) => {
            let what = format!("the new store has counts of its partition {}", known.partition);
            Err(Fault::Refused(format!("importing {}: {what}; {remedy}", known.stream)))
        }
    }
}

impl Old {
    /// Brings the stream over to a side that [`check_fresh`] let pass.
    ///
    /// # Errors
    /// Those of the logs and stores: the new side is then of no use, and the old one is as it was.
    pub async fn bring(&self, target: &Target, tell: Tell<'_>) -> Result<Carried, Fault> {
        let stream = &*self.plan.name;
        let partitions = target.log.partitions(stream).await?;
        let mut carried = Carried {
            stream: stream.to_owned(),
            partitions,
            left_behind: self.left_behind(),
            ..Carried::default()
        };
        let ends = append::append(self, (target, partitions), &mut carried, tell).await?;
        let Some(known) = &self.known else {
            carried.waiting = carried.appended;
            return Ok(carried);
        };
        let identity = target.log.identity(stream).await?;
        let mut shares = Vec::new();
        for (partition, end) in ends.iter().enumerate() {
            let share =
                Share::claim(self, target, (partition as u32, partitions), (&identity, end.start)).await?;
            shares.push(share);
        }
        cells::bring(self, target, &mut shares[0], &mut carried, tell).await?;
        let heads = Heads::open(&target.log, stream, &ends).await?;
        self.place(target, (&mut shares, heads), &mut carried, tell).await?;
        let rows_lost = self.counted.len().saturating_sub(carried.raw_rows);
        if rows_lost > 0 {
            let what = format!("{rows_lost} raw rows of records that the old log has lost to damage");
            carried.left_behind.push(what);
        }
        carried.ledger = known.ledger;
        for (at, share) in shares.iter_mut().enumerate() {
            // The clock comes last, so that no window closes before all its cells are there.
            let ledger = if at == 0 { known.ledger } else { Ledger::default() };
            share.flush(self, target, (known.clock.m, ledger)).await?;
        }
        self.bring_watermark(target, &shares).await?;
        carried.waiting = carried.appended - carried.folded;
        Ok(carried)
    }

    /// Gives every record that was folded before its new place, and what belongs to it with it.
    async fn place(
        &self,
        target: &Target,
        (shares, mut heads): (&mut [Share], Heads),
        carried: &mut Carried,
        tell: Tell<'_>,
    ) -> Result<(), Fault> {
        let mut late = self.late_rows();
        let mut letters = self.letters.iter().peekable();
        let mut records = self.records(self.next_offset()).await?;
        let (mut pending, mut bytes) = (0, 0);
        while let Some(piece) = records.next().await? {
            let events = self.readable(&piece);
            for index in piece.range.clone() {
                let (offset, appended_at) = piece.batch.place(index);
                let found = heads.find(&events, index, appended_at).await?;
                let share = &mut shares[found.partition];
                share.pass(found, offset >= self.window_from());
                if self.counted.contains(offset) {
                    share.add_row(&events, index, (found.offset, appended_at));
                    carried.raw_rows += 1;
                }
                while let Some(letter) = letters.next_if(|letter| letter.offset == offset) {
                    share.add_letter(letter, found.offset)?;
                    carried.dead_letters += 1;
                }
                for (at, rows) in late.iter_mut().enumerate() {
                    if let Some(row) = rows.take(offset).await? {
                        share.add_late(at, row, found.offset);
                        carried.late_events += 1;
                    }
                }
            }
            shares.iter_mut().for_each(|share| share.gather(&events));
            carried.folded += piece.range.len() as u64;
            pending += piece.range.len() as u64;
            bytes += events.memory();
            if pending >= FLUSH_RECORDS_MAX || bytes >= FLUSH_BYTES_MAX {
                for share in shares.iter_mut() {
                    share.flush(self, target, (Timestamp::NEVER, Ledger::default())).await?;
                }
                (pending, bytes) = (0, 0);
                tell(&carried.stream, Doing::Placing, carried.folded);
            }
        }
        self.check_all_placed(letters.next().is_some(), &mut late).await?;
        tell(&carried.stream, Doing::Placing, carried.folded);
        Ok(())
    }

    async fn check_all_placed(&self, is_letter_left: bool, late: &mut [late::LateRows]) -> Result<(), Fault> {
        let mut is_left = is_letter_left;
        for rows in late {
            is_left |= rows.peek().await?.is_some();
        }
        if !is_left {
            return Ok(());
        }
        let doing = format!(
            "importing {}: the old store has letters or late events of records that neither it nor its log places;              run `streamgauge audit` against the old server, and report this",
            self.plan.name
        );
        Err(PortError::new(ErrorKind::Corrupt, doing).into())
    }

    /// The watermark follows the clock while all is quiet: then it is ahead of the clocks of the partitions.
    async fn bring_watermark(&self, target: &Target, shares: &[Share]) -> Result<(), Fault> {
        let Some(known) = self.known.as_ref().filter(|known| self.watermark > known.clock.m) else {
            return Ok(());
        };
        for share in shares {
            let refresh = Refresh {
                plan: self.plan.clone(),
                partition: share.partition,
                epoch: share.epoch,
                is_idle: true,
                base: None,
                dedup_from: None,
                now: self.watermark.plus(self.plan.stream.idle_timeout),
            };
            if !target.writer.refresh(&refresh).await? {
                return Err(share.taken(&known.stream).into());
            }
        }
        Ok(())
    }
}
