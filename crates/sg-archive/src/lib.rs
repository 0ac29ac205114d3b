//! Where raw events rest: files in a folder or a bucket. Keeps the contract of [`sg_core::ports::Archive`]; which
//! records go into a cut, when one ends and what the manifest says is not its business.
//!
//! - [`Place`]: what an archive's URL says.
//! - [`Files`]: the port, over `folder` or `bucket`.
//! - `cut`: the files of one cut while they grow; `chunks` holds their bytes, `columns` makes Parquet of them.
//! - [`ExportedEvents`]: Parquet of counted events, for whoever asks for them.
//! - `companion`: what the log knew of each record, beside its file; `back` puts both together again.

mod back;
mod bucket;
mod chunks;
#[cfg(feature = "parquet")]
mod columns;
mod companion;
mod cut;
#[cfg(feature = "parquet")]
mod exported;
mod files;
mod folder;
mod place;

#[cfg(feature = "parquet")]
pub use exported::{ExportedEvent, ExportedEvents};
pub use files::Files;
pub use place::{Place, Variables};
