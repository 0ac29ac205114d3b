//! What a server says of itself to whoever looks at it from outside. Makes nothing, not even a missing database.

use sg_core::ports::{ErrorKind, PortError};
use tokio_postgres::error::SqlState;

use super::address::Address;
use super::check::{connect, judge, standing};
use super::error::Error;
use super::pool::in_time;
use super::schema;

/// What was seen of a server and its database.
#[derive(Debug)]
pub struct Looked {
    /// The server's version, as it writes it.
    pub version: String,
    /// Whether the server's writes reach its disk: `fsync`.
    pub fsync: String,
    /// Whether a commit waits for that by default: `synchronous_commit`.
    pub synchronous_commit: String,
    /// The version of the schema; `None` where nothing was made yet.
    pub schema: Option<i64>,
    /// The newest version that this binary knows.
    pub schema_known: i64,
    /// Why the server cannot be used, with the remedy.
    pub fault: Option<PortError>,
}

/// Looks at the database at a URL; `None` when the server is there and the database is not.
///
/// # Errors
/// [`ErrorKind::Invalid`] when the URL or the login cannot be used, `Retry` when the server cannot be reached.
pub async fn look(url: &str) -> Result<Option<Looked>, PortError> {
    let url = url.to_owned();
    let doing = "looking at the store's server";
    let address = tokio::task::spawn_blocking(move || Address::read(&url))
        .await
        .map_err(|error| PortError::from_source(ErrorKind::Retry, doing, error))??;
    in_time(seen(&address)).await.map_err(|error| error.into_port(doing))
}

async fn seen(address: &Address) -> Result<Option<Looked>, Error> {
    let client = match connect(address, &address.database).await {
        Err(Error::Server(error)) if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) => {
            return Ok(None);
        }
        connected => connected?,
    };
    let standing = standing(&client).await?;
    let sql = "SELECT current_setting('server_version'), current_setting('synchronous_commit'), \
               to_regclass('sg_schema') IS NOT NULL";
    let row = client.query_one(sql, &[]).await?;
    let has_schema: bool = row.try_get(2)?;
    let schema = match has_schema {
        true => client.query_one("SELECT max(version) FROM sg_schema", &[]).await?.try_get(0)?,
        false => None,
    };
    Ok(Some(Looked {
        version: row.try_get(0)?,
        synchronous_commit: row.try_get(1)?,
        schema,
        schema_known: schema::VERSION,
        fault: judge(&standing).err(),
        fsync: standing.fsync,
    }))
}
