//! How many connections there may be: of all, and of one address, so that no single one takes all places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{Network, masked};

/// The places of all listening addresses together.
#[derive(Clone)]
pub struct Places {
    all: Arc<Semaphore>,
    each: Arc<Each>,
    counts: Arc<Counts>,
}

/// Connections by address, only those that are there now: as many as there are connections at most.
type Counts = Mutex<HashMap<IpAddr, usize>>;

/// How many connections an address may have, and who is not asked.
#[derive(Debug, Default)]
pub struct Each {
    /// Connections of one address.
    pub max: usize,
    /// Whether this machine's own may have as many as there are.
    pub spares_loopback: bool,
    /// These speak for many clients.
    pub spared: Vec<Network>,
}

impl Each {
    fn spares(&self, address: IpAddr) -> bool {
        self.spares_loopback && address.is_loopback()
            || self.spared.iter().any(|network| network.contains(address))
    }
}

/// A place of an address; free again when it is dropped.
pub(crate) struct OfAddress {
    counts: Arc<Counts>,
    address: IpAddr,
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

impl Places {
    /// Makes places that nobody has taken.
    pub fn new(all: usize, each: Each) -> Places {
        Places { all: Arc::new(Semaphore::new(all)), each: Arc::new(each), counts: Arc::default() }
    }

    /// Waits for a place among all.
    pub(crate) async fn of_all(&self) -> Option<OwnedSemaphorePermit> {
        self.all.clone().acquire_owned().await.ok()
    }

    /// Takes a place of an address; `None` when it has as many as it may.
    pub(crate) fn of_address(&self, peer: IpAddr) -> Option<Option<OfAddress>> {
        let address = peer.to_canonical();
        if self.each.spares(address) {
            return Some(None);
        }
        let address = masked(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.each.max {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Some(OfAddress { counts: self.counts.clone(), address }))
    }
}

#[cfg(test)]
mod tests;
