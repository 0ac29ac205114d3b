//! Keys in the one file. The thread that writes also reads them, so that questions which take their time do not keep a
//! revoked key alive.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use sg_core::key::{KEYS_MAX, KEYS_PER_NAME_MAX, KeyHash, LISTED_MS, Rates, StoredKey};
use sg_core::ports::{KeyAdded, KeyStore, PortError};
use sg_core::time::Timestamp;

use crate::written_key;

use super::SqliteStore;
use super::error::Error;
use super::writer::WriteSide;

const COLUMNS: &str =
    "id, name, hash, scopes, origins, events_per_s, bytes_per_s, created_at, expires_at, revoked_at";

#[async_trait]
impl KeyStore for SqliteStore {
    async fn add_key(&self, key: &StoredKey) -> Result<KeyAdded, PortError> {
        let key = key.clone();
        let job = move |side: &mut WriteSide| side.durably(|side| add(&mut side.connection, &key));
        self.writer.run("taking a key in", job).await
    }

    async fn keys(&self) -> Result<Vec<StoredKey>, PortError> {
        self.writer.run("reading the keys", |side| read(&side.connection)).await
    }

    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<bool, PortError> {
        let id = id.to_owned();
        let job = move |side: &mut WriteSide| {
            side.durably(|side| {
                let sql = "UPDATE sg_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
                Ok(side.connection.execute(sql, params![id, now.0])? > 0)
            })
        };
        self.writer.run("revoking a key", job).await
    }
}

fn add(connection: &mut Connection, key: &StoredKey) -> Result<KeyAdded, Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let now = key.created_at.0;
    transaction.execute(
        "DELETE FROM sg_keys \
         WHERE min(coalesce(revoked_at, expires_at), coalesce(expires_at, revoked_at)) < ?1",
        [now.saturating_sub(LISTED_MS)],
    )?;
    let (all, working): (u32, u32) = transaction.query_row(
        "SELECT count(*), count(*) FILTER (WHERE name = ?1 AND revoked_at IS NULL \
         AND coalesce(expires_at > ?2, TRUE)) FROM sg_keys",
        params![key.name, now],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if working as usize >= KEYS_PER_NAME_MAX {
        return Ok(KeyAdded::NameIsFull);
    }
    if all as usize >= KEYS_MAX {
        return Ok(KeyAdded::StoreIsFull);
    }
    let rate = |rate: Option<u64>| rate.map(crate::unfit::to_integer).transpose();
    transaction.execute(
        &format!("INSERT INTO sg_keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
        params![
            key.id,
            key.name,
            key.hash.0,
            written_key::scopes(key),
            written_key::origins(key),
            rate(key.rates.events)?,
            rate(key.rates.bytes)?,
            now,
            key.expires_at.map(|at| at.0),
            key.revoked_at.map(|at| at.0),
        ],
    )?;
    transaction.commit()?;
    Ok(KeyAdded::Added)
}

fn read(connection: &Connection) -> Result<Vec<StoredKey>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM sg_keys ORDER BY created_at, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], key_of)?.collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().map(|(key, scopes)| Ok(written_key::with_scopes(key, &scopes)?)).collect()
}

/// Returns a key and the text of its scopes.
fn key_of(row: &Row<'_>) -> Result<(StoredKey, String), rusqlite::Error> {
    let rate = |at: usize| row.get::<_, Option<i64>>(at)?.map(super::error::from_integer).transpose();
    let time = |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(Timestamp));
    let key = StoredKey {
        id: row.get(0)?,
        name: row.get(1)?,
        hash: KeyHash(row.get(2)?),
        scopes: sg_core::key::Scopes::NONE,
        origins: written_key::origins_in(&row.get::<_, String>(4)?),
        rates: Rates { events: rate(5)?, bytes: rate(6)? },
        created_at: Timestamp(row.get(7)?),
        expires_at: time(8)?,
        revoked_at: time(9)?,
    };
    Ok((key, row.get(3)?))
}
