//! The last N ids in two flat tables: judged by one look each, no list of what to forget.
//! Remembers at least the last N and at most the last 2 N.

/// A 128-bit hash of an id; zero is never one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdHash(u128);

impl IdHash {
    /// Hashes an id.
    pub fn of(id: &str) -> IdHash {
        IdHash(xxhash_rust::xxh3::xxh3_128(id.as_bytes()) | 1)
    }
}

/// The tables: the newer one is filled until it holds N, then takes the place of the older one.
#[derive(Debug)]
pub struct RecentIds {
    newer: Vec<u128>,
    older: Vec<u128>,
    in_newer: usize,
    ids_min: usize,
}

impl RecentIds {
    /// Makes tables that remember at least `ids_min` ids, at 16 bytes a slot and a load below two thirds.
    pub fn new(ids_min: usize) -> RecentIds {
        let slots = (ids_min * 3 / 2).next_power_of_two();
        RecentIds { newer: vec![0; slots], older: vec![0; slots], in_newer: 0, ids_min }
    }

    /// Reads the first slot of each id, so that the cache misses of a batch overlap instead of queueing up.
    pub fn touch(&self, ids: impl Iterator<Item = IdHash>) {
        let mut seen = 0;
        for id in ids {
            let slot = self.first_slot(id);
            seen ^= self.newer[slot] ^ self.older[slot];
        }
        std::hint::black_box(seen);
    }

    /// Remembers an id; returns whether it was new.
    pub fn insert(&mut self, id: IdHash) -> bool {
        let first = self.first_slot(id);
        if self.older[find(&self.older, first, id.0)] == id.0 {
            return false;
        }
        let slot = find(&self.newer, first, id.0);
        if self.newer[slot] == id.0 {
            return false;
        }
        self.newer[slot] = id.0;
        self.in_newer += 1;
        if self.in_newer == self.ids_min {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.fill(0);
            self.in_newer = 0;
        }
        true
    }

    fn first_slot(&self, id: IdHash) -> usize {
        (id.0 >> 64) as usize & (self.newer.len() - 1)
    }
}

/// Returns the slot that holds the id, or the empty one where it belongs.
fn find(table: &[u128], first: usize, id: u128) -> usize {
    let mut slot = first;
    // Invariant: a third of the slots is empty, so the search ends.
    while table[slot] != 0 && table[slot] != id {
        slot = (slot + 1) & (table.len() - 1);
    }
    slot
}

#[cfg(test)]
mod tests;
