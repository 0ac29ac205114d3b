//! The black-box tests, in one binary: it links once.

mod harness;
mod tidy;
