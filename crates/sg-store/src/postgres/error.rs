//! What can go wrong between this process and the server, and what a caller of the ports can do about it. Nothing is
//! retried here.

use std::error::Error as _;

use deadpool_postgres::PoolError;
use sg_core::ports::{ErrorKind, Overdue, PortError};
use tokio_postgres::error::{DbError, SqlState};

use crate::unfit::Unfit;

use super::wire::Unreadable;

/// A failure inside the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server said no, or could not be asked.
    #[error("{}", said(.0))]
    Server(#[from] tokio_postgres::Error),
    /// No connection could be had.
    #[error("{}", waited(.0))]
    Pool(#[from] PoolError),
    /// The tables cannot hold a value.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The answer is already in the port's words.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Classes of SQLSTATE in which the data itself is at fault: cardinality, data, integrity, limits of the program.
const BAD_DATA: [&str; 4] = ["21", "22", "23", "54"];
/// Classes that pass by themselves: connections, conflicts of transactions, states that a restart or a failover leaves
/// behind, resources, the operator, and what waits for another.
const PASSING: [&str; 6] = ["08", "25", "40", "53", "55", "57"];

impl Error {
    /// Makes an error that is the caller's fault.
    pub(crate) fn invalid(what: impl Into<String>) -> Error {
        Error::Port(PortError::new(ErrorKind::Invalid, what))
    }

    /// Makes an error that may pass.
    pub(crate) fn retry(what: impl Into<String>) -> Error {
        Error::Port(PortError::new(ErrorKind::Retry, what))
    }

    /// Makes an error about data that is not what was written.
    pub(crate) fn corrupt(what: impl Into<String>) -> Error {
        Error::Port(PortError::new(ErrorKind::Corrupt, what))
    }

    /// Returns whether the data itself is at fault, so that the same data would fail again.
    pub(crate) fn is_bad_data(&self) -> bool {
        match self {
            Error::Unfit(_) => true,
            Error::Server(error) => match error.as_db_error() {
                Some(error) => BAD_DATA.contains(&class(error.code())),
                None => cause::<Unfit>(error).is_some(),
            },
            Error::Pool(_) | Error::Port(_) => false,
        }
    }

    /// Returns the server's code, if it is the server that failed.
    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Error::Server(error) | Error::Pool(PoolError::Backend(error)) => error.code(),
            _ => None,
        }
    }

    /// Returns whether the server has failed the statement only: its connection can still be used.
    pub(crate) fn leaves_connection(&self) -> bool {
        match self {
            Error::Server(error) => error.as_db_error().is_some_and(|error| error.severity() == "ERROR"),
            Error::Pool(_) => false,
            Error::Unfit(_) | Error::Port(_) => true,
        }
    }

    /// Turns the failure into the port's words.
    pub(crate) fn into_port(self, doing: &str) -> PortError {
        if self.code() == Some(&SqlState::UNDEFINED_TABLE) {
            let why = "the store has no tables yet: start a process with the role process";
            return PortError::from_source(ErrorKind::Retry, format!("{doing}: {why}"), self);
        }
        if self.code() == Some(&SqlState::INVALID_CATALOG_NAME) {
            let why = "the store's database does not exist yet: start a process with the role process";
            return PortError::from_source(ErrorKind::Retry, format!("{doing}: {why}"), self);
        }
        match self {
            Error::Port(error) => error,
            Error::Unfit(_) => PortError::from_source(ErrorKind::Invalid, doing, self),
            Error::Server(_) | Error::Pool(_) => PortError::from_source(self.kind(), doing, self),
        }
    }

    /// As [`Error::into_port`], for a question: one that the server has stopped took too long.
    pub(crate) fn into_answer(self, doing: &str) -> PortError {
        match self.code().and_then(overdue) {
            Some(why) => PortError::overdue(doing, why),
            None => self.into_port(doing),
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Error::Port(error) => error.kind,
            Error::Unfit(_) => ErrorKind::Invalid,
            Error::Pool(PoolError::Backend(error)) | Error::Server(error) => kind_of(error),
            // No connection was free in time, or it could not be made.
            Error::Pool(_) => ErrorKind::Retry,
        }
    }
}

fn kind_of(error: &tokio_postgres::Error) -> ErrorKind {
    if let Some(error) = error.as_db_error() {
        return kind_of_code(error.code());
    }
    if cause::<Unfit>(error).is_some() {
        return ErrorKind::Invalid;
    }
    let is_foreign = cause::<Unreadable>(error).is_some()
        || cause::<tokio_postgres::types::WrongType>(error).is_some()
        || cause::<tokio_postgres::types::WasNull>(error).is_some();
    if is_foreign {
        // A column of another type or a value out of range: the table is not as it was written.
        return ErrorKind::Corrupt;
    }
    if is_certificate_refused(error) {
        return ErrorKind::Invalid;
    }
    // The connection: it is gone, could not be made, or speaks nonsense. The next one is another.
    ErrorKind::Retry
}

fn kind_of_code(code: &SqlState) -> ErrorKind {
    match *code {
        SqlState::DISK_FULL => return ErrorKind::Full,
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => return ErrorKind::Corrupt,
        // A statement prepared before a table changed, on a connection that has gone by then.
        SqlState::FEATURE_NOT_SUPPORTED | SqlState::INVALID_SQL_STATEMENT_NAME => return ErrorKind::Retry,
        SqlState::UNDEFINED_TABLE | SqlState::INVALID_CATALOG_NAME => return ErrorKind::Retry,
        SqlState::INSUFFICIENT_PRIVILEGE | SqlState::INVALID_PASSWORD => return ErrorKind::Invalid,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => return ErrorKind::Invalid,
        _ => {}
    }
    match class(code) {
        passing if PASSING.contains(&passing) => ErrorKind::Retry,
        bad if BAD_DATA.contains(&bad) => ErrorKind::Invalid,
        // Nobody knows what this is: leave, and let somebody look.
        _ => ErrorKind::Closed,
    }
}

/// Returns on what a statement spent its time that the server stopped for it.
fn overdue(code: &SqlState) -> Option<Overdue> {
    match *code {
        SqlState::QUERY_CANCELED => Some(Overdue::Reading),
        SqlState::LOCK_NOT_AVAILABLE => Some(Overdue::Waiting),
        _ => None,
    }
}

fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}

/// Returns the cause of a kind, however deep.
fn cause<T: std::error::Error + 'static>(error: &tokio_postgres::Error) -> Option<&T> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

fn is_certificate_refused(error: &tokio_postgres::Error) -> bool {
    let of_stream = cause::<std::io::Error>(error).and_then(|error| error.get_ref());
    let tls = of_stream.and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(tls.or_else(|| cause::<rustls::Error>(error)), Some(rustls::Error::InvalidCertificate(_)))
}

/// Returns everything that is known of a failure; the library's own text says "db error" and no more.
fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => said_by_server(error),
        None => {
            let mut text = error.to_string();
            let mut next = error.source();
            while let Some(cause) = next {
                text += &format!(": {cause}");
                next = cause.source();
            }
            text
        }
    }
}

fn said_by_server(error: &DbError) -> String {
    let mut text = format!("{} (SQLSTATE {})", error.message(), error.code().code());
    for part in [error.detail(), error.hint()].into_iter().flatten() {
        text += &format!(": {part}");
    }
    text
}

fn waited(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => said(error),
        PoolError::Timeout(_) => "no connection could be had in time".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
