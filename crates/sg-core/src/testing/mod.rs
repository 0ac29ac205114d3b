//! What the tests of several crates share: conformance suites that every backend of a port must pass.

pub mod log_suite;
pub mod store_suite;
