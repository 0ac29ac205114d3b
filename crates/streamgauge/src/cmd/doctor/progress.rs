//! How far a running server is, beside what its log still has: what leaves the log before it is counted is lost.

use super::Finding;
use crate::client::status::{Partition, Status};

const ABOUT: &str = "retention";
/// Duplicates that come later than this after the first are common: clients resend after some minutes.
const REACH_MIN_SECONDS: u64 = 600;

/// Looks at every partition, and sums up those that are well.
pub(super) fn look(status: &Status) -> Vec<Finding> {
    let partitions = status.streams.iter().flat_map(|stream| {
        stream
            .partitions
            .iter()
            .map(move |partition| (format!("{}/{}", stream.name, partition.partition), partition))
    });
    let findings: Vec<Finding> =
        partitions.flat_map(|(place, partition)| of_partition(&place, partition, status)).collect();
    if !findings.is_empty() {
        return findings;
    }
    let told = match status.waiting() {
        0 => "nothing waits to be counted".to_owned(),
        waiting => format!("{waiting} records wait to be counted, and the log keeps them"),
    };
    vec![Finding::ok(ABOUT, told)]
}

fn of_partition(place: &str, partition: &Partition, status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(why) = &partition.stopped {
        findings.push(Finding::fail(
            "partitions",
            format!("{place} stands still: {why}"),
            "do as the line says, then restart the server",
        ));
    }
    if let Some((start, end)) = partition.log_start.zip(partition.log_end) {
        findings.extend(of_lag(place, partition.next_offset, (start, end), status.log == "kafka"));
    }
    if let Some(seconds) = partition.duplicate_reach_seconds.filter(|seconds| *seconds < REACH_MIN_SECONDS) {
        let says = format!("in {place} a duplicate is recognised for {seconds} s only");
        findings.push(Finding::warn(
            "duplicates",
            says,
            "raise dedup.records or dedup.horizon of the stream",
        ));
    }
    findings
}

fn of_lag(place: &str, next: u64, (start, end): (u64, u64), is_kafka: bool) -> Option<Finding> {
    if next < start {
        let says = format!("{} records of {place} have left the log before they were counted", start - next);
        return Some(Finding::fail(
            ABOUT,
            says,
            "docs/clusters.md tells what can be done; raise retention.ms of the topic",
        ));
    }
    let (lag, kept) = (end.saturating_sub(next), end.saturating_sub(start));
    // The embedded log removes nothing that is not counted; a topic does, once it has begun to remove at all.
    if is_kafka && start > 0 && lag > kept / 2 {
        let says = format!(
            "{lag} of the {kept} records that {place} keeps are not counted yet, and old ones are being removed"
        );
        let mend = "start more processes with --roles process, or raise retention.ms of the topic";
        return Some(Finding::warn(ABOUT, says, mend));
    }
    None
}
