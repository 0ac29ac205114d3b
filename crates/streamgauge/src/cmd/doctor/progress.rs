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
    if let Some(start) = partition.log_start {
        let is_kafka = status.log == "kafka";
        findings.extend(of_lag(place, partition, start, is_kafka));
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

fn of_lag(place: &str, partition: &Partition, start: u64, is_kafka: bool) -> Option<Finding> {
    let next = partition.next_offset;
    if next < start {
        let says = format!("{} records of {place} have left the log before they were counted", start - next);
        return Some(Finding::fail(
            ABOUT,
            says,
            "docs/clusters.md tells what can be done; raise retention.ms of the topic",
        ));
    }
    let warning = partition.headroom.as_ref()?.warning.as_ref()?;
    let mend = if is_kafka {
        "start more processes with --roles process or archive, or raise retention.ms of the topic"
    } else {
        "see in /v1/status why the archive or the store does not get on"
    };
    Some(Finding::warn(ABOUT, warning, mend))
}
