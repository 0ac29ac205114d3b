//! A run of events: their times, ids and order, with late ones and resends. The same shape makes the same bytes.

use std::time::Duration;

use sg_core::time::{Timestamp, millis};

use super::random::{Random, mixed};
use super::{Cast, Scene, Stream};

/// Late events are dated back at least so far: the longest window that ships, an hour, has then passed its end by
/// more than its grace, and the shorter ones by more than theirs (10 min at most).
const LATE_BACK_MIN: Duration = Duration::from_secs(75 * 60);
/// Late events are dated back by up to this much more.
const LATE_BACK_SPREAD: Duration = Duration::from_secs(60 * 60);
/// Events that may be sent again: far enough back to be seen as duplicates (500,000 records for every stream that
/// ships), and little enough to keep in memory.
const RECENT_MAX: usize = 50_000;
/// Sessions open at once in a run.
const BUSY: usize = 300;

/// Everything that decides a run.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// What events are made.
    pub(crate) stream: Stream,
    /// Whom they are about.
    pub(crate) cast: Cast,
    /// How many different ones.
    pub(crate) events: u64,
    /// The seed.
    pub(crate) seed: u64,
    /// The first one's time.
    pub(crate) start: Timestamp,
    /// From one event's time to the next, in microseconds.
    pub(crate) step_us: u64,
    /// How many are late, in a million.
    pub(crate) late_ppm: u32,
    /// How many are sent a second time, in a million.
    pub(crate) duplicates_ppm: u32,
    /// How far event times are shuffled back.
    pub(crate) disorder: Duration,
}

/// A run, one line after the other.
#[derive(Debug)]
pub(crate) struct Sequence {
    shape: Shape,
    salt: u64,
    random: Random,
    /// Resends have numbers of their own, so that they do not change the events.
    resends: Random,
    scene: Scene,
    next: u64,
    /// The latest lines, in a ring.
    recent: Vec<Box<str>>,
    resend_is_due: bool,
    line: String,
}

impl Sequence {
    /// Begins a run.
    pub(crate) fn new(shape: Shape) -> Sequence {
        // Whatever changes the events changes their ids: the same id never stands for two different events.
        let parts = [
            shape.stream as u64,
            shape.start.0 as u64,
            shape.step_us,
            u64::from(shape.late_ppm),
            millis(shape.disorder) as u64,
        ];
        let parts = parts.into_iter().chain(shape.cast.parts());
        let salt = parts.fold(mixed(shape.seed), |salt, part| mixed(salt ^ mixed(part)));
        Sequence {
            salt,
            random: Random::new(salt),
            resends: Random::new(mixed(!salt)),
            scene: Scene::new(shape.stream, &shape.cast, BUSY),
            next: 0,
            recent: Vec::new(),
            resend_is_due: false,
            line: String::new(),
            shape,
        }
    }

    /// Dates what follows from now on: for a shape whose step is zero.
    pub(crate) fn date(&mut self, now: Timestamp) {
        self.shape.start = now;
    }

    /// Returns how many events were made so far, resends not counted.
    pub(crate) fn made(&self) -> u64 {
        self.next
    }

    /// Returns whether nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        self.next == self.shape.events && !self.resend_is_due
    }

    /// Returns the next line, without its line end; `None` when the run is over.
    pub(crate) fn next_line(&mut self) -> Option<&str> {
        if self.resend_is_due {
            self.resend_is_due = false;
            let index = self.resends.index(self.recent.len());
            return Some(&self.recent[index]);
        }
        if self.next == self.shape.events {
            return None;
        }
        let at = self.time_of_next();
        let id = (u128::from(mixed(self.salt ^ self.next)) << 64) | u128::from(mixed(!self.salt ^ self.next));
        self.line.clear();
        self.scene.write(&mut self.random, id, at, &mut self.line);
        if self.shape.duplicates_ppm > 0 {
            self.remember();
            self.resend_is_due = self.resends.chance(self.shape.duplicates_ppm);
        }
        self.next += 1;
        Some(&self.line)
    }

    fn time_of_next(&mut self) -> Timestamp {
        let step_ms = (u128::from(self.next) * u128::from(self.shape.step_us) / 1_000) as u64;
        let at = self.shape.start.plus(Duration::from_millis(step_ms));
        // The first event is never late: there is nothing yet that it could be late behind.
        if self.random.chance(self.shape.late_ppm) && self.next > 0 {
            let back = millis(LATE_BACK_MIN + self.shape.disorder) as u64
                + self.random.below(millis(LATE_BACK_SPREAD) as u64);
            return at.minus(Duration::from_millis(back));
        }
        let disorder_ms = millis(self.shape.disorder) as u64;
        at.minus(Duration::from_millis(self.random.below(disorder_ms + 1)))
    }

    fn remember(&mut self) {
        if self.recent.len() < RECENT_MAX {
            self.recent.push(self.line.as_str().into());
        } else {
            self.recent[(self.next % RECENT_MAX as u64) as usize] = self.line.as_str().into();
        }
    }
}
