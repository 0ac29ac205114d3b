//! What every backend says in the same words: refusals that do not depend on what the store is made of.

use std::time::Duration;

use sg_core::plan::Plan;
use sg_core::ports::{ErrorKind, PortError};

/// How long a question may take: whoever asked has gone away by then.
pub(crate) const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Archive files retired in one transaction.
pub(crate) const FILES_PER_STEP: i64 = 100;

fn invalid(what: String) -> PortError {
    PortError::new(ErrorKind::Invalid, what)
}

/// The store was written by a newer program.
pub(crate) fn newer_schema(stored: i64, known: usize) -> PortError {
    invalid(format!(
        "opening the store: its schema has version {stored}, this binary knows {known}: run a newer streamgauge"
    ))
}

/// Tells that a store was brought to this version, which none before reads.
pub(crate) fn tell_migrated(from: usize, to: usize) {
    if 0 < from && from < to {
        tracing::info!(
            "the store was brought from schema {from} to {to}: older versions refuse it from now on"
        );
    }
}

/// A rollup's stored definition is not the configured one.
pub(crate) fn another_definition(rollup: &str) -> PortError {
    invalid(format!(
        "preparing the rollup {rollup}: its cells were counted under another definition: give the new one another \
         name, bring the old definition back, or start once with --rebuild {rollup}, which drops the old cells and makes \
         them again from the log"
    ))
}

/// A rollup's name is a stored one in other letters.
pub(crate) fn another_case(rollup: &str, known: &str) -> PortError {
    invalid(format!(
        "preparing the rollup {rollup:?}: its name differs from {known:?}, which is stored, in case only: rename it"
    ))
}

/// A view's name belongs to somebody else.
pub(crate) fn not_ours(view: &str, found: &str) -> PortError {
    invalid(format!(
        "making the view {view:?}: the database has a {found} of that name that is not ours, rename one of them"
    ))
}

/// A partition's offsets are those of another log.
pub fn another_log(stream: &str, partition: u32, stored: &str, claimed: &str) -> PortError {
    PortError::new(
        ErrorKind::Corrupt,
        format!(
            "claiming {stream}/{partition}: its offsets belong to the log {stored:?}, this one is {claimed:?}: bring \
             the log back, or begin with an empty store"
        ),
    )
}

/// A partition is flushed or asked for that nobody claimed.
pub(crate) fn never_claimed(doing: &str, stream: &str, partition: u32) -> PortError {
    invalid(format!("{doing} {stream}/{partition}: it was never claimed"))
}

/// A flush names a rollup that the store does not know.
pub(crate) fn never_prepared(rollup: &str) -> PortError {
    invalid(format!("flushing into {rollup}: the rollup was never prepared"))
}

/// A flush names a rollup that the claim of its partition did not.
pub(crate) fn not_in_the_claim(rollup: &str) -> PortError {
    invalid(format!("flushing into {rollup}: the claim did not name it"))
}

/// A dead letter has a reason that this binary does not know.
pub(crate) fn unknown_reason(reason: &str) -> PortError {
    invalid(format!("reading dead letters: the reason {reason:?} is not known: run a newer streamgauge"))
}

/// Windows are closed of a stream that the store does not know.
pub(crate) fn unknown_stream(stream: &str) -> PortError {
    invalid(format!("closing windows of {stream}: the stream was never prepared"))
}

/// A question filters by a dimension that its rollup does not have.
pub(crate) fn no_dimension(rollup: &str, dimension: usize) -> PortError {
    invalid(format!("reading {rollup}: it has no dimension {dimension}"))
}

/// Raw events came without the fields of their columns.
pub(crate) fn fields_not_read() -> PortError {
    PortError::new(ErrorKind::Corrupt, "writing raw rows: their fields were not read")
}

/// Returns what a partition is folded by, for whoever looks into the tables.
pub(crate) fn definitions(plan: &Plan) -> String {
    let hashes =
        plan.rollups.iter().map(|planned| format!("{}={}", planned.rollup.name, planned.rollup.hash()));
    hashes.collect::<Vec<_>>().join(" ")
}
