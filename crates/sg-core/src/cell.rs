//! Cells: one row of a rollup, pane × dimensions, and the values of its measures.
//! Merging is associative and commutative, so that batching and order do not show.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::decimal;
use crate::definition::Function;
use crate::limits::AVERAGE_EXTRA_SCALE;
use crate::sketch::{Distinct, Frequent, Quantile, Top, Unreadable};
use crate::time::Timestamp;

/// The value of one measure in one cell, or what a flush adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// A running level.
    Level(Level),
    /// Different values.
    Distinct(Box<Distinct>),
    /// The distribution of values.
    Quantile(Box<Quantile>),
    /// Frequent values.
    Top(Box<Top>),
}

/// What events of a cell did to a level and, once it was read from a store, where it stood then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// How far the cell's events moved it.
    pub delta: i64,
    /// The pane at whose end it was read; [`Timestamp::NEVER`] while it was not.
    pub read_at: Timestamp,
    /// The level at that pane's end, over all time before.
    pub reached: i64,
}

impl Level {
    /// A move whose level is not known.
    pub fn moved(delta: i64) -> Level {
        Level { delta, read_at: Timestamp::NEVER, reached: 0 }
    }

    /// Returns the level before the moves.
    pub fn before(self) -> i64 {
        self.reached - self.delta
    }
}

/// What one event gives a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given<'a> {
    /// Nothing but itself: its field is missing.
    Event,
    /// A scaled number.
    Number(i128),
    /// A text.
    Text(&'a str),
    /// A step of a level.
    Step(i64),
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
            Function::Level { .. } => Value::Level(Level::moved(0)),
            Function::Distinct(_) => Value::Distinct(Box::default()),
            Function::Quantile { .. } => Value::Quantile(Box::default()),
            Function::Top { k, .. } => Value::Top(Box::new(Top::new(*k))),
        }
    }

    /// Takes in one event.
    pub fn add(&mut self, given: Given<'_>) {
        match (self, given) {
            (Value::Count(count), _) => *count += 1,
            (Value::Sum(sum), Given::Number(number)) => *sum += number,
            (Value::Min(least), Given::Number(number)) => {
                *least = Some(least.map_or(number, |old| old.min(number)))
            }
            (Value::Max(most), Given::Number(number)) => {
                *most = Some(most.map_or(number, |old| old.max(number)))
            }
            (Value::Avg { sum, count }, Given::Number(number)) => {
                *sum += number;
                *count += 1;
            }
            (Value::Level(level), Given::Step(step)) => level.delta += step,
            (Value::Distinct(sketch), Given::Text(text)) => sketch.add(text.as_bytes()),
            (Value::Quantile(sketch), Given::Number(number)) => sketch.add(number),
            (Value::Top(sketch), Given::Text(text)) => sketch.add(text),
            _ => {}
        }
    }

    /// Takes in the value of other events under the same measure; values of another measure change nothing.
    pub fn merge(&mut self, other: &Value) {
        match (self, other) {
            (Value::Count(count), Value::Count(more)) => *count += more,
            (Value::Sum(sum), Value::Sum(more)) => *sum += more,
            (Value::Min(least), Value::Min(Some(other))) => {
                *least = Some(least.map_or(*other, |old| old.min(*other)))
            }
            (Value::Max(most), Value::Max(Some(other))) => {
                *most = Some(most.map_or(*other, |old| old.max(*other)))
            }
            (Value::Avg { sum, count }, Value::Avg { sum: more, count: others }) => {
                *sum += more;
                *count += others;
            }
            (Value::Level(level), Value::Level(other)) => {
                let delta = level.delta + other.delta;
                let newest = if other.read_at > level.read_at { *other } else { *level };
                *level = Level { delta, ..newest };
            }
            (Value::Distinct(sketch), Value::Distinct(other)) => sketch.merge(other),
            (Value::Quantile(sketch), Value::Quantile(other)) => sketch.merge(other),
            (Value::Top(sketch), Value::Top(other)) => sketch.merge(other),
            (mine, other) => debug_assert!(
                std::mem::discriminant(mine) == std::mem::discriminant(other),
                "Invariant: values merge only with values of their measure"
            ),
        }
    }

    /// Takes out what other events gave under the same measure; returns false, with nothing changed, where that cannot be
    /// told from the two values.
    pub fn take_away(&mut self, other: &Value) -> bool {
        match (self, other) {
            (Value::Count(count), Value::Count(less)) if *less <= *count => *count -= less,
            (Value::Sum(sum), Value::Sum(less)) => *sum -= less,
            (Value::Avg { sum, count }, Value::Avg { sum: less, count: fewer }) if *fewer <= *count => {
                *sum -= less;
                *count -= fewer;
            }
            (Value::Level(level), Value::Level(other)) => level.delta -= other.delta,
            _ => return false,
        }
        true
    }

    /// Returns the value as JSON: a decimal number with all its digits, a list for frequent values; `None` where there
    /// is none.
    pub fn show(&self, function: &Function) -> Option<String> {
        if let (Value::Top(sketch), Function::Top { k, .. }) = (self, function) {
            let shown = sketch.frequent(*k).into_iter().map(|Frequent { value, count, error }| {
                let value = serde_json::Value::from(value);
                format!("{{\"value\":{value},\"count\":{count},\"error\":{error}}}")
            });
            return Some(format!("[{}]", shown.collect::<Vec<_>>().join(",")));
        }
        self.rank(function).map(|number| decimal::format(number, function.scale()))
    }

    /// Returns the value as an integer of the function's scale, by which rows are ordered; `None` where there is none.
    pub fn rank(&self, function: &Function) -> Option<i128> {
        match (self, function) {
            (Value::Count(count), _) => Some(i128::from(*count)),
            (Value::Sum(sum), _) => Some(*sum),
            (Value::Min(value) | Value::Max(value), _) => *value,
            (Value::Avg { count: 0, .. }, _) => None,
            (Value::Avg { sum, count }, _) => Some(decimal::average(*sum, *count, AVERAGE_EXTRA_SCALE)),
            (Value::Level(level), _) => Some(i128::from(level.reached)),
            (Value::Distinct(sketch), _) => Some(i128::from(sketch.estimate())),
            (Value::Quantile(sketch), Function::Quantile { q_ppm, .. }) => sketch.read(*q_ppm),
            (Value::Quantile(_) | Value::Top(_), _) => None,
        }
    }

    /// Returns the bytes of the value's sketch, if it is one.
    pub fn sketch_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Value::Distinct(sketch) => Some(sketch.to_bytes()),
            Value::Quantile(sketch) => Some(sketch.to_bytes()),
            Value::Top(sketch) => Some(sketch.to_bytes()),
            _ => None,
        }
    }

    /// Reads a function's sketch; the value of no events where the function has none.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no such sketch.
    pub fn from_sketch_bytes(function: &Function, bytes: &[u8]) -> Result<Value, Unreadable> {
        Ok(match function {
            Function::Distinct(_) => Value::Distinct(Box::new(Distinct::from_bytes(bytes)?)),
            Function::Quantile { .. } => Value::Quantile(Box::new(Quantile::from_bytes(bytes)?)),
            Function::Top { .. } => Value::Top(Box::new(Top::from_bytes(bytes)?)),
            _ => Value::empty(function),
        })
    }

    /// Returns about how many bytes the value holds beside itself.
    pub fn memory(&self) -> usize {
        match self {
            Value::Distinct(sketch) => sketch.memory(),
            Value::Quantile(sketch) => sketch.memory(),
            Value::Top(sketch) => sketch.memory(),
            _ => 0,
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
    /// Bytes that sketches hold beside their values.
    sketch_bytes: usize,
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
        self.sketch_bytes
            + self.keys.capacity() * size_of::<Key>()
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

    /// Takes note of bytes that a cell's sketches have come to hold.
    pub(crate) fn grown(&mut self, sketch_bytes: usize) {
        self.sketch_bytes += sketch_bytes;
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
                mine.iter_mut().zip(values).for_each(|(value, more)| value.merge(more));
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
        self.sketch_bytes += empty.iter().map(Value::memory).sum::<usize>();
        self.values.extend_from_slice(empty);
        let keys = &self.keys;
        self.index.insert_unique(hash, at as u32, |at| keys[*at as usize].hash);
        at
    }

    /// Returns a cell by its key.
    pub fn cell(&self, pane: Timestamp, dimensions: &[String]) -> Option<CellDelta<'_>> {
        let mut key = Vec::new();
        dimensions.iter().for_each(|dimension| push_dimension(&mut key, dimension.as_bytes()));
        self.find(pane, &key, hash_of(pane, &key)).map(|at| self.get(at))
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
