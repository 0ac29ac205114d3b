//! What every store must do, whatever it is made of. A backend implements [`StoreUnderTest`] and calls each case with
//! a fresh store. What a flush is made of comes from the real fold, so that fold and store are held to each other.

mod archiving;
mod asking;
mod closing;
mod erasing;
mod feed;
mod keys;
mod lines;
mod measures;
mod outbox;
mod replays;
mod retention;
mod rewriting;
mod writing;

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;

use crate::ports::{KeyStore, Manifest, Rewriter, RollupReader, RollupWriter};
use crate::time::{Clock, Timestamp};

pub use archiving::{
    dooms_what_an_earlier_owner_meant, leaves_marks, retires_files_and_passes_gaps, retires_files_by_size,
    takes_files_in_once,
};
pub use asking::{counts_events_and_users, orders_cells, tallies};
pub use closing::{
    announces_windows_once, closes_when_all_are_idle, corrects_final_windows, goes_on_where_the_budget_ended,
    keeps_closed_windows_closed, waits_for_busy_partitions,
};
pub use erasing::{refuses_what_it_cannot_take_out, takes_events_out};
pub use feed::{Feed, T0, cells, events_of, rollups, snapshot, stream};
pub use keys::{holds_two_keys_of_a_name, keeps_keys, keeps_no_more_keys_than_fit};
pub use lines::{shows_cells_at_their_revision, takes_lines_once, writes_no_lines_unasked};
pub use measures::{levels_run_through_all_time, sketches_merge_over_partitions};
pub use outbox::{bounds_what_is_read, parks_what_a_topic_refuses, reads_cells_by_key, tells_events};
pub use replays::{counts_letters_by_reason, replays_count_once};
pub use retention::{
    expires_what_comes_too_late, keeps_letters_a_rebuild_needs, keeps_so_many_rows,
    keeps_what_nothing_newer_follows, removes_old_cells, removes_old_rows,
};
pub use rewriting::settles_what_retention_has_passed;
pub use writing::{
    claims, deletes_from_the_outbox, diverts_late_events, finds_events, flushes_all_or_nothing,
    keeps_dead_letters, keeps_every_digit, lists_late_events, merges_any_split, misses,
    refuses_another_definition, reopens, says_what_a_restart_needs, stores_panes, takes_up_a_new_rollup,
};

/// A store with everything a case needs to disturb it.
#[async_trait]
pub trait StoreUnderTest: Send + Sync {
    /// Returns its writing side.
    fn writer(&self) -> &dyn RollupWriter;
    /// Returns its reading side.
    fn reader(&self) -> &dyn RollupReader;
    /// Returns its side that puts right what was counted.
    fn rewriter(&self) -> &dyn Rewriter;
    /// Returns the archive's manifest in it.
    fn manifest(&self) -> &dyn Manifest;
    /// Returns the keys in it.
    fn keys(&self) -> &dyn KeyStore;
    /// Returns its clock.
    fn clock(&self) -> &ManualClock;
    /// Closes the store and opens it again over the same data.
    async fn reopen(&mut self);
    /// Makes the next transaction fail after so many of its steps, once; `None` lets it be.
    fn fail_after(&self, steps: Option<u32>);
}

/// A clock that stands until it is set.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Makes a clock that shows the given time.
    pub fn at(now: Timestamp) -> ManualClock {
        ManualClock(AtomicI64::new(now.0))
    }

    /// Sets the clock.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves the clock on.
    pub fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
