//! How far store and archive have read an embedded log, which may not end before that, nor be another. Reads only; what is to
//! be done about a log that ends before is the log's to say.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sg_core::ports::{ArchivePosition, ErrorKind, PortError, StatusDetail, StoreStatus};
use sg_core::time::Clock;
use sg_log::Reached;
use sg_log::look::{self as log_look, Closed};
use sg_store::sqlite;

use super::{Failure, StoreParts, log_options, patiently};
use crate::config::Settings;

/// Asks the store; a file of this machine is asked once.
pub(super) async fn look(store: &StoreParts, is_file: bool) -> Result<Vec<Reached>, Failure> {
    let (status, positions) = if is_file {
        read(store).await.map_err(Failure::of_disk)?
    } else {
        patiently("looking at the store", || read(store)).await?
    };
    Ok(of(&status, &positions))
}

fn of(status: &StoreStatus, positions: &[ArchivePosition]) -> Vec<Reached> {
    let mut all = Vec::new();
    for known in status.partitions.iter().filter(|known| known.partition == 0) {
        let is_its = |position: &&ArchivePosition| position.stream == known.stream && position.partition == 0;
        // An archive stands behind what was folded, or has gone ahead of it.
        let archived_to = positions.iter().find(is_its).map_or(0, |position| position.next_offset);
        all.push(Reached {
            log_identity: known.log_identity.clone(),
            stream: known.stream.clone(),
            offset: known.next_offset.max(archived_to),
        });
    }
    all
}

/// Refuses a log that is not the one to which the offsets of a file beside it belong, as the owner of a partition would, but
/// before anything is made or served.
pub(super) fn refuse_another(settings: &Settings, dir: &Path, reached: &[Reached]) -> Result<(), PortError> {
    let is_ours = |known: &&Reached| {
        settings.roles.process && settings.streams.iter().any(|stream| stream.stream.name == known.stream)
    };
    let mut ours = reached.iter().filter(is_ours).peekable();
    if ours.peek().is_none() {
        return Ok(());
    }
    let identity = log_look::identity(dir)?;
    let another = ours.find(|known| identity.as_ref() != Some(&known.log_identity));
    another.map_or(Ok(()), |Reached { stream, log_identity: stored, .. }| {
        Err(match &identity {
            Some(found) => sg_store::another_log(stream, 0, stored, found),
            None => {
                let doing = format!(
                    "claiming {stream}/0: its offsets belong to the log {stored:?}, and there is none in {}: bring \
                     the log back, or begin with an empty store",
                    dir.display()
                );
                PortError::new(ErrorKind::Corrupt, doing)
            }
        })
    })
}

/// Returns how far a file that nobody works on has read the log, without changing it; nothing of one that is yet to be made
/// or brought up to date.
pub(crate) fn reached_by(file: &Path, clock: &Arc<dyn Clock>) -> Result<Vec<Reached>, PortError> {
    let looked = sqlite::look(file, clock.now())?;
    Ok(looked.map(|(status, positions)| of(&status, &positions)).unwrap_or_default())
}

/// Says why a start would refuse a log that nobody works in, without opening it; else what is in its closed segments, which are
/// looked at until a time.
pub(crate) fn check_log(
    settings: &Settings,
    dir: &Path,
    clock: &Arc<dyn Clock>,
    (reached, until): (Vec<Reached>, Instant),
) -> Result<Closed, PortError> {
    refuse_another(settings, dir, &reached)?;
    log_look::check(&log_options(settings, dir, clock, (false, reached)), until)
}

async fn read(store: &StoreParts) -> Result<(StoreStatus, Vec<ArchivePosition>), PortError> {
    // A database that is new, or an older program's, has no such tables yet.
    store.writer.prepare(&[], &[]).await?;
    Ok((store.reader.status(StatusDetail::Marks).await?, store.manifest.archive_positions().await?))
}
