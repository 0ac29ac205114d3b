//! Keys in the database, for all processes. Questions have connections of their own, so that those which take their time
//! do not keep a revoked key alive.

use async_trait::async_trait;
use sg_core::key::{KEYS_MAX, KEYS_PER_NAME_MAX, KeyHash, LISTED_MS, Rates, Scopes, StoredKey};
use sg_core::ports::{KeyAdded, KeyStore, PortError};
use sg_core::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::unfit::to_integer;
use crate::written_key;

use super::PostgresStore;
use super::error::Error;
use super::measures::count;
use super::pool::{Lease, Mode};
use super::wire::Ms;

const COLUMNS: &str =
    "id, name, hash, scopes, origins, events_per_s, bytes_per_s, created_at, expires_at, revoked_at";

#[async_trait]
impl KeyStore for PostgresStore {
    async fn add_key(&self, key: &StoredKey) -> Result<KeyAdded, PortError> {
        let added = self.transact(Mode::Durable, async |lease: &Lease| add(lease, key).await).await;
        added.map_err(|error| error.into_port("taking a key in"))
    }

    async fn keys(&self) -> Result<Vec<StoredKey>, PortError> {
        match self.transact(Mode::Repeatable, read).await {
            // Where there are no tables nobody has made a key.
            Err(error)
                if matches!(
                    error.code(),
                    Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_CATALOG_NAME)
                ) =>
            {
                Ok(Vec::new())
            }
            done => done.map_err(|error| error.into_port("reading the keys")),
        }
    }

    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<bool, PortError> {
        let sql = "UPDATE sg_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        let job = async |lease: &Lease| Ok(lease.execute(sql, &[&id, &Ms(now)]).await? > 0);
        let revoked = self.transact(Mode::Durable, job).await;
        revoked.map_err(|error| error.into_port("revoking a key"))
    }
}

async fn add(lease: &Lease, key: &StoredKey) -> Result<KeyAdded, Error> {
    // Others may add a key of the same name at this moment; readers go on.
    lease.client()?.batch_execute("LOCK TABLE sg_keys IN SHARE ROW EXCLUSIVE MODE").await?;
    let now = key.created_at;
    let forgotten = Ms(Timestamp(now.0.saturating_sub(LISTED_MS)));
    lease.execute("DELETE FROM sg_keys WHERE least(revoked_at, expires_at) < $1", &[&forgotten]).await?;
    let sql = "SELECT count(*), count(*) FILTER (WHERE name = $1 AND revoked_at IS NULL \
               AND coalesce(expires_at > $2, true)) FROM sg_keys";
    let found = lease.query(sql, &[&key.name, &Ms(now)]).await?;
    let (mut all, mut working) = (0, 0);
    if let Some(row) = found.first() {
        (all, working) = (count(row, 0)?, count(row, 1)?);
    }
    if working >= KEYS_PER_NAME_MAX as u64 {
        return Ok(KeyAdded::NameIsFull);
    }
    if all >= KEYS_MAX as u64 {
        return Ok(KeyAdded::StoreIsFull);
    }
    let rate = |rate: Option<u64>| rate.map(to_integer).transpose();
    let (events, bytes) = (rate(key.rates.events)?, rate(key.rates.bytes)?);
    let sql = format!("INSERT INTO sg_keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
    let (scopes, origins) = (written_key::scopes(key), written_key::origins(key));
    lease
        .execute(
            &sql,
            &[
                &key.id,
                &key.name,
                &&key.hash.0[..],
                &scopes,
                &origins,
                &events,
                &bytes,
                &Ms(now),
                &key.expires_at.map(Ms),
                &key.revoked_at.map(Ms),
            ],
        )
        .await?;
    Ok(KeyAdded::Added)
}

async fn read(lease: &Lease) -> Result<Vec<StoredKey>, Error> {
    let rows = lease.query(&format!("SELECT {COLUMNS} FROM sg_keys ORDER BY created_at, id"), &[]).await?;
    rows.iter().map(key_of).collect()
}

fn key_of(row: &Row) -> Result<StoredKey, Error> {
    let rate = |at: usize| {
        let is_set = row.try_get::<_, Option<i64>>(at)?.is_some();
        is_set.then(|| count(row, at)).transpose()
    };
    let time = |at: usize| Ok::<_, Error>(row.try_get::<_, Option<Ms>>(at)?.map(|Ms(at)| at));
    let hash: &[u8] = row.try_get(2)?;
    let key = StoredKey {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        hash: KeyHash(
            hash.try_into().map_err(|_| Error::corrupt("reading the keys: a hash has not 32 bytes"))?,
        ),
        scopes: Scopes::NONE,
        origins: written_key::origins_in(row.try_get(4)?),
        rates: Rates { events: rate(5)?, bytes: rate(6)? },
        created_at: row.try_get::<_, Ms>(7)?.0,
        expires_at: time(8)?,
        revoked_at: time(9)?,
    };
    Ok(written_key::with_scopes(key, row.try_get(3)?)?)
}
