//! The loops between log and store, over real logs and real stores.

mod archiver;
mod carry;
mod confluence;
mod crew;
mod kafka;
mod lines;
mod outbox;
mod owner;
mod rebuild;
mod support;
