//! The archive: what the server that answers says of its own, or else what is configured; nothing is asked there.

use std::collections::BTreeMap;

use super::Finding;
use crate::client::status::{Archive, Status};

const ABOUT: &str = "archive";

/// Judges the archive; `configured` is its URL.
pub(super) fn look(configured: &str, status: Option<&Status>) -> Vec<Finding> {
    match status.map(|status| status.archive.as_ref()) {
        None => vec![of_configuration(configured)],
        Some(None) => vec![Finding::ok(ABOUT, "the server that answers archives nothing")],
        Some(Some(archive)) => of_server(archive),
    }
}

fn of_configuration(url: &str) -> Finding {
    let says = match url {
        "off" => "off, as far as the configuration tells: raw events are not archived".to_owned(),
        other => format!("{other}, as far as the configuration tells: nothing was asked there"),
    };
    Finding::ok(ABOUT, says)
}

fn of_server(archive: &Archive) -> Vec<Finding> {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (stream, place) in &archive.places {
        places.entry(place).or_default().push(stream);
    }
    let places: Vec<String> =
        places.iter().map(|(place, streams)| format!("{} to {place}", streams.join(", "))).collect();
    let says = match places.is_empty() {
        true => "the server that answers archives windows and late events only".to_owned(),
        false => format!("the server that answers archives {}", places.join(", and ")),
    };
    let mut findings = vec![Finding::ok(ABOUT, says)];
    for partition in &archive.partitions {
        let place = format!("{}/{}", partition.stream, partition.partition);
        if let Some(why) = &partition.stopped {
            let says = format!("that of {place} stands still: {why}");
            findings.push(Finding::fail(ABOUT, says, "do as the line says, then restart the server"));
        } else if let Some(why) = &partition.failing {
            let says = format!("that of {place} does not get on: {why}");
            findings.push(Finding::warn(ABOUT, says, "docs/archive.md: when it does not get on"));
        }
    }
    findings
}
