//! The words and rules of Streamgauge. No I/O, no clock, no async runtime: what is here can be read, tested and
//! proved without starting anything.
//!
//! In reading order:
//! - [`time`]: milliseconds since 1970, and times as clients write them.
//! - [`decimal`]: exact numbers.
//! - [`event`]: one event with all its spellings; [`reason`]: why one is refused.
//! - [`definition`]: streams and rollups; [`plan`]: what they read from an event.
//! - [`batch`]: events on their way from a request through the log to the fold.
//! - [`window`]: windows and lateness; [`judge`]: duplicates.
//! - [`cell`]: rows of a rollup and how they merge; [`sketch`]: measures that are more than a number.
//! - [`fold`]: **the heart**, every record's fate; [`flush`]: what it hands to the store.
//! - [`rebuild`]: cells that are made again; [`selection`] and [`erase`]: events that are picked and deleted by hand.
//! - [`ports`]: the log and the store as the core sees them.
//! - [`outbox`] and [`output`]: what became known with a flush, and the records that tell others.
//! - [`archive`]: files of raw events.
//! - [`key`]: who may do what.
//! - [`query`] and [`interval`]: how cells become answers.
//! - [`metrics`]: what this process has done since it began; [`timing`]: when the records of a flush came; [`trace`]: the
//!   place of a span that travels with events.
//! - [`varint`]: numbers as files and sketches hold them.
//! - [`limits`]: every limit with its reason.
//!
//! The glossary: an *event* comes through the *door* into a *log* and is then a *record* of a *partition* at an
//! *offset*. The *fold* sorts it into a *window*, stored as *panes*, of each *rollup*: a *cell* is one pane × dimensions
//! and holds *measures*. A *flush* writes what the fold gathered, with a *checkpoint*. The *watermark* tells how far
//! event time has come; an event behind it by more than *grace* is *late* and makes a *correction* (a *revision* of its
//! cell) or is *diverted*. A *duplicate* has the key and id of an earlier record; a *dead letter* cannot be folded; an
//! offset is *skipped* whose record a salvaged log has lost.
//! The *ledger* adds all of that up.
//!
//! Behind the door: a partition has one *owner* at a time, which has *claimed* it under an *epoch*; the owners of a process
//! are its *crew*, all partitions together its *fleet*. A partition's clock is *M*, its newest arrival *R*, the log's own
//! time of a record *A*. The *judge* knows duplicates. What a flush leaves to be told stands in the *outbox*, in *lanes*.
//! The archive gathers records into *cuts*; a file is an *intent* until the *manifest* has it. A *replay* is a dead letter
//! that comes in again.

pub mod archive;
pub mod batch;
pub mod cell;
pub mod decimal;
pub mod definition;
pub mod erase;
pub mod event;
pub mod flush;
pub mod fold;
mod identity;
pub mod interval;
mod json;
pub mod judge;
pub mod key;
pub mod limits;
pub mod metrics;
pub mod nearest;
pub mod outbox;
pub mod output;
pub mod plan;
pub mod ports;
pub mod query;
pub mod reason;
pub mod rebuild;
mod scan;
pub mod selection;
pub mod sketch;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod timing;
pub mod trace;
pub mod varint;
pub mod window;
