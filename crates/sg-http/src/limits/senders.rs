//! The senders of one kind, as many as fit; who comes when there is no room shares one rate with all who do.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use sg_core::key::Rates;

use super::bucket::Sender;

/// Between two looks for senders that have been quiet: looking at all of them takes its time.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// The senders.
pub(super) struct Senders<K> {
    known: HashMap<K, Sender>,
    max: usize,
    rest: Option<Sender>,
    swept_at: Option<Duration>,
}

impl<K: Eq + Hash> Senders<K> {
    /// Makes room for so many.
    pub(super) fn new(max: usize) -> Senders<K> {
        Senders { known: HashMap::new(), max, rest: None, swept_at: None }
    }

    /// Returns a sender; one that is not known has sent nothing yet.
    pub(super) fn of<Q>(&mut self, who: &Q, rates: Rates, now: Duration) -> &mut Sender
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if self.known.len() >= self.max && !self.known.contains_key(who) {
            let may_sweep = self.swept_at.is_none_or(|at| now >= at + SWEEP_PAUSE);
            if may_sweep {
                self.known.retain(|_, sender| !sender.is_rested(now));
                self.swept_at = Some(now);
            }
            if self.known.len() >= self.max {
                return self.rest.get_or_insert_with(|| Sender::new(rates));
            }
        }
        self.known.entry(who.to_owned()).or_insert_with(|| Sender::new(rates))
    }

    /// Returns how many are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
