//! A log and a store file that nobody works in: whether a start would refuse them. Reads what a start reads of them, so that
//! older records, which a server reads when it needs them, are not looked at here either.

use std::path::Path;
use std::sync::Arc;

use sg_core::ports::{ErrorKind, PortError};
use sg_core::time::Clock;
use sg_log::Reached;

use super::Finding;
use super::process::{Holder, lock_holder};
use crate::clock::WallClock;
use crate::config::Settings;
use crate::config::settings::StoreChoice;
use crate::wire;

const LOG: &str = "log";
const STORE: &str = "store";

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
    match wire::check_log(settings, dir, &clock, reached) {
        Ok(()) if is_there => {
            let says =
                "a start takes it: its newest records are whole; older ones are checked when they are read";
            findings.push(Finding::ok(LOG, says));
        }
        Ok(()) => findings.push(Finding::ok(LOG, "the first start makes it")),
        Err(error) => findings.push(refused(LOG, error)),
    }
    findings
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
    Finding::fail(about, format!("a start refuses it: {error:#}"), "do as the line says")
}
