//! The log on Kafka, on a real broker whose address stands in `STREAMGAUGE_TEST_KAFKA` (`host:port`).

mod appends;
mod conformance;
mod ground;
mod losses;
mod members;
mod outputs;
mod records;
mod topics;
mod traces;
mod transactions;
