//! Keys: what they look like, what they allow and how long they work. Holds no secret: of a key's text only the hash is
//! kept. Draws no random numbers and reads no clock; both are the caller's.

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use crate::time::Timestamp;

/// Random bytes of a key's id: enough that no two of a store are alike.
pub const ID_BYTES: usize = 6;
/// Random bytes of a key's secret. Nobody tries 2²⁵⁶ of them, so that one fast hash is enough to store it by: a slow one
/// makes guessing dear, and here there is nothing to guess.
pub const SECRET_BYTES: usize = 32;
/// Bytes of a key's checksum: tells a mistyped key from an unknown one, and a secret scanner a key from noise.
const CHECK_BYTES: usize = 4;
/// What every key begins with, so that scanners for secrets find it.
const PREFIX: &str = "sgk_";

/// Keys of one name that work at the same time: the one in use and the one that follows it.
pub const KEYS_PER_NAME_MAX: usize = 2;
/// Keys that a store holds: every process has all of them in memory and reads them again every few seconds.
pub const KEYS_MAX: usize = 1_000;
/// Bytes of a key's name.
pub const NAME_BYTES_MAX: usize = 64;
/// Origins of a key.
pub const ORIGINS_MAX: usize = 32;
/// The highest rate that a key may have, in events or bytes a second: 4 GB/s is beyond any single process.
pub const RATE_MAX: u64 = 4_000_000_000;
/// How long a key is listed after it was revoked or expired.
pub const LISTED_MS: i64 = 30 * 86_400_000;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Send events.
    Ingest,
    /// Ask and watch.
    Query,
    /// Everything.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::Ingest, Scope::Query, Scope::Admin];

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Ingest => "ingest",
            Scope::Query => "query",
            Scope::Admin => "admin",
        }
    }

    /// Returns the scope of a name.
    pub fn of_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// What a key allows.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Nothing.
    pub const NONE: Scopes = Scopes(0);
    /// Everything.
    pub const ALL: Scopes = Scopes(0b111);

    /// Returns whether something is allowed: an admin may do everything.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0 || self.0 & (1 << Scope::Admin as u8) != 0
    }

    /// Returns the names as they were given, in a fixed order.
    pub fn names(self) -> Vec<&'static str> {
        let given = |scope: &Scope| self.0 & (1 << *scope as u8) != 0;
        Scope::ALL.into_iter().filter(given).map(Scope::as_str).collect()
    }

    /// Returns whether nothing is allowed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads names; the first that is none is the error.
    ///
    /// # Errors
    /// A name that no scope has.
    pub fn of_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Scopes, String> {
        let mut scopes = Scopes::NONE;
        for name in names {
            let scope = Scope::of_name(name).ok_or_else(|| name.to_owned())?;
            scopes = scopes.with(scope);
        }
        Ok(scopes)
    }

    /// Returns these and one more.
    #[must_use]
    pub fn with(self, scope: Scope) -> Scopes {
        Scopes(self.0 | 1 << scope as u8)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// SHA-256 of a key's text. Never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Hashes a text.
    pub fn of(text: &str) -> KeyHash {
        KeyHash(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Returns the id and the text of a key from random bytes: `sgk_<id>_<secret and checksum>`, all in hex.
pub fn text_of(id: [u8; ID_BYTES], secret: [u8; SECRET_BYTES]) -> (String, String) {
    let id = hex(&id);
    let front = format!("{PREFIX}{id}_{}", hex(&secret));
    let text = format!("{front}{}", checksum(&front));
    (id, text)
}

/// Returns the id in a key's text; `None` when it is no key, or was mistyped.
pub fn id_in(text: &str) -> Option<&str> {
    let (id, rest) = text.strip_prefix(PREFIX)?.split_once('_')?;
    if !is_id(id) || !is_hex(rest, SECRET_BYTES + CHECK_BYTES) {
        return None;
    }
    let (front, check) = text.split_at(text.len() - 2 * CHECK_BYTES);
    (checksum(front) == check).then_some(id)
}

/// Returns whether a text can be the id of a key.
pub fn is_id(text: &str) -> bool {
    is_hex(text, ID_BYTES)
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn checksum(front: &str) -> String {
    hex(&KeyHash::of(front).0[..CHECK_BYTES])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    })
}

/// A key as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Names it in lists and when it is revoked; no secret.
    pub id: String,
    /// Whose it is; up to [`KEYS_PER_NAME_MAX`] working keys share one.
    pub name: String,
    /// By which it is known again.
    pub hash: KeyHash,
    /// What it allows.
    pub scopes: Scopes,
    /// Pages that may use it; none means that it is no browser's.
    pub origins: Vec<String>,
    /// Its own limits, where it has them.
    pub rates: Rates,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was ended by hand.
    pub revoked_at: Option<Timestamp>,
}

/// Limits of a sender, a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Events.
    pub events: Option<u64>,
    /// Bytes of bodies as sent.
    pub bytes: Option<u64>,
}

impl StoredKey {
    /// Returns whether the key works at a time; not any more at its very end.
    pub fn works_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now.0 < end.0)
    }

    /// Returns when the key has ended or will.
    pub fn ends_at(&self) -> Option<Timestamp> {
        match (self.revoked_at, self.expires_at) {
            (Some(revoked), Some(expires)) => Some(Timestamp(revoked.0.min(expires.0))),
            (revoked, expires) => revoked.or(expires),
        }
    }
}

#[cfg(test)]
mod tests;
