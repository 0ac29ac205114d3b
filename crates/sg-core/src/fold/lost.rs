//! Offsets whose records the log has lost, as far as they are not yet counted.

use std::ops::Range;

/// Ranges of offsets, ascending and apart.
#[derive(Debug)]
pub(super) struct Lost {
    ranges: Vec<Range<u64>>,
    /// Everything before is in the ranges, or was counted.
    told_to: u64,
}

impl Lost {
    /// None, of which those before an offset were counted.
    pub(super) fn from(offset: u64) -> Lost {
        Lost { ranges: Vec::new(), told_to: offset }
    }

    /// Adds a range that begins where none before it does; what was added before is left out.
    pub(super) fn add(&mut self, range: Range<u64>) {
        let start = range.start.max(self.told_to);
        if start < range.end {
            self.ranges.push(start..range.end);
            self.told_to = range.end;
        }
    }

    /// Returns how many of a range's offsets are lost.
    pub(super) fn count(&self, range: Range<u64>) -> u64 {
        let shared = |lost: &Range<u64>| lost.end.min(range.end).saturating_sub(lost.start.max(range.start));
        self.ranges.iter().map(shared).sum()
    }

    /// Forgets what lies before an offset.
    pub(super) fn forget(&mut self, before: u64) {
        self.ranges.retain(|lost| lost.end > before);
        self.told_to = self.told_to.max(before);
    }
}
