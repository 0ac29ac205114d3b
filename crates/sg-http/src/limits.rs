//! How much senders may send: events and bytes a second, by key and by address, and the turns of questions. One look a
//! batch, and no memory that grows with the number of senders. A process counts for itself; others do not see it.

mod bucket;
mod network;
mod senders;
mod turns;

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use sg_core::key::{KEYS_MAX, Rates};
use sg_core::metrics::Limit;

use crate::error::ApiError;
use crate::guard::Caller;
use crate::server::Peer;

pub use network::Network;
pub use turns::Turns;

pub(crate) use bucket::Standing;

use bucket::Load;
use senders::Senders;

/// Addresses that are remembered: some megabytes. When there are more, those that come then share one rate until others
/// have been quiet for [`bucket::BURST_S`] seconds.
const ADDRESSES_MAX: usize = 65_536;

/// What the rates of a key and of an address are called.
const OF_KEY: (Limit, Limit) = (Limit::KeyEvents, Limit::KeyBytes);
const OF_ADDRESS: (Limit, Limit) = (Limit::AddressEvents, Limit::AddressBytes);

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Tells how much time has gone by since the process began; never back.
pub type Stopwatch = Box<dyn Fn() -> Duration + Send + Sync>;

/// Limits of all senders.
pub struct Limits {
    /// Of each key that has none of its own.
    key: Rates,
    /// Of each address.
    address: Rates,
    /// Who is believed about the address of a client.
    proxies: Vec<Network>,
    keys: Mutex<Senders<String>>,
    addresses: Mutex<Senders<IpAddr>>,
    stopwatch: Stopwatch,
}

impl Limits {
    /// Makes limits that nobody has used.
    pub fn new(key: Rates, address: Rates, proxies: Vec<Network>, stopwatch: Stopwatch) -> Limits {
        let keys = Mutex::new(Senders::new(KEYS_MAX));
        let addresses = Mutex::new(Senders::new(ADDRESSES_MAX));
        Limits { key, address, proxies, keys, addresses, stopwatch }
    }

    /// Takes a batch off what its sender may send, all of it or nothing.
    ///
    /// # Errors
    /// 429 when it has to wait, 413 when a batch so large would have to wait for ever.
    pub(crate) fn take(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
        (events, bytes): (usize, usize),
    ) -> Result<Option<Standing>, ApiError> {
        let load = Load { events: events as u64, bytes: bytes as u64 };
        let key = extensions.get::<Caller>().and_then(|caller| caller.key.as_ref());
        let of_key = key.map_or(Rates::default(), |key| Rates {
            events: key.rates.events.or(self.key.events),
            bytes: key.rates.bytes.or(self.key.bytes),
        });
        let now = (self.stopwatch)();
        let mut standing = None;
        if let Some(key) = key.filter(|_| of_key != Rates::default()) {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            standing = Some(keys.of(&key.id, of_key, now).take(load, OF_KEY, now)?);
        }
        let address = || Some(masked(self.client(extensions.get::<Peer>()?.0, headers)));
        if self.address != Rates::default()
            && let Some(address) = address()
        {
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let of_address = addresses.of(&address, self.address, now).take(load, OF_ADDRESS, now)?;
            standing = Some(standing.map_or(of_address, |of_key: Standing| of_key.tighter(of_address)));
        }
        Ok(standing)
    }

    /// Returns the address of a client: that of the connection, or what a trusted proxy says of it.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let is_proxy = |address: IpAddr| self.proxies.iter().any(|proxy| proxy.contains(address));
        let peer = peer.to_canonical();
        if !is_proxy(peer) {
            return peer;
        }
        let lines = headers.get_all("x-forwarded-for").into_iter().filter_map(|value| value.to_str().ok());
        let told: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
        let mut client = peer;
        // Each proxy adds at the end whom it heard from; what stands before the first stranger may be made up.
        for text in told.iter().rev() {
            let Ok(address) = text.parse::<IpAddr>() else { break };
            client = address.to_canonical();
            if !is_proxy(client) {
                break;
            }
        }
        client
    }
}

/// A household has a network of its own in IPv6, and as many addresses in it as it likes.
pub(crate) fn masked(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// Writes how a sender stands into an answer's headers.
pub(crate) fn show(standing: Standing, headers: &mut HeaderMap) {
    let reset_s = standing.full_in.as_millis().div_ceil(1_000);
    for (name, value) in
        [(LIMIT, u128::from(standing.burst)), (REMAINING, u128::from(standing.remaining)), (RESET, reset_s)]
    {
        headers.insert(name, HeaderValue::from(u64::try_from(value).unwrap_or(u64::MAX)));
    }
}

#[cfg(test)]
mod tests;
