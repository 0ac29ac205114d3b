//! The embedded log from outside: conformance, crashes at every operation, damaged bytes, full and failing disks.

mod bench;
mod conformance;
mod crashes;
mod damage;
mod disks;
mod faults;
mod format;
mod nameless;
mod salvage;
mod segments;
