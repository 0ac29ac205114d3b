//! Sketches: measures that are not one number but a summary from which one is read. Each merges with any other of its
//! kind, so that cells of several partitions, panes and flushes become one.
//!
//! What [`Distinct`] and [`Quantile`] answer is a function of the set of events; [`Top`] keeps only its bounds.

mod quantile;

use std::cmp::Reverse;
use std::fmt;

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use datasketches::hll::{HllSketch, HllType, HllUnion};

use crate::definition::Function;
use crate::limits::DIMENSION_BYTES_MAX;

pub use quantile::Quantile;

/// Bytes from a store that are no sketch of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bytes of a {kind} sketch cannot be read: {detail}")]
pub struct Unreadable {
    pub(crate) kind: &'static str,
    pub(crate) detail: String,
}

impl Unreadable {
    fn new(kind: &'static str, detail: impl fmt::Display) -> Unreadable {
        Unreadable { kind, detail: detail.to_string() }
    }
}

/// 2¹² registers: a standard error of 1.6 %, in at most 4 KiB.
const REGISTERS_LOG2: u8 = 12;

/// How many different values there are, about: HyperLogLog. Up to some hundred values the answer is exact but for
/// collisions of 26-bit hashes.
///
/// Read by the estimator that does not depend on the order of insertion, so that equal sets have equal answers. Their
/// bytes may differ: they also hold how the sketch was built up.
#[derive(Clone)]
pub struct Distinct(HllSketch);

impl Default for Distinct {
    fn default() -> Distinct {
        Distinct(HllSketch::new(REGISTERS_LOG2, HllType::Hll8).expect("2¹² registers are allowed"))
    }
}

impl Distinct {
    /// Takes in one value.
    pub fn add(&mut self, value: &[u8]) {
        self.0.update(value);
    }

    /// Takes in the values of another sketch.
    pub fn merge(&mut self, other: &Distinct) {
        let mut union = HllUnion::new(REGISTERS_LOG2).expect("2¹² registers are allowed");
        union.update(&self.0);
        union.update(&other.0);
        self.0 = union.to_sketch(HllType::Hll8);
    }

    /// Returns about how many different values were taken in.
    pub fn estimate(&self) -> u64 {
        self.0.composite_estimate().round() as u64
    }

    /// Returns the sketch as bytes, in the format of Apache DataSketches.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize()
    }

    /// Reads a sketch.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no such sketch.
    pub fn from_bytes(bytes: &[u8]) -> Result<Distinct, Unreadable> {
        let read = HllSketch::deserialize(bytes);
        read.map(Distinct).map_err(|error| Unreadable::new("distinct", error.message()))
    }

    /// Returns about how many bytes of memory it holds.
    pub fn memory(&self) -> usize {
        self.0.estimated_size()
    }
}

impl fmt::Debug for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distinct({})", self.0.composite_estimate())
    }
}

/// Two are equal when they answer alike.
impl PartialEq for Distinct {
    fn eq(&self, other: &Distinct) -> bool {
        self.0.composite_estimate() == other.0.composite_estimate()
    }
}

impl Eq for Distinct {}

/// The values that occur most often, with bounds: the frequent-items sketch of Apache DataSketches (Misra and Gries).
///
/// Exact while there are no more different values than eight times the number asked for; beyond that a count is too
/// large by no more than its error, which depends on the order in which sketches were merged.
#[derive(Debug, Clone)]
pub struct Top {
    sketch: FrequentItemsSketch<String>,
    /// About how many bytes its texts take: those that came in, while none has been dropped for it.
    text_bytes: usize,
}

/// One value of [`Top`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frequent {
    /// The value.
    pub value: String,
    /// It occurred no more often than this.
    pub count: u64,
    /// It occurred no less often than `count` less this.
    pub error: u64,
}

/// Counters kept for each value that is asked for: a long tail then hardly moves the head.
const COUNTERS_PER_ITEM: u32 = 8;
/// A handle and the allocator's share of one text.
const TEXT_OVERHEAD_BYTES: usize = 40;

impl Top {
    /// Makes an empty sketch that is to name `k` values.
    pub fn new(k: u32) -> Top {
        let sketch = FrequentItemsSketch::new(map_size(k));
        let sketch =
            sketch.expect("the configuration bounds k, so the size is a power of two within the limits");
        Top { sketch, text_bytes: 0 }
    }

    /// Takes in one value.
    pub fn add(&mut self, value: &str) {
        let known = self.sketch.num_active_items();
        self.sketch.update_ref(value);
        if self.sketch.num_active_items() > known {
            self.text_bytes += value.len() + TEXT_OVERHEAD_BYTES;
        }
    }

    /// Takes in the values of another sketch.
    pub fn merge(&mut self, other: &Top) {
        self.sketch.merge(&other.sketch);
        self.text_bytes += other.text_bytes;
    }

    /// Returns the `k` values that occurred most often, the most frequent first, equal ones by their texts.
    pub fn frequent(&self, k: u32) -> Vec<Frequent> {
        let rows = self.sketch.frequent_items(ErrorType::NoFalseNegatives);
        let mut found: Vec<Frequent> = rows
            .iter()
            .map(|row| Frequent {
                value: row.item().clone(),
                count: row.upper_bound(),
                error: row.upper_bound() - row.lower_bound(),
            })
            .collect();
        found.sort_by(|left, right| {
            (Reverse(left.count), &left.value).cmp(&(Reverse(right.count), &right.value))
        });
        found.truncate(k as usize);
        found
    }

    /// Returns the sketch as bytes, in the format of Apache DataSketches.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.sketch.serialize()
    }

    /// Reads a sketch.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no such sketch.
    pub fn from_bytes(bytes: &[u8]) -> Result<Top, Unreadable> {
        let read = FrequentItemsSketch::deserialize(bytes);
        let whole = |sketch| Top { sketch, text_bytes: bytes.len() };
        read.map(whole).map_err(|error| Unreadable::new("top", error.message()))
    }

    /// Returns about how many bytes of memory it holds.
    pub fn memory(&self) -> usize {
        self.sketch.estimated_size() + self.text_bytes
    }
}

/// Returns the size of the map behind `k` values, a power of two of which three quarters are used.
fn map_size(k: u32) -> usize {
    (k as usize * COUNTERS_PER_ITEM as usize * 4).div_ceil(3).next_power_of_two()
}

/// Returns the most bytes that a sketch of a function takes where it is stored: by it a store bounds how many it handles
/// at once. A distribution over more than a thousandfold has more, but hardly any has.
pub fn bytes_max(function: &Function) -> usize {
    match function {
        Function::Distinct(_) => (1 << REGISTERS_LOG2) + 64,
        Function::Quantile { .. } => 16 << 10,
        Function::Top { k, .. } => map_size(*k) / 4 * 3 * (DIMENSION_BYTES_MAX + 16),
        _ => 0,
    }
}

/// Two are equal when they answer alike.
impl PartialEq for Top {
    fn eq(&self, other: &Top) -> bool {
        self.frequent(u32::MAX) == other.frequent(u32::MAX)
    }
}

impl Eq for Top {}

#[cfg(test)]
mod tests;
