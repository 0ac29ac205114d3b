//! The loops between log and store, over real logs and real stores.

mod carry;
mod confluence;
mod crew;
mod kafka;
mod outbox;
mod owner;
mod support;
