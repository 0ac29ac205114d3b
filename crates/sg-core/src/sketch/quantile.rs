//! Quantiles by counting how many values fall into each of a fixed set of buckets, 128 to every doubling. The buckets
//! depend on nothing, and an integer's bucket is found with integers alone: so the sketch of a set of values is the
//! same to the last byte in whatever order, on whatever machine and through whatever merges it was made.
//!
//! This is DDSketch (Masson, Rim, Lee: VLDB 2019) with linearly interpolated buckets, as HdrHistogram has them, for
//! scaled decimals of either sign. The library that we use for the other sketches has KLL and t-digest, whose answers
//! depend on the order.

use super::Unreadable;
use crate::varint;

/// The bits of a value that its bucket keeps: all buckets are less than 1/128 of their values wide.
const BUCKET_BITS: u32 = 7;
/// Values below this have a bucket each.
const EXACT: u128 = 1 << BUCKET_BITS;
/// A million: quantiles are given in its parts.
const WHOLE_PPM: u128 = 1_000_000;
/// The first byte of the format.
const VERSION: u8 = 1;

/// How many values fell into each bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quantile {
    /// Bucket and count, ascending by bucket; no count is zero.
    buckets: Vec<(i32, u64)>,
}

impl Quantile {
    /// Takes in one scaled value.
    pub fn add(&mut self, value: i128) {
        self.count(bucket_of(value), 1);
    }

    /// Takes in the values of another sketch.
    pub fn merge(&mut self, other: &Quantile) {
        other.buckets.iter().for_each(|(bucket, count)| self.count(*bucket, *count));
    }

    fn count(&mut self, bucket: i32, more: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(at) => self.buckets[at].1 += more,
            Err(at) => self.buckets.insert(at, (bucket, more)),
        }
    }

    /// Returns the value below or at which `q_ppm` millionths of the values lie (nearest rank), as the middle of its
    /// bucket: off by less than 1/256 of it. `None` without values.
    pub fn read(&self, q_ppm: u32) -> Option<i128> {
        let total: u128 = self.buckets.iter().map(|(_, count)| u128::from(*count)).sum();
        let rank = (total * u128::from(q_ppm)).div_ceil(WHOLE_PPM).max(1);
        let mut seen = 0;
        self.buckets.iter().find_map(|(bucket, count)| {
            seen += u128::from(*count);
            (seen >= rank).then(|| middle_of(*bucket))
        })
    }

    /// Returns the sketch as bytes: a version, then for each bucket its distance from the last one and its count, as
    /// variable-length integers of seven bits a byte; the first bucket is zigzag-encoded.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let mut last = None;
        for (bucket, count) in &self.buckets {
            let distance = match last {
                None => varint::zigzag(i64::from(*bucket)),
                // Invariant: buckets ascend.
                Some(last) => (i64::from(*bucket) - i64::from(last)) as u64,
            };
            varint::push(&mut bytes, distance);
            varint::push(&mut bytes, *count);
            last = Some(*bucket);
        }
        bytes
    }

    /// Reads a sketch.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no such sketch.
    pub fn from_bytes(bytes: &[u8]) -> Result<Quantile, Unreadable> {
        let unreadable = |detail: &str| Unreadable::new("quantile", detail);
        let Some((&VERSION, mut rest)) = bytes.split_first() else {
            return Err(unreadable("it begins with another version"));
        };
        let mut buckets: Vec<(i32, u64)> = Vec::new();
        while !rest.is_empty() {
            let distance = varint::take(&mut rest).ok_or_else(|| unreadable("it ends early"))?;
            let count = varint::take(&mut rest).ok_or_else(|| unreadable("it ends early"))?;
            let bucket = match buckets.last() {
                None => Some(varint::unzigzag(distance)),
                Some((last, _)) => {
                    i64::try_from(distance).ok().and_then(|more| i64::from(*last).checked_add(more))
                }
            };
            let bucket = bucket.and_then(|bucket| i32::try_from(bucket).ok());
            let in_order = |bucket: &i32| buckets.last().is_none_or(|(last, _)| last < bucket);
            let bucket = bucket.filter(in_order).ok_or_else(|| unreadable("its buckets do not ascend"))?;
            if count == 0 {
                return Err(unreadable("a bucket is empty"));
            }
            buckets.push((bucket, count));
        }
        Ok(Quantile { buckets })
    }

    /// Returns about how many bytes of memory it holds.
    pub fn memory(&self) -> usize {
        self.buckets.capacity() * size_of::<(i32, u64)>()
    }
}

/// Returns the bucket of a value: zero's is 0, and that of -v is the negative of v's.
fn bucket_of(value: i128) -> i32 {
    let magnitude = value.unsigned_abs();
    let bucket = if magnitude < EXACT {
        magnitude as i32
    } else {
        let shift = magnitude.ilog2() - BUCKET_BITS;
        // Invariant: a 128-bit value has fewer than 2¹⁴ buckets.
        (shift << BUCKET_BITS) as i32 + (magnitude >> shift) as i32
    };
    if value < 0 { -bucket } else { bucket }
}

/// Returns the middle of a bucket, rounded towards zero.
fn middle_of(bucket: i32) -> i128 {
    let (sign, bucket) = (i128::from(bucket.signum()), bucket.unsigned_abs());
    if u128::from(bucket) < 2 * EXACT {
        return sign * i128::from(bucket);
    }
    let shift = (bucket >> BUCKET_BITS) - 1;
    let first = u128::from(bucket - (shift << BUCKET_BITS)) << shift;
    let middle = first + ((1u128 << shift) - 1) / 2;
    sign * i128::try_from(middle).unwrap_or(i128::MAX)
}
