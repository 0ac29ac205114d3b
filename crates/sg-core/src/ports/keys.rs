//! The store, as who lets in and keeps out sees it.

use async_trait::async_trait;

use crate::key::StoredKey;
use crate::time::Timestamp;

use super::PortError;

/// Whether a key was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAdded {
    /// It works from now on.
    Added,
    /// Its name has [`crate::key::KEYS_PER_NAME_MAX`] working keys already.
    NameIsFull,
    /// The store has [`crate::key::KEYS_MAX`] keys already.
    StoreIsFull,
}

/// Who may do what.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Takes a key in, and forgets those that ended [`crate::key::LISTED_MS`] before it was made. Durable.
    async fn add_key(&self, key: &StoredKey) -> Result<KeyAdded, PortError>;
    /// Returns all keys, the oldest first; none where the store has no tables yet.
    async fn keys(&self) -> Result<Vec<StoredKey>, PortError>;
    /// Ends a key; returns whether there was one that had not been ended yet. Durable.
    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<bool, PortError>;
}
