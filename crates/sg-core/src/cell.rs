//! Cells: one row of a rollup, pane × dimensions, and the values of its measures.
//! Merging is associative and commutative, so that batching and order do not show.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::decimal;
use crate::definition::Function;
use crate::limits::AVERAGE_EXTRA_SCALE;
use crate::time::Timestamp;

/// The value of one measure in one cell, or what a flush adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// How many events.
    Count(u64),
    /// The scaled sum; zero without values.
    Sum(i128),
    /// The smallest scaled value, if any.
    Min(Option<i128>),
    /// The largest scaled value, if any.
    Max(Option<i128>),
    /// The scaled sum and the number of values.
    Avg {
        /// The scaled sum.
        sum: i128,
        /// How many values.
        count: u64,
    },
}

impl Value {
    /// Returns the value of no events.
    pub fn empty(function: &Function) -> Value {
        match function {
            Function::Count => Value::Count(0),
            Function::Sum(_) => Value::Sum(0),
            Function::Min(_) => Value::Min(None),
            Function::Max(_) => Value::Max(None),
            Function::Avg(_) => Value::Avg { sum: 0, count: 0 },
        }
    }

    /// Takes in one event, whose number is `None` when the field is missing.
    pub fn add(&mut self, number: Option<i128>) {
        match (self, number) {
            (Value::Count(count), _) => *count += 1,
            (_, None) => {}
            (Value::Sum(sum), Some(number)) => *sum += number,
            (Value::Min(least), Some(number)) => *least = Some(least.map_or(number, |old| old.min(number))),
            (Value::Max(most), Some(number)) => *most = Some(most.map_or(number, |old| old.max(number))),
            (Value::Avg { sum, count }, Some(number)) => {
                *sum += number;
                *count += 1;
            }
        }
    }

    /// Takes in the value of other events under the same measure; values of another measure change nothing.
    pub fn merge(&mut self, other: Value) {
        match (self, other) {
            (Value::Count(count), Value::Count(more)) => *count += more,
            (Value::Sum(sum), Value::Sum(more)) => *sum += more,
            (Value::Min(least), Value::Min(Some(other))) => {
                *least = Some(least.map_or(other, |old| old.min(other)))
            }
            (Value::Max(most), Value::Max(Some(other))) => {
                *most = Some(most.map_or(other, |old| old.max(other)))
            }
            (Value::Avg { sum, count }, Value::Avg { sum: more, count: others }) => {
                *sum += more;
                *count += others;
            }
            (mine, other) => debug_assert!(
                std::mem::discriminant(mine) == std::mem::discriminant(&other),
                "Invariant: values merge only with values of their measure"
            ),
        }
    }

    /// Returns the value as a decimal number with all its digits; `None` where there is none.
    pub fn show(&self, function: &Function) -> Option<String> {
        let scale = function.scale();
        match *self {
            Value::Count(count) => Some(count.to_string()),
            Value::Sum(sum) => Some(decimal::format(sum, scale)),
            Value::Min(value) | Value::Max(value) => value.map(|value| decimal::format(value, scale)),
            Value::Avg { count: 0, .. } => None,
            Value::Avg { sum, count } => {
                Some(decimal::format(decimal::average(sum, count, AVERAGE_EXTRA_SCALE), scale))
            }
        }
    }

    /// Returns the value as a scaled integer to order rows by; `None` where there is none.
    pub fn rank(&self) -> Option<i128> {
        match *self {
            Value::Count(count) => Some(i128::from(count)),
            Value::Sum(sum) => Some(sum),
            Value::Min(value) | Value::Max(value) => value,
            Value::Avg { count: 0, .. } => None,
            Value::Avg { sum, count } => Some(decimal::average(sum, count, AVERAGE_EXTRA_SCALE)),
        }
    }
}

/// Cells under construction: what a flush adds to each. One allocation per column, none per cell.
#[derive(Debug, Default)]
pub struct Cells {
    index: HashTable<u32>,
    keys: Vec<Key>,
    /// Every cell's dimensions, each as a two-byte length and its bytes.
    arena: Vec<u8>,
    measures: usize,
    values: Vec<Value>,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    pane: Timestamp,
    dimensions: (u32, u32),
    events: u64,
    late: u64,
    hash: u64,
}

/// One cell of [`Cells`].
#[derive(Debug, Clone, Copy)]
pub struct CellDelta<'a> {
    /// The pane's start.
    pub pane: Timestamp,
    /// Events that came to the cell, whatever its measures made of them.
    pub events: u64,
    /// Those of them that were late.
    pub late: u64,
    /// The measures' values, in order.
    pub values: &'a [Value],
    dimensions: &'a [u8],
}

impl<'a> CellDelta<'a> {
    /// Returns the dimensions' values in order.
    pub fn dimensions(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = self.dimensions;
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_at_checked(2)?;
            let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
            let (text, tail) = tail.split_at(length);
            rest = tail;
            Some(std::str::from_utf8(text).unwrap_or_default())
        })
    }
}

impl Cells {
    /// Returns the number of cells.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns about how many bytes the cells take.
    pub fn memory(&self) -> usize {
        self.keys.capacity() * size_of::<Key>()
            + self.arena.capacity()
            + self.values.capacity() * size_of::<Value>()
            + self.index.capacity() * size_of::<u32>()
    }

    /// Returns whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Counts one event into its cell and returns the cell's values. `dimensions` are encoded by [`push_dimension`].
    pub(crate) fn add(
        &mut self,
        pane: Timestamp,
        dimensions: &[u8],
        is_late: bool,
        empty: &[Value],
    ) -> &mut [Value] {
        let hash = hash_of(pane, dimensions);
        let at = match self.find(pane, dimensions, hash) {
            Some(at) => at,
            None => self.insert(pane, dimensions, hash, empty),
        };
        let key = &mut self.keys[at];
        key.events += 1;
        key.late += u64::from(is_late);
        &mut self.values[at * self.measures..(at + 1) * self.measures]
    }

    /// Takes in a whole cell, as a store returned it.
    pub fn put(
        &mut self,
        pane: Timestamp,
        dimensions: &[String],
        (events, late): (u64, u64),
        values: &[Value],
    ) {
        let mut key = Vec::new();
        dimensions.iter().for_each(|dimension| push_dimension(&mut key, dimension.as_bytes()));
        let hash = hash_of(pane, &key);
        let at = match self.find(pane, &key, hash) {
            None => self.insert(pane, &key, hash, values),
            Some(at) => {
                let mine = &mut self.values[at * self.measures..(at + 1) * self.measures];
                mine.iter_mut().zip(values).for_each(|(value, more)| value.merge(*more));
                at
            }
        };
        self.keys[at].events += events;
        self.keys[at].late += late;
    }

    fn find(&self, pane: Timestamp, dimensions: &[u8], hash: u64) -> Option<usize> {
        let is_same = |at: &u32| {
            let key = &self.keys[*at as usize];
            key.hash == hash
                && key.pane == pane
                && self.arena[key.dimensions.0 as usize..key.dimensions.1 as usize] == *dimensions
        };
        self.index.find(hash, is_same).map(|at| *at as usize)
    }

    fn insert(&mut self, pane: Timestamp, dimensions: &[u8], hash: u64, empty: &[Value]) -> usize {
        let at = self.keys.len();
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(dimensions);
        self.keys.push(Key { pane, dimensions: (start, self.arena.len() as u32), events: 0, late: 0, hash });
        self.measures = empty.len();
        self.values.extend_from_slice(empty);
        let keys = &self.keys;
        self.index.insert_unique(hash, at as u32, |at| keys[*at as usize].hash);
        at
    }

    /// Returns the cells ordered by pane and dimensions: all writers lock them in this order.
    pub fn sorted(&self) -> Vec<CellDelta<'_>> {
        let mut cells: Vec<CellDelta<'_>> = (0..self.keys.len()).map(|at| self.get(at)).collect();
        cells.sort_unstable_by(|left, right| {
            left.pane.cmp(&right.pane).then_with(|| left.dimensions().cmp(right.dimensions()))
        });
        cells
    }

    fn get(&self, at: usize) -> CellDelta<'_> {
        let key = &self.keys[at];
        CellDelta {
            pane: key.pane,
            events: key.events,
            late: key.late,
            values: &self.values[at * self.measures..(at + 1) * self.measures],
            dimensions: &self.arena[key.dimensions.0 as usize..key.dimensions.1 as usize],
        }
    }
}

fn hash_of(pane: Timestamp, dimensions: &[u8]) -> u64 {
    xxh3_64_with_seed(dimensions, pane.0 as u64)
}

/// Appends one dimension's value to a key under construction.
pub(crate) fn push_dimension(key: &mut Vec<u8>, text: &[u8]) {
    // Invariant: the plan refuses dimensions over 256 bytes, so the length fits.
    key.extend_from_slice(&(text.len() as u16).to_le_bytes());
    key.extend_from_slice(text);
}

#[cfg(test)]
mod tests;
