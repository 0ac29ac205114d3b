//! Histograms of times by stream. They are counted without a lock where the events are, a flush at a time, and added up
//! here once a flush: an event costs an addition.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use super::{head, line};

/// The upper bounds of a histogram.
pub trait Bounds: 'static {
    /// In milliseconds, ascending.
    const MS: &'static [i64];
}

/// From receiving an event until it is stored. The built-in interval of flushes, 250 ms, has bounds beside it on both sides,
/// where a server that is well has its events; half a minute and more is an outage, told by its length.
#[derive(Debug)]
pub struct LatencyBounds;

impl Bounds for LatencyBounds {
    const MS: &'static [i64] =
        &[10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 3_600_000];
}

/// How late events are. Zero is in time; the rest are where people set a grace, so that what a longer one would have
/// caught is the difference of two counts.
#[derive(Debug)]
pub struct LatenessBounds;

impl Bounds for LatenessBounds {
    const MS: &'static [i64] = &[
        0, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 21_600_000,
        86_400_000,
    ];
}

/// Times that were counted, and nobody else sees.
#[derive(Debug)]
pub struct Spread<B> {
    /// One more than bounds.
    buckets: Box<[u64]>,
    sum_ms: u64,
    bounds: PhantomData<B>,
}

impl<B: Bounds> Default for Spread<B> {
    fn default() -> Spread<B> {
        Spread { buckets: vec![0; B::MS.len() + 1].into_boxed_slice(), sum_ms: 0, bounds: PhantomData }
    }
}

impl<B: Bounds> Spread<B> {
    /// Counts so many times of one length; one below zero, as clocks that differ make it, is zero.
    #[inline]
    pub fn add(&mut self, ms: i64, count: u64) {
        let bucket = if ms <= B::MS[0] { 0 } else { B::MS.partition_point(|bound| *bound < ms) };
        self.buckets[bucket] += count;
        self.sum_ms = self.sum_ms.saturating_add(u64::try_from(ms).unwrap_or(0).saturating_mul(count));
    }

    fn merge(&mut self, other: &Spread<B>) {
        for (mine, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += more;
        }
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }

    /// Returns how many times were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The histogram of each stream that had any times.
#[derive(Debug)]
pub struct ByStream<B>(Mutex<BTreeMap<String, Spread<B>>>);

impl<B> Default for ByStream<B> {
    fn default() -> ByStream<B> {
        ByStream(Mutex::default())
    }
}

/// Latencies of each stream.
pub type Latencies = ByStream<LatencyBounds>;
/// How late the events of each stream were.
pub type Latenesses = ByStream<LatenessBounds>;

impl<B: Bounds> ByStream<B> {
    /// Adds what was counted of a stream.
    pub fn add(&self, stream: &str, spread: &Spread<B>) {
        if spread.count() == 0 {
            return;
        }
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.get_mut(stream) {
            Some(known) => known.merge(spread),
            None => streams.entry(stream.to_owned()).or_default().merge(spread),
        }
    }

    /// Returns how many times were counted of a stream.
    pub fn count(&self, stream: &str) -> u64 {
        let streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(stream).map_or(0, Spread::count)
    }

    pub(super) fn render(&self, name: &str, help: &str, out: &mut String) {
        head(out, name, "histogram", help);
        let streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (stream, spread) in &*streams {
            let mut total = 0;
            for (bound_ms, count) in B::MS.iter().zip(&spread.buckets) {
                total += count;
                let bound = *bound_ms as f64 / 1e3;
                line(out, format_args!("{name}_bucket{{stream=\"{stream}\",le=\"{bound}\"}} {total}"));
            }
            let total = spread.count();
            line(out, format_args!("{name}_bucket{{stream=\"{stream}\",le=\"+Inf\"}} {total}"));
            line(out, format_args!("{name}_sum{{stream=\"{stream}\"}} {}", spread.sum_ms as f64 / 1e3));
            line(out, format_args!("{name}_count{{stream=\"{stream}\"}} {total}"));
        }
    }
}
