//! Writes the old records to the new log, in their order and with what the door decided. The partition key is not
//! kept in the old log; it is read from the event again.

use std::sync::Arc;
use std::time::Duration;

use sg_core::batch::{Entry, EventBatch, Span};
use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, Extent, PortError};
use sg_core::time::Timestamp;
use tokio::time::Instant;

use super::{Carried, Doing, Fault, Old, Target, Tell};

/// Records, and bytes, that are appended at once.
const RECORDS_MAX: usize = 10_000;
const BYTES_MAX: usize = 4 << 20;
/// How long the new log may take to show what it has acknowledged, and how often it is asked.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Appends all records; returns what the partitions hold then.
pub(super) async fn append(
    old: &Old,
    (target, partitions): (&Target, u32),
    carried: &mut Carried,
    tell: Tell<'_>,
) -> Result<Vec<Extent>, Fault> {
    let mut gather = Gather::new(&old.plan);
    let mut records = old.records(old.extent.end).await?;
    while let Some(piece) = records.next().await? {
        carried.written_again += if piece.is_again { piece.range.len() as u64 } else { 0 };
        for index in piece.range.clone() {
            let (offset, appended_at) = piece.batch.place(index);
            if offset >= old.next_offset() && piece.batch.events.replay_of(index).is_some() {
                return Err(Fault::Refused(replay_waits(&old.plan.name)));
            }
            gather.add(&piece.batch.events, index, appended_at);
            if gather.is_full() {
                carried.appended += gather.send(target).await?;
                tell(&carried.stream, Doing::Appending, carried.appended);
            }
        }
    }
    carried.appended += gather.send(target).await?;
    tell(&carried.stream, Doing::Appending, carried.appended);
    shown(target, &old.plan.name, (partitions, carried.appended)).await
}

/// A letter has another place on the new side: who folds the replay there would not know that it is one.
fn replay_waits(stream: &str) -> String {
    format!(
        "importing {stream}: its log holds replays of dead letters that no server has folded yet; start the old server \
         once more, stop it when nothing waits, and import into empty ones"
    )
}

/// Waits until the new log shows all records, and makes sure that there are no others.
async fn shown(
    target: &Target,
    stream: &str,
    (partitions, appended): (u32, u64),
) -> Result<Vec<Extent>, Fault> {
    let began = Instant::now();
    loop {
        let mut extents = Vec::new();
        for partition in 0..partitions {
            extents.push(target.log.extent(stream, partition).await?);
        }
        let held: u64 = extents.iter().map(|extent| extent.end - extent.start).sum();
        if held == appended {
            return Ok(extents);
        }
        if held > appended || began.elapsed() > SHOWN_WITHIN {
            let doing = format!(
                "importing {stream}: the new log holds {held} records where {appended} were written; let nobody else \
                 write to it"
            );
            return Err(PortError::new(ErrorKind::Corrupt, doing).into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Records on their way into one batch.
struct Gather<'a> {
    plan: &'a Arc<Plan>,
    main: Vec<u8>,
    batch: EventBatch,
}

impl Gather<'_> {
    fn new(plan: &Arc<Plan>) -> Gather<'_> {
        Gather { plan, main: Vec::new(), batch: EventBatch::new(plan.name.clone(), Vec::new().into()) }
    }

    fn add(&mut self, events: &EventBatch, index: usize, appended_at: Timestamp) {
        let entry = events.entries[index];
        let raw = events.bytes(entry.raw);
        // What is no text has no members, and its id for a key.
        let text = std::str::from_utf8(raw).unwrap_or_default();
        let key = self.plan.key_of(text, events.text(entry.id));
        let taken = Entry {
            raw: Span::main(self.main.len(), raw.len()),
            id: self.batch.push_side(events.bytes(entry.id)),
            kind: self.batch.push_side(events.bytes(entry.kind)),
            key: self.batch.push_side(key.as_bytes()),
            received_at: Some(entry.received_at.unwrap_or(appended_at)),
            ..entry
        };
        self.main.extend_from_slice(raw);
        self.batch.entries.push(taken);
    }

    fn is_full(&self) -> bool {
        self.batch.len() >= RECORDS_MAX || self.main.len() >= BYTES_MAX
    }

    /// Appends what was gathered; returns how many records that were.
    async fn send(&mut self, target: &Target) -> Result<u64, PortError> {
        if self.batch.is_empty() {
            return Ok(0);
        }
        let Gather { main, mut batch, .. } = std::mem::replace(self, Gather::new(self.plan));
        batch.main = main.into();
        let records = batch.len() as u64;
        target.log.append(batch).await?;
        Ok(records)
    }
}
