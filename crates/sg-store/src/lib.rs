//! Where counts live. Each backend keeps the contract of [`sg_core::ports::RollupWriter`] and
//! [`sg_core::ports::RollupReader`]; none decides what an event counts for, that is the fold's.
//!
//! - [`sqlite`]: one file, one process. A flush is one transaction on a thread of its own; questions are answered by
//!   a few read-only connections beside it.
//! - `watermark`: what idle and busy partitions make of a stream's watermark, the same for every backend.

pub mod sqlite;
mod watermark;
