//! The conformance suite over a database of its own on a real server, and what only PostgreSQL can get wrong.

mod conformance;
mod failures;
mod lookups;
mod processes;
pub(crate) mod server;
mod views;
