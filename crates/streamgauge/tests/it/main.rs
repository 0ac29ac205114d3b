//! The black-box tests, in one binary: it links once.

mod api;
mod archive;
mod closing;
mod cluster;
mod crash;
mod doctor;
mod faults;
mod harness;
mod hostile;
mod keys;
mod mending;
mod metrics;
mod openapi;
mod producers;
mod smoke;
mod systems;
mod tidy;
mod tls;
mod traces;
