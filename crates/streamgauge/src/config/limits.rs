//! `[limits]`: how much senders may send, how many connections an address has, how many questions are asked at once.

use sg_core::key::{RATE_MAX, Rates};
use sg_http::Network;

use super::reader::{Errors, Reader};

/// Questions at once: four times as many as the store answers at a time, so that it is never idle.
const QUESTIONS: u64 = 16;
/// Questions that wait: what a few dashboards ask at the same moment.
const QUESTIONS_WAITING: u64 = 256;

/// What is limited beside bodies and connections as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of each key that has no rate of its own.
    pub(crate) key: Rates,
    /// Of each address.
    pub(crate) address: Rates,
    /// Connections of one address; `None` is half of all, and does not hold for this machine.
    pub(crate) address_connections: Option<u64>,
    pub(crate) questions: u64,
    pub(crate) questions_waiting: u64,
    /// Who is believed about the address of a client.
    pub(crate) trusted_proxies: Vec<Network>,
}

/// Reads the table.
pub(crate) fn limits(reader: &mut Reader<'_>, errors: &mut Errors) -> Limits {
    let mut limits = Limits {
        key: Rates::default(),
        address: Rates::default(),
        address_connections: None,
        questions: QUESTIONS,
        questions_waiting: QUESTIONS_WAITING,
        trusted_proxies: Vec::new(),
    };
    let Some(mut table) = reader.table("limits", errors) else { return limits };
    let rate = |value: u64| Some(value).filter(|value| *value > 0);
    limits.key.events = rate(table.count("key_events", 0, errors));
    limits.key.bytes = rate(table.size("key_bytes", 0, errors));
    limits.address.events = rate(table.count("address_events", 0, errors));
    limits.address.bytes = rate(table.size("address_bytes", 0, errors));
    limits.address_connections = rate(table.count("address_connections", 0, errors));
    limits.questions = table.count("questions", QUESTIONS, errors);
    limits.questions_waiting = table.count("questions_waiting", QUESTIONS_WAITING, errors);
    let rates = [
        ("key_events", limits.key.events),
        ("key_bytes", limits.key.bytes),
        ("address_events", limits.address.events),
        ("address_bytes", limits.address.bytes),
    ];
    for (key, rate) in rates {
        if rate.is_some_and(|rate| rate > RATE_MAX) {
            errors.add(&table.place(key), format!("is at most {RATE_MAX} a second; 0 is no limit"));
        }
    }
    if !(1..=1_000).contains(&limits.questions) {
        errors.add(&table.place("questions"), "is between 1 and 1000");
    }
    if limits.questions_waiting > 100_000 {
        errors.add(&table.place("questions_waiting"), "is at most 100000");
    }
    for text in table.texts("trusted_proxies", errors) {
        match text.parse() {
            Ok(network) => limits.trusted_proxies.push(network),
            Err(wrong) => errors.add(&table.place("trusted_proxies"), wrong),
        }
    }
    table.finish(errors);
    limits
}
