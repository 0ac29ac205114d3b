//! Where accepted events wait until they are counted: segment files in a directory of this machine, or Apache Kafka.
//!
//! In reading order:
//! - `log`: the handle, [`EmbeddedLog`]; `shared`: what its parts share.
//! - `payload`, `frame`, `head`: the format of what is on disk.
//! - `writer`: one thread, one write and one sync for all appends that wait.
//! - `tail`, `reader`: newest batches from memory, older ones from the files.
//! - `chain`, `recovery`, `salvage`, `directory`: opening what an earlier process left.
//! - [`look`]: what opening would say, and readers of closed segments, without opening.
//! - `pool`, `trim`: files before and after their time as segments.
//! - [`disk`]: the file operations, so that tests can make each of them fail.
//!
//! With the feature `kafka`, module `kafka` is the same port on Apache Kafka; it shares no code with the above.
//!
//! The path of an append: the caller encodes its batch and adds a checksum; the writer takes all that wait, gives them
//! offsets and A, writes them as one group, syncs once, shows them to readers and answers. `Ok` means durable.
//!
//! Invariants: a group begins only after the one before it was made durable, so only the last can be torn. No group
//! number is used twice, so what a failed or older attempt left is never taken for what followed it. After a failed
//! sync nothing is written any more.
//!
//! Deliberately absent: compression, indexes, deletion of single records, more than one partition of a stream.

mod chain;
mod directory;
pub mod disk;
mod fault;
mod frame;
mod head;
#[cfg(feature = "kafka")]
pub mod kafka;
mod log;
pub mod look;
mod names;
mod payload;
mod pool;
mod reader;
mod recovery;
mod salvage;
mod shared;
mod tail;
mod trim;
mod writer;

pub use disk::{Disk, RealDisk};
pub use log::{EmbeddedLog, Options, Reached};
