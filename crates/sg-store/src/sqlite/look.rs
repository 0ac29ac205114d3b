//! Looking at a store that nobody works in: reads, and changes neither the file nor what stands beside it, where opening
//! would write back what a process that was killed had left.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use sg_core::ports::{ArchivePosition, PortError, StatusDetail, StoreStatus};
use sg_core::time::Timestamp;

use super::error::Error;
use super::{manifest, schema, status};

/// Returns how far a store and its archive are; `None` of a file that has not this program's tables, which opening makes
/// or brings up to date. Nobody may write meanwhile.
///
/// # Errors
/// `Corrupt` when it is no store, anything else when it cannot be read without being changed.
pub fn look(path: &Path, now: Timestamp) -> Result<Option<(StoreStatus, Vec<ArchivePosition>)>, PortError> {
    read(path, now).map_err(|error| error.into_port(&format!("looking at {}", path.display())))
}

fn read(path: &Path, now: Timestamp) -> Result<Option<(StoreStatus, Vec<ArchivePosition>)>, Error> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let mut connection = Connection::open_with_flags(uri(path), flags)?;
    if !schema::is_of_today(&connection)? {
        return Ok(None);
    }
    let transaction = connection.transaction()?;
    let status = status::status(&transaction, StatusDetail::Marks, now)?;
    Ok(Some((status, manifest::positions(&transaction)?)))
}

/// Returns the name of a file that SQLite then leaves as it is (<https://sqlite.org/wal.html#read_only_databases>): where a
/// killed process left a write-ahead log, it is read with an index in memory, else there is nothing but the file.
fn uri(path: &Path) -> String {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-wal");
    let is_empty = std::fs::metadata(&beside).map_or(true, |metadata| metadata.len() == 0);
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => {
                uri.push(char::from(*byte))
            }
            // Writing into a text cannot fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri + if is_empty { "?mode=ro&immutable=1" } else { "?mode=ro&readonly_shm=1" }
}
