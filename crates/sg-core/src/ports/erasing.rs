//! Events that are picked by hand, as the doors see it.

use async_trait::async_trait;

use crate::erase::{DeleteTell, DeleteWish, Deleted};
use crate::query::StoredEvent;
use crate::selection::Selection;

use super::PortError;

/// An event that was picked, and as it was sent where that is still known.
pub type Picked = (StoredEvent, Option<String>);

/// Hands out and deletes counted events by what they are.
#[async_trait]
pub trait EventPicker: Send + Sync {
    /// Opens the counted events of a stream that are selected, as of now.
    async fn pick(&self, stream: &str, selection: &Selection) -> Result<Box<dyn Picking>, PortError>;
    /// Deletes counted events. What would have to be guessed is refused; nothing is deleted then.
    async fn delete(&self, wish: &DeleteWish, tell: DeleteTell<'_>) -> Result<Deleted, PortError>;
}

/// Events on their way out, by partition and offset.
#[async_trait]
pub trait Picking: Send {
    /// Returns the next events, perhaps none although there are more; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Picked>>, PortError>;
}
