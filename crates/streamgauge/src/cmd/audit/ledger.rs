//! Whether the ledger of a status adds up. Pure.

use super::Check;
use crate::client::status::{Partition, Rollup, Status};

/// Checks every partition and every rollup.
pub(super) fn checks(status: &Status) -> Vec<Check> {
    let is_embedded = status.log == "embedded";
    let mut checks = Vec::new();
    for stream in &status.streams {
        for partition in &stream.partitions {
            let place = format!("{}/{}", stream.name, partition.partition);
            checks.push(fates(&place, partition));
            if is_embedded {
                checks.push(offsets(&place, partition));
            }
            checks.push(progress(&place, partition, is_embedded));
        }
    }
    checks.extend(status.rollups.iter().map(cells));
    checks
}

/// Checks only that the sums are right, which holds at any moment, however much is under way.
pub(super) fn sums(status: &Status) -> Vec<Check> {
    let is_embedded = status.log == "embedded";
    let mut checks = Vec::new();
    for stream in &status.streams {
        for partition in &stream.partitions {
            let place = format!("{}/{}", stream.name, partition.partition);
            checks.push(fates(&place, partition));
            checks.extend(is_embedded.then(|| offsets(&place, partition)));
        }
    }
    checks.extend(status.rollups.iter().map(cells));
    checks
}

fn fates(place: &str, partition: &Partition) -> Check {
    let ledger = &partition.ledger;
    let sum = ledger.counted + ledger.duplicate + ledger.dead_lettered + ledger.deleted;
    let holds = ledger.processed == sum;
    let detail = format!(
        "processed {} {} counted {} + duplicate {} + dead-lettered {} + deleted {}",
        ledger.processed,
        sign(holds),
        ledger.counted,
        ledger.duplicate,
        ledger.dead_lettered,
        ledger.deleted
    );
    Check::new(format!("ledger of {place}"), holds, detail)
}

fn offsets(place: &str, partition: &Partition) -> Check {
    let Partition { first_offset, next_offset, ledger, .. } = partition;
    let holds = next_offset.checked_sub(*first_offset) == Some(ledger.processed + ledger.skipped);
    let detail = format!(
        "processed {} + skipped {} {} next offset {next_offset} − first offset {first_offset}",
        ledger.processed,
        ledger.skipped,
        sign(holds)
    );
    Check::new(format!("offsets of {place}"), holds, detail)
}

fn progress(place: &str, partition: &Partition, is_embedded: bool) -> Check {
    let subject = format!("progress of {place}");
    if let Some(reason) = &partition.stopped {
        return Check::new(subject, false, format!("stopped: {reason}"));
    }
    let Some(log_end) = partition.log_end else {
        let detail = format!("next offset {}, the log's end is not known here", partition.next_offset);
        return Check::new(subject, !is_embedded, detail);
    };
    let holds = partition.next_offset == log_end;
    let detail = format!("next offset {} {} log end {log_end}", partition.next_offset, sign(holds));
    // A Kafka log may end in marks that are no records, so that only its offsets behind it are a fault.
    Check::new(subject, holds || !is_embedded, detail)
}

fn cells(rollup: &Rollup) -> Check {
    let ledger = &rollup.ledger;
    let sum =
        ledger.in_cells + ledger.removed + ledger.diverted + ledger.expired + ledger.unfit + ledger.deleted;
    let holds = ledger.folded == sum;
    let detail = format!(
        "folded {} {} in cells {} + removed {} + diverted {} + expired {} + unfit {} + deleted {}",
        ledger.folded,
        sign(holds),
        ledger.in_cells,
        ledger.removed,
        ledger.diverted,
        ledger.expired,
        ledger.unfit,
        ledger.deleted
    );
    Check::new(format!("ledger of {}", rollup.name), holds, detail)
}

fn sign(holds: bool) -> char {
    if holds { '=' } else { '≠' }
}
