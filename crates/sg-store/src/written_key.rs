//! How the lists of a key lie in columns: names of scopes with commas, origins line by line.

use sg_core::key::{Scopes, StoredKey};
use sg_core::ports::{ErrorKind, PortError};

/// Returns the text of a key's scopes.
pub(crate) fn scopes(key: &StoredKey) -> String {
    key.scopes.names().join(",")
}

/// Returns the text of a key's origins, none of which holds a line break.
pub(crate) fn origins(key: &StoredKey) -> String {
    key.origins.join("\n")
}

/// Reads the text of origins.
pub(crate) fn origins_in(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Gives a key the scopes of a text. A scope that this binary does not know must not be taken for none or all.
pub(crate) fn with_scopes(key: StoredKey, text: &str) -> Result<StoredKey, PortError> {
    let scopes = Scopes::of_names(text.split(',')).map_err(|name| {
        let what =
            format!("reading the key {}: its scope {name:?} is not known: run a newer streamgauge", key.id);
        PortError::new(ErrorKind::Invalid, what)
    })?;
    Ok(StoredKey { scopes, ..key })
}
