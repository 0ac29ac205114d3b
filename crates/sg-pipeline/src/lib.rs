//! The loops that move events: log → fold → store, log → archive, and outbox → topics.
//!
//! In reading order:
//! - [`owner`]: owns one partition: claims it, folds it, flushes it. The way of every event leads through here.
//! - [`crew`]: gives every partition of this process an owner, as partitions come and go.
//! - [`fleet`]: what waits in all partitions, as the doors see it.
//! - [`outbox`]: tells topics what became final, was corrected, came late or could not be folded.
//! - [`archiver`]: puts every record into a file, and keeps the archive clean.
//! - [`upkeep`]: retention and trimming.
//! - [`mending`]: what the next two work on.
//! - [`rebuild`]: makes cells again from the log.
//! - [`by_hand`]: finds counted events by what they are, and has them deleted.
//! - [`carry`]: from an old log and store to new ones, once, while no server runs.
//!
//! Nothing here knows which log or store it works with, and nothing here decides an event's fate: that is `sg_core::fold`.

pub mod archiver;
mod aside;
pub mod by_hand;
pub mod carry;
pub mod crew;
pub mod fleet;
pub mod mending;
mod outage;
pub mod outbox;
pub mod owner;
mod patience;
pub mod rebuild;
mod spans;
pub mod upkeep;

pub use spans::Tracer;
