//! The binary: one enum of commands, nothing else.

fn main() {}
