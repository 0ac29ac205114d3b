//! Controls: programs that do only a part of what Streamgauge does, so that each part's cost can be seen by itself.
//! They keep no promise beyond what their own file says: nothing is read back, recovered or shown.
//!
//! - [`event`]: the one shape of event that they know, read and written.
//! - [`serve`]: the HTTP server that all of them share.
//! - [`log`]: group commit; [`fold`]: duplicates and counts; [`ids`]: the last N ids; [`names`]: names as numbers.
//! - [`load`]: the load generator's own parts.
//! - [`keyed`]: the events of a topic; [`rows`]: raw rows for Postgres; [`usage`]: CPU time and memory of a control.

pub mod event;
pub mod fold;
pub mod ids;
pub mod keyed;
pub mod load;
pub mod log;
pub mod names;
pub mod rows;
pub mod serve;
pub mod usage;
