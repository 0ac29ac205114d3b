//! The black-box tests, in one binary: it links once.

mod api;
mod closing;
mod cluster;
mod crash;
mod faults;
mod harness;
mod hostile;
mod mending;
mod systems;
mod tidy;
