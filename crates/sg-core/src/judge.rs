//! The judge of duplicates: which (key, id) pairs stand in the window of one partition.
//! A function of the records alone, so that a process that lived through them and one that read them again agree.
//! Knows nothing of dead letters: its caller does not show them.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::definition::Dedup;
use crate::time::{Timestamp, millis};

/// What the judge says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No record in the window has its key and id.
    New,
    /// An earlier record has; `conflict` tells whether its content was another.
    Duplicate {
        /// Whether the content differs from that of the copy before.
        conflict: bool,
    },
}

/// 96 bits of a keyed hash over partition key and id: senders cannot aim at a collision, and among
/// 5 million ids the chance of one by accident is below 2⁻⁵⁰.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint([u32; 3]);

/// The ids of one partition's window in a flat table of 20 bytes a slot.
#[derive(Debug)]
pub struct Judge {
    seed: u64,
    window: Dedup,
    /// Many small tables instead of one: growing or sweeping one of them is a short step that needs little memory.
    parts: Vec<Part>,
    /// The table that the last sweep left behind, for the next one.
    spare: Vec<Slot>,
    /// Offsets are kept relative to this, plus one; zero marks an empty slot.
    base: u64,
    from: u64,
    /// Runs of equal R: the first offset and its R, from the one that holds `from` on.
    runs: VecDeque<(u64, Timestamp)>,
}

#[derive(Debug, Default)]
struct Part {
    slots: Vec<Slot>,
    used: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    fingerprint: Fingerprint,
    content: u32,
    offset: u32,
}

const PARTS: usize = 256;
const SLOTS_MIN: usize = 16;
/// Windows of so many records have a table twice as large as they need.
const ROOMY_RECORDS_MAX: u64 = 128 << 10;

impl Judge {
    /// Makes a judge whose window begins at `from`, where R is `r_at_from`. The seed is the process's own secret.
    pub fn new(window: Dedup, seed: u64, from: u64, r_at_from: Timestamp) -> Judge {
        let parts = (0..PARTS).map(|_| Part::default()).collect();
        Judge {
            seed,
            window,
            parts,
            spare: Vec::new(),
            base: from,
            from,
            runs: VecDeque::from([(from, r_at_from)]),
        }
    }

    /// Returns the fingerprint of a key and id.
    pub fn fingerprint(&self, key_hash: u64, id: &[u8]) -> Fingerprint {
        let hash = xxh3_128_with_seed(id, self.seed ^ key_hash);
        Fingerprint([(hash >> 96) as u32, (hash >> 64) as u32, hash as u32])
    }

    /// Reads the first slot of each fingerprint, so that the cache misses of a batch overlap instead of queueing up.
    pub fn touch(&self, fingerprints: &[Fingerprint]) {
        let mut seen = 0;
        for fingerprint in fingerprints {
            let part = &self.parts[part_of(*fingerprint)];
            if !part.slots.is_empty() {
                seen ^= part.slots[slot_of(*fingerprint, part.slots.len())].offset;
            }
        }
        std::hint::black_box(seen);
    }

    /// Moves the window to a record at `offset` whose running maximum of log time is `r`.
    pub fn advance(&mut self, offset: u64, r: Timestamp) {
        let newest = self.runs.back().map_or(Timestamp::NEVER, |run| run.1);
        if r > newest {
            self.runs.push_back((offset, r));
        }
        self.expire(offset, r);
    }

    /// Moves the window on where no record came: every later record of the log will have at least this log time.
    pub fn pass_time(&mut self, next_offset: u64, log_time: Timestamp) {
        let r = self.runs.back().map_or(log_time, |run| run.1.max(log_time));
        let oldest = Timestamp(r.0.saturating_sub(millis(self.window.horizon)));
        if self.runs.back().is_some_and(|run| run.1 < oldest) {
            // Not even the newest record is in reach of the next one.
            self.runs.clear();
            self.runs.push_back((next_offset, r));
            self.from = next_offset;
        } else {
            self.expire(self.from, r);
        }
    }

    fn expire(&mut self, offset: u64, r: Timestamp) {
        let oldest = r.0.saturating_sub(millis(self.window.horizon));
        while self.runs.len() > 1 && self.runs[0].1.0 < oldest {
            self.runs.pop_front();
        }
        self.from = self.from.max(self.runs[0].0).max(offset.saturating_sub(self.window.records));
        while self.runs.len() > 1 && self.runs[1].0 <= self.from {
            self.runs.pop_front();
        }
    }

    /// Judges the record at `offset` and remembers it. Call [`Judge::advance`] for it first.
    pub fn judge(&mut self, fingerprint: Fingerprint, content: u32, offset: u64) -> Verdict {
        if offset - self.base >= u64::from(u32::MAX) - 1 {
            self.rebase();
        }
        let relative = (offset - self.base + 1) as u32;
        let oldest = (self.from.saturating_sub(self.base) + 1) as u32;
        let part = &mut self.parts[part_of(fingerprint)];
        if (part.used + 1) * 5 > part.slots.len() * 4 {
            part.make_room(oldest, self.window.records, &mut self.spare);
        }
        let slot = part.find(fingerprint);
        if slot.offset == 0 {
            *slot = Slot { fingerprint, content, offset: relative };
            part.used += 1;
            return Verdict::New;
        }
        if slot.offset < oldest {
            *slot = Slot { fingerprint, content, offset: relative };
            return Verdict::New;
        }
        let conflict = slot.content != content;
        // Each copy is compared with the one before it, which stands in the window: the first may have left it.
        slot.offset = relative;
        slot.content = content;
        Verdict::Duplicate { conflict }
    }

    /// Returns the first offset of the window and R there: what a rebuild of this judge starts from.
    pub fn from(&self) -> (u64, Timestamp) {
        (self.from, self.runs[0].1)
    }

    /// Returns how many bytes the tables take.
    pub fn memory(&self) -> usize {
        let slots: usize = self.parts.iter().map(|part| part.slots.len()).sum();
        slots * size_of::<Slot>() + self.runs.len() * size_of::<(u64, Timestamp)>()
    }

    fn rebase(&mut self) {
        let moved = self.from - self.base;
        for part in &mut self.parts {
            part.make_room((moved + 1) as u32, self.window.records, &mut self.spare);
            for slot in part.slots.iter_mut().filter(|slot| slot.offset != 0) {
                slot.offset -= moved as u32;
            }
        }
        self.base = self.from;
    }
}

impl Part {
    /// Drops what has left the window, and grows where that leaves too little room.
    fn make_room(&mut self, oldest: u32, records_max: u64, spare: &mut Vec<Slot>) {
        let live = self.slots.iter().filter(|slot| slot.offset >= oldest).count();
        // Five sevenths full after the sweep, so that the next one is a tenth of the table away. While the window fills
        // there is nothing to sweep: then the table doubles, and in the end leaps to what a full window needs, since
        // every table left behind is memory that was touched for nothing. A small window has twice the room: its sweeps
        // are a tenth as many, for a few megabytes.
        let fifths = if records_max <= ROOMY_RECORDS_MAX { 14 } else { 7 };
        let full =
            usize::try_from(records_max).unwrap_or(usize::MAX).div_ceil(PARTS).saturating_mul(fifths) / 5;
        let doubled = self.slots.len() * 2;
        let grown = if doubled > full / 4 { full } else { doubled };
        let size = ((live + 1) * 7 / 5).max(grown).max(SLOTS_MIN);
        spare.clear();
        spare.resize(size, Slot::default());
        std::mem::swap(&mut self.slots, spare);
        self.used = live;
        for slot in spare.iter().filter(|slot| slot.offset >= oldest) {
            *self.find(slot.fingerprint) = *slot;
        }
        if size > spare.len() {
            // A table that grew leaves one that is too small for the next.
            *spare = Vec::new();
        }
    }

    /// Returns the slot that holds the fingerprint, or the empty one where it belongs.
    fn find(&mut self, fingerprint: Fingerprint) -> &mut Slot {
        let mut at = slot_of(fingerprint, self.slots.len());
        // Invariant: a fifth of the slots is empty, so the search ends.
        while self.slots[at].offset != 0 && self.slots[at].fingerprint != fingerprint {
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
        &mut self.slots[at]
    }
}

fn part_of(fingerprint: Fingerprint) -> usize {
    (fingerprint.0[0] >> 24) as usize
}

fn slot_of(fingerprint: Fingerprint, slots: usize) -> usize {
    ((u64::from(fingerprint.0[1]) * slots as u64) >> 32) as usize
}

#[cfg(test)]
mod tests;
