//! The loops between log and store, over real logs and real stores.

mod archiver;
mod behind;
mod carry;
mod confluence;
mod crew;
mod deletes;
mod expired;
mod kafka;
mod lines;
mod outbox;
mod overtaken;
mod owner;
mod rebuild;
mod support;
mod sweeping;
mod upkeep;
