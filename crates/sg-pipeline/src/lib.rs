//! The loops that move events: log → fold → store, and outbox → watchers.
//!
//! In reading order:
//! - [`owner`]: owns one partition: claims it, folds it, flushes it. The way of every event leads through here.
//! - [`fleet`]: all owners of the process, as the doors see them.
//! - [`outbox`]: announces what became final or was corrected.
//! - [`upkeep`]: retention and trimming.
//!
//! Nothing here knows which log or store it works with, and nothing here decides an event's fate: that is `sg_core::fold`.

pub mod fleet;
pub mod outbox;
pub mod owner;
pub mod upkeep;
