//! Where counts live. Each backend keeps the contract of [`sg_core::ports::RollupWriter`] and
//! [`sg_core::ports::RollupReader`]; none decides what an event counts for, that is the fold's.
//!
//! - [`sqlite`]: one file, one process. A flush is one transaction on a thread of its own; questions are answered by
//!   a few read-only connections beside it.
//! - `postgres` (cargo feature `postgres`): a server, as many processes as wanted. A flush is one transaction of one
//!   connection; rows of partitions and streams are the locks between processes.
//!
//! What both must do alike stands beside them: `watermark` (what idle and busy partitions make of a stream's
//! watermark), `announced` (what the outbox is made of), `lines` (what those of archive files are made of), `levels` and
//! `sketches` (measures that are more than a column), `rewriting` (cells that are made again), `written_key` (lists of a key),
//! `place` (the key of a raw event), `names` (of views and
//! columns), `answers` (refusals in the same words), `unfit` (values that no column holds) and `faults` (a seam for tests).

mod announced;
mod answers;
mod erasing;
mod faults;
mod levels;
mod lines;
mod names;
mod place;
#[cfg(feature = "postgres")]
pub mod postgres;
mod rewriting;
mod sketches;
pub mod sqlite;
mod unfit;
mod watermark;
mod written_key;

pub use answers::another_log;
