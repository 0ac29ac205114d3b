//! What must hold before anything is written: the database is there, the server is one that keeps what it was given,
//! and we may make tables. Changes nothing but for a database that is missing.

use sg_core::ports::{ErrorKind, PortError};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::names::quoted;

use super::address::{Address, CONNECT_TIME_MAX};
use super::error::Error;

/// The oldest server that the store's statements run on, as `server_version_num` says it.
const VERSION_MIN: i32 = 130_000;
/// The database that every server has, from which others are made.
const MAINTENANCE: &str = "postgres";

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `server_version_num`.
    pub(crate) version: i32,
    /// `fsync`.
    pub(crate) fsync: String,
    /// `full_page_writes`.
    pub(crate) full_page_writes: String,
    /// Whether it follows another server.
    pub(crate) is_standby: bool,
    /// The encoding of the database.
    pub(crate) encoding: String,
    /// The schema that tables are made in, if there is one.
    pub(crate) schema: Option<String>,
    /// Whether we may make tables there.
    pub(crate) may_create: bool,
}

/// Checks the server and makes the database when it is missing.
pub(crate) async fn check(address: &Address) -> Result<(), Error> {
    let client = match connect(address, &address.database).await {
        Err(Error::Server(error)) if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) => {
            create_database(address).await?;
            connect(address, &address.database).await?
        }
        connected => connected?,
    };
    judge(&standing(&client).await?).map_err(Error::Port)
}

/// Connects outside the pool: what is checked here is asked once.
pub(crate) async fn connect(address: &Address, database: &str) -> Result<Client, Error> {
    let mut config = address.config.clone();
    config.dbname(database);
    let connecting = config.connect(address.tls.clone());
    let (client, connection) = tokio::time::timeout(2 * CONNECT_TIME_MAX, connecting)
        .await
        .map_err(|_| Error::retry("connecting to the store's server: it does not answer"))??;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the store's server ended");
        }
    });
    Ok(client)
}

async fn create_database(address: &Address) -> Result<(), Error> {
    let name = &address.database;
    let refuse = |why: String| {
        let remedy = format!("create it by hand: CREATE DATABASE {}", quoted(name));
        Error::invalid(format!("creating the database {name:?}: {why}: {remedy}"))
    };
    let client = match connect(address, MAINTENANCE).await {
        Err(error) if error.code().is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW) => {
            return Err(refuse(format!("the database {MAINTENANCE:?} cannot be used for that: {error}")));
        }
        connected => connected?,
    };
    let sql = format!("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", quoted(name));
    match client.batch_execute(&sql).await {
        Ok(()) => {
            tracing::info!(database = name, "the store's database was missing and has been created");
            Ok(())
        }
        // Another process was quicker: the database is there, or will be when it is done.
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Err(refuse("the user may not create databases".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks a server what it says of itself.
pub(crate) async fn standing(client: &Client) -> Result<Standing, Error> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('fsync'), \
               current_setting('full_page_writes'), pg_is_in_recovery(), pg_encoding_to_char(d.encoding)::text, \
               current_schema()::text, coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) \
               FROM pg_database d WHERE d.datname = current_database()";
    let row = client.query_one(sql, &[]).await?;
    Ok(Standing {
        version: row.try_get(0)?,
        fsync: row.try_get(1)?,
        full_page_writes: row.try_get(2)?,
        is_standby: row.try_get(3)?,
        encoding: row.try_get(4)?,
        schema: row.try_get(5)?,
        may_create: row.try_get(6)?,
    })
}

/// Says what a server lacks, with the remedy.
pub(crate) fn judge(standing: &Standing) -> Result<(), PortError> {
    let refuse = |kind, why: String| Err(PortError::new(kind, format!("checking the store's server: {why}")));
    if standing.version < VERSION_MIN {
        let (major, needed) = (standing.version / 10_000, VERSION_MIN / 10_000);
        return refuse(
            ErrorKind::Invalid,
            format!("it is PostgreSQL {major}: upgrade it to {needed} or newer"),
        );
    }
    for (name, value) in [("fsync", &standing.fsync), ("full_page_writes", &standing.full_page_writes)] {
        if value != "on" {
            return refuse(
                ErrorKind::Invalid,
                format!(
                    "{name} is {value}, so that a crash of the machine destroys what was answered as durable: set \
                     {name} = on in postgresql.conf and reload it"
                ),
            );
        }
    }
    if standing.encoding != "UTF8" {
        let encoding = &standing.encoding;
        return refuse(
            ErrorKind::Invalid,
            format!(
                "the database's encoding is {encoding}, which cannot hold every text: make one with UTF8"
            ),
        );
    }
    if standing.is_standby {
        return refuse(
            ErrorKind::Retry,
            "it is a standby, which cannot be written: name the primary".to_owned(),
        );
    }
    let Some(schema) = &standing.schema else {
        let why = "the user's search_path names no schema that is there: create one, or ALTER ROLE … SET search_path";
        return refuse(ErrorKind::Invalid, why.to_owned());
    };
    if !standing.may_create {
        let grant =
            format!("GRANT CREATE, USAGE ON SCHEMA {} TO the user of the store's URL", quoted(schema));
        return refuse(
            ErrorKind::Invalid,
            format!("tables may not be made in the schema {schema:?}: {grant}"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
