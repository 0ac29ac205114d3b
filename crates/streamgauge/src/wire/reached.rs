//! How far store and archive have read an embedded log, which may not end before that. Reads only; what is to be done about a
//! log that does is the log's to say.

use sg_core::ports::{ArchivePosition, PortError, StatusDetail, StoreStatus};
use sg_log::Reached;

use super::{Failure, StoreParts, patiently};

/// Asks the store; a file of this machine is asked once.
pub(super) async fn look(store: &StoreParts, is_file: bool) -> Result<Vec<Reached>, Failure> {
    let (status, positions) = if is_file {
        read(store).await.map_err(Failure::of_disk)?
    } else {
        patiently("looking at the store", || read(store)).await?
    };
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
    Ok(all)
}

async fn read(store: &StoreParts) -> Result<(StoreStatus, Vec<ArchivePosition>), PortError> {
    // A database that is new, or an older program's, has no such tables yet.
    store.writer.prepare(&[], &[]).await?;
    Ok((store.reader.status(StatusDetail::Marks).await?, store.manifest.archive_positions().await?))
}
