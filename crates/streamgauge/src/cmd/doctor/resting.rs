//! A log and a store file that nobody works in: whether a start would refuse them, and whether the log's closed segments are
//! whole, which a server reads when it needs them. Of those no more is looked at than there is time for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sg_core::ports::{ErrorKind, PortError};
use sg_core::time::Clock;
use sg_log::Reached;
use sg_log::look::Closed;

use super::Finding;
use super::process::{Holder, lock_holder};
use crate::clock::WallClock;
use crate::config::Settings;
use crate::config::settings::StoreChoice;
use crate::wire;

const LOG: &str = "log";
const STORE: &str = "store";
/// The remedy of what names its remedy itself.
const AS_TOLD: &str = "do as the line says";
/// How long closed segments are looked at: some gigabytes of them, and nobody gets tired of waiting.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at the log in `dir` and the store beside it; finds nothing where somebody may be working.
pub(super) fn look(settings: &Settings, dir: &Path) -> Vec<Finding> {
    let lock = settings.data_dir.join("lock");
    let is_resting = || !lock.try_exists().unwrap_or(true) || lock_holder(&lock) == Holder::Nobody;
    if !is_resting() {
        return Vec::new();
    }
    let findings = judged(settings, dir);
    // Who began to work meanwhile changes what is read.
    if is_resting() { findings } else { Vec::new() }
}

fn judged(settings: &Settings, dir: &Path) -> Vec<Finding> {
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    let mut findings = Vec::new();
    let reached = reached(settings, &clock).unwrap_or_else(|error| {
        findings.push(of_store(error));
        Vec::new()
    });
    let is_there = dir.try_exists().unwrap_or(false);
    match wire::check_log(settings, dir, &clock, (reached, Instant::now() + LOOK)) {
        Ok(closed) if is_there => findings.extend(taken(closed)),
        Ok(_) => findings.push(Finding::ok(LOG, "the first start makes it")),
        Err(error) => findings.push(refused(LOG, error)),
    }
    findings
}

/// Says of a log that a start takes what its closed segments are like.
pub(super) fn taken(closed: Closed) -> Vec<Finding> {
    let Closed { segments, looked_at, damaged } = closed;
    let whole = looked_at - damaged.len();
    let mut says = "a start takes it: its newest records are whole".to_owned();
    if segments > 0 {
        says += &format!(", and so are {whole} of its {segments} closed segments");
    }
    if looked_at < segments {
        says +=
            &format!("; the {} oldest of those were not looked at, for want of time", segments - looked_at);
    }
    let of_damaged = damaged.into_iter().map(|error| {
        // What is only unreadable no salvage mends.
        let is_mended = error.kind == ErrorKind::Corrupt;
        let unreadable = "make the file readable; where the disk fails, restore a copy of the data directory";
        let mend = if is_mended { AS_TOLD } else { unreadable };
        let error = anyhow::Error::from(error);
        Finding::fail(LOG, format!("who reads this closed segment stops there: {error:#}"), mend)
    });
    std::iter::once(Finding::ok(LOG, says)).chain(of_damaged).collect()
}

/// Returns how far the store beside the log has read it; a server's is asked when the start does.
fn reached(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Vec<Reached>, PortError> {
    match &settings.store {
        StoreChoice::Sqlite(file) if file.try_exists().unwrap_or(false) => wire::reached_by(file, clock),
        _ => Ok(Vec::new()),
    }
}

fn of_store(error: PortError) -> Finding {
    if error.kind == ErrorKind::Corrupt {
        return refused(STORE, error);
    }
    let error = anyhow::Error::from(error);
    let says = format!("how far it has read the log cannot be seen without changing it: {error:#}");
    Finding::ok(STORE, says)
}

fn refused(about: &'static str, error: PortError) -> Finding {
    let error = anyhow::Error::from(error);
    Finding::fail(about, format!("a start refuses it: {error:#}"), AS_TOLD)
}
