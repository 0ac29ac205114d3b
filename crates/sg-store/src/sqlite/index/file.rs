//! The index's file: an SQLite database beside the store, so that pages are found, published and freed in transactions
//! that outlive the process. They do not outlive the machine, for nothing in it waits for the disk: a file that was
//! written before the machine started is not trusted. What is in runs and pages is not its business.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::entry::{END, Entry, Kind};
use super::page::{self, Page};
use super::piece::Piece;
use crate::sqlite::error::Error;
use crate::sqlite::pool;

/// Grows with every change of the format; a file of another version is made again.
const VERSION: i64 = 1;
/// Pages of runs are about 4 KiB: three in one of these, and fences of some hundred pages in another.
const PAGE_BYTES: u32 = 16_384;
const CACHE_KIB: u32 = 2 * 1024;
/// The file of the write-ahead log is cut back to this after a checkpoint.
const WAL_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Pages of garbage that are freed in one step: some milliseconds.
const FREED_PER_STEP: i64 = 512;

/// A live piece has a row in `pieces`; whatever else has pages is in `garbage`, also while it is made. `fences` finds
/// a run's page by the least entry that it may hold.
const SCHEMA: &str = "
    CREATE TABLE about (machine_start TEXT NOT NULL) STRICT;
    CREATE TABLE pieces (piece INTEGER PRIMARY KEY, body TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT;
    CREATE TABLE garbage (piece INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE fences (piece INTEGER NOT NULL, kind INTEGER NOT NULL, low BLOB NOT NULL, page INTEGER NOT NULL,
        PRIMARY KEY (piece, kind, low)) STRICT, WITHOUT ROWID;
    CREATE TABLE pages (page INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;";

/// Opens the file to write it, and makes it when it is missing.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::default() | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    pool::keep_plans(&connection)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = OFF;
         PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA journal_size_limit = {WAL_BYTES_MAX};
         PRAGMA mmap_size = 0;"
    ))?;
    let machine_start = machine_start();
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO about VALUES (?)", [&machine_start])?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    } else if version != VERSION {
        return Err(Error::index(format!("it has version {version}, this binary writes {VERSION}")));
    } else {
        let written: String =
            transaction.query_row("SELECT machine_start FROM about", [], |row| row.get(0))?;
        if machine_start.is_empty() || written != machine_start {
            return Err(Error::index("it was written before the machine started".to_owned()));
        }
    }
    transaction.commit()?;
    Ok(connection)
}

/// Opens the file to read it.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    pool::keep_plans(&connection)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB}; PRAGMA mmap_size = 0; BEGIN"))?;
    Ok(connection)
}

/// Deletes the file; no connection to it may be open.
pub(crate) fn delete(path: &Path) -> Result<(), std::io::Error> {
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        match std::fs::remove_file(PathBuf::from(file)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Returns what tells this start of the machine from any other; empty where the system does not say.
fn machine_start() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Returns the live pieces in the order in which they were made.
pub(crate) fn pieces(connection: &Connection) -> Result<Vec<Piece>, Error> {
    let mut statement =
        connection.prepare_cached("SELECT piece, body, checksum FROM pieces ORDER BY piece")?;
    let mut rows = statement.query([])?;
    let mut pieces = Vec::new();
    while let Some(row) = rows.next()? {
        pieces.push(Piece::decode(
            row.get(0)?,
            row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?,
            row.get(2)?,
        )?);
    }
    Ok(pieces)
}

/// Returns a number that no piece has had.
pub(crate) fn next_piece(connection: &Connection) -> Result<i64, Error> {
    let sql = "SELECT max(coalesce((SELECT max(piece) FROM pieces), 0), coalesce((SELECT max(piece) FROM garbage), 0)) + 1";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Takes note that a piece is being made: what there is of it goes if it is never published.
pub(crate) fn begin_piece(connection: &Connection, piece: i64) -> Result<(), Error> {
    connection.prepare_cached("INSERT INTO garbage VALUES (?)")?.execute([piece])?;
    Ok(())
}

/// Makes a finished piece live in place of those that it was made of.
pub(crate) fn publish(connection: &Connection, piece: &Piece, merged: &[Piece]) -> Result<(), Error> {
    let (body, checksum) = piece.encode()?;
    connection
        .prepare_cached("INSERT INTO pieces VALUES (?, ?, ?)")?
        .execute(params![piece.id, body, checksum])?;
    connection.prepare_cached("DELETE FROM garbage WHERE piece = ?")?.execute([piece.id])?;
    merged.iter().try_for_each(|old| discard(connection, old.id))
}

/// Makes a live piece garbage.
pub(crate) fn discard(connection: &Connection, piece: i64) -> Result<(), Error> {
    connection.prepare_cached("DELETE FROM pieces WHERE piece = ?")?.execute([piece])?;
    begin_piece(connection, piece)
}

/// Frees some of the garbage; returns whether there was any.
pub(crate) fn free(connection: &mut Connection) -> Result<bool, Error> {
    let transaction = connection.transaction()?;
    let piece: Option<i64> = transaction
        .prepare_cached("SELECT piece FROM garbage ORDER BY piece LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let Some(piece) = piece else { return Ok(false) };
    let fences = transaction
        .prepare_cached("SELECT kind, low, page FROM fences WHERE piece = ? ORDER BY kind, low LIMIT ?")?
        .query_map([piece, FREED_PER_STEP], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<Vec<(i64, Vec<u8>, i64)>, _>>()?;
    for (kind, low, page) in &fences {
        transaction
            .prepare_cached("DELETE FROM fences WHERE piece = ? AND kind = ? AND low = ?")?
            .execute(params![piece, kind, low])?;
        transaction.prepare_cached("DELETE FROM pages WHERE page = ?")?.execute([page])?;
    }
    if fences.is_empty() {
        transaction.prepare_cached("DELETE FROM garbage WHERE piece = ?")?.execute([piece])?;
    }
    transaction.commit()?;
    Ok(true)
}

/// Returns the page of a run that covers `entry`.
pub(crate) fn page_of(connection: &Connection, run: (i64, Kind), entry: Entry) -> Result<Page, Error> {
    let found = connection
        .prepare_cached(
            "SELECT low, body FROM fences JOIN pages USING (page) WHERE piece = ? AND kind = ? AND low <= ? \
             ORDER BY low DESC LIMIT 1",
        )?
        .query_row(params![run.0, run.1.number(), entry.to_be_bytes()], |row| {
            Ok((row.get::<_, [u8; 16]>(0)?, page::decode(run, row.get_ref(1)?.as_blob()?)))
        })
        .optional()?;
    let damaged = || Error::index(format!("a page of piece {} is missing", run.0));
    let (low, page) = found.ok_or_else(damaged)?;
    let page = page?;
    if Entry::from_be_bytes(low) != page.low || !(page.low..page.high).contains(&entry) {
        return Err(damaged());
    }
    Ok(page)
}

/// Writes a run, entry by entry in ascending order.
#[derive(Debug)]
pub(crate) struct RunWriter {
    run: (i64, Kind),
    page: Page,
    page_entries: usize,
}

impl RunWriter {
    /// Begins a run.
    pub(crate) fn new(run: (i64, Kind), page_entries: usize) -> RunWriter {
        RunWriter { run, page: Page::default(), page_entries }
    }

    /// Adds an entry; returns whether that wrote a page.
    pub(crate) fn push(&mut self, connection: &Connection, entry: Entry) -> Result<bool, Error> {
        let is_full = self.page.entries.len() == self.page_entries;
        if is_full {
            self.write(connection, entry)?;
        }
        self.page.entries.push(entry);
        Ok(is_full)
    }

    /// Writes what is left; a run without entries has one page too.
    pub(crate) fn finish(mut self, connection: &Connection) -> Result<(), Error> {
        self.write(connection, END)
    }

    fn write(&mut self, connection: &Connection, high: Entry) -> Result<(), Error> {
        self.page.high = high;
        let body = page::encode(self.run, &self.page);
        connection.prepare_cached("INSERT INTO pages VALUES (NULL, ?)")?.execute([body])?;
        connection.prepare_cached("INSERT INTO fences VALUES (?, ?, ?, ?)")?.execute(params![
            self.run.0,
            self.run.1.number(),
            self.page.low.to_be_bytes(),
            connection.last_insert_rowid()
        ])?;
        self.page.low = high;
        self.page.entries.clear();
        Ok(())
    }
}
