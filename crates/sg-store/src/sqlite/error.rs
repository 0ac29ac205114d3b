//! What can go wrong in SQLite and what a caller of the ports can do about it. Nothing is retried here.

use rusqlite::ffi::ErrorCode;
use sg_core::ports::{ErrorKind, PortError};

use crate::unfit::Unfit;

/// A failure inside the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// SQLite said no.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The tables cannot hold a value.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The index of raw events is of no use; the raw events themselves are well.
    #[error("the index of raw events: {what}")]
    Index {
        /// What is wrong.
        what: String,
        /// Whether it will stay so: the file is to be made again.
        is_damaged: bool,
    },
    /// The answer is already in the port's words.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Error {
    /// Makes an error about an index that is not what was written.
    pub(crate) fn index(what: impl Into<String>) -> Error {
        Error::Index { what: what.into(), is_damaged: true }
    }

    /// Makes an error about the index of whatever went wrong with it.
    pub(crate) fn of_index(self) -> Error {
        match self {
            Error::Sqlite(error) => {
                Error::Index { is_damaged: kind_of(&error) == ErrorKind::Corrupt, what: error.to_string() }
            }
            Error::Index { .. } => self,
            other => Error::index(other.to_string()),
        }
    }

    /// Returns whether a statement was stopped because its time was up.
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(self, Error::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted))
    }

    /// Returns whether the data itself is at fault, so that the same data would fail again.
    pub(crate) fn is_bad_data(&self) -> bool {
        match self {
            Error::Unfit(_) => true,
            Error::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
            ),
            Error::Index { .. } | Error::Port(_) => false,
        }
    }

    /// Turns the failure into the port's words.
    pub(crate) fn into_port(self, doing: &str) -> PortError {
        match self {
            Error::Port(error) => error,
            Error::Unfit(_) => PortError::from_source(ErrorKind::Invalid, doing, self),
            Error::Index { .. } => PortError::from_source(ErrorKind::Retry, doing, self),
            Error::Sqlite(error) => PortError::from_source(kind_of(&error), doing, error),
        }
    }
}

fn kind_of(error: &rusqlite::Error) -> ErrorKind {
    let Some(code) = error.sqlite_error_code() else {
        // A column of another type or a value out of range: the table is not as it was written.
        return ErrorKind::Corrupt;
    };
    match code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::OperationInterrupted
        | ErrorCode::OutOfMemory
        | ErrorCode::CannotOpen
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::SchemaChanged => ErrorKind::Retry,
        ErrorCode::DiskFull => ErrorKind::Full,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => ErrorKind::Corrupt,
        ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch => ErrorKind::Invalid,
        // After a failed write or sync nobody knows what the disk holds: leave, and let recovery look.
        _ => ErrorKind::Closed,
    }
}

/// Returns an offset or count from SQLite; a negative one was not written by us.
pub(crate) fn from_integer(value: i64) -> Result<u64, rusqlite::Error> {
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, value))
}
