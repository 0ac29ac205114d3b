//! What an owner does about records that the log has lost and was told to go on without: it says so, and has the fold count
//! their offsets. Whether the log may pass them is the log's to decide.

use super::{Owner, Stretch};

impl Owner {
    /// Has the fold skip what the reader has come by.
    pub(super) fn skip_lost(&self, stretch: &mut Stretch) {
        for offsets in stretch.reader.lost() {
            tracing::warn!(
                stream = %self.partition.plan.name, partition = self.partition.number,
                from = offsets.start, to = offsets.end,
                "the log has lost the records of these offsets: they are skipped, and counted as that"
            );
            stretch.fold.lose(offsets);
        }
    }
}
