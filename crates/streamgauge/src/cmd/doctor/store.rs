//! The store: the SQLite file, of which only the first bytes are read, or the PostgreSQL server.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use super::Finding;
use crate::config::Settings;
use crate::config::settings::StoreChoice;

const ABOUT: &str = "store";
/// What every SQLite file begins with (<https://sqlite.org/fileformat2.html>, 1.3), how long its header is, and where
/// in it stands the version that an application gave its schema, big end first.
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
const USER_VERSION_AT: usize = 60;
/// A write-ahead log that has grown beyond this is not written back: somebody reads without end.
const WAL_MAX: u64 = 1 << 30;

/// Looks at the store that is configured.
pub(super) async fn look(settings: &Settings) -> Finding {
    match &settings.store {
        StoreChoice::Sqlite(file) => sqlite(file),
        StoreChoice::Postgres(url) => postgres(url).await,
    }
}

pub(super) fn sqlite(path: &Path) -> Finding {
    let shown = path.display();
    let header = match header(path) {
        Ok(header) => header,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::ok(ABOUT, format!("there is no {shown} yet: the first start makes it"));
        }
        Err(error) => {
            return Finding::fail(
                ABOUT,
                format!("{shown} cannot be read: {error}"),
                format!("ls -l {shown}"),
            );
        }
    };
    // A database that was only just made is still in its write-ahead log.
    if !header.is_empty() && !header.starts_with(MAGIC) {
        let mend =
            "restore it from a backup, or move it away and let the server count what the log still has";
        return Finding::fail(ABOUT, format!("{shown} is no SQLite database"), mend);
    }
    let version = header
        .get(USER_VERSION_AT..USER_VERSION_AT + 4)
        .map(|four| four.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)));
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut beside = path.as_os_str().to_owned();
    beside.push("-wal");
    let wal = bytes(Path::new(&beside));
    // What a running server wrote last stands in the write-ahead log alone.
    let schema = version.filter(|version| *version > 0);
    let schema = schema.map(|version| format!(", schema version {version}")).unwrap_or_default();
    let told =
        format!("{shown} has {} MiB and {} MiB of write-ahead log{schema}", bytes(path) >> 20, wal >> 20);
    if wal > WAL_MAX {
        return Finding::warn(
            ABOUT,
            format!("{told}: something reads it without end"),
            format!("fuser -v {shown}"),
        );
    }
    Finding::ok(ABOUT, told)
}

fn header(path: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    File::open(path)?.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    Ok(header)
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Finding {
    use crate::wire::look_at_postgres;
    let shown = without_login(url);
    match look_at_postgres(url).await {
        Ok(Some(looked)) => judged(&shown, &looked),
        Ok(None) => {
            let says = format!(
                "the server at {shown} answers, and the database is not there yet: the first start makes it"
            );
            Finding::ok(ABOUT, says)
        }
        Err(error) => {
            let mut says = format!("{error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(deeper) = cause {
                says += &format!(": {deeper}");
                cause = deeper.source();
            }
            Finding::fail(ABOUT, format!("{shown} cannot be used: {says}"), format!("pg_isready -d {shown}"))
        }
    }
}

#[cfg(feature = "postgres")]
fn judged(shown: &str, looked: &crate::wire::Looked) -> Finding {
    let schema = looked
        .schema
        .map_or_else(|| "no schema yet".to_owned(), |version| format!("schema version {version}"));
    let told = format!(
        "{shown} is PostgreSQL {}, {schema}, fsync {}, synchronous_commit {}",
        looked.version, looked.fsync, looked.synchronous_commit
    );
    if let Some(fault) = &looked.fault {
        return Finding::fail(
            ABOUT,
            format!("{told}: {fault}"),
            format!("psql {shown}, and do as the line says"),
        );
    }
    match looked.schema {
        Some(version) if version > looked.schema_known => {
            let says = format!("{told}, which is newer than this binary's {}", looked.schema_known);
            Finding::fail(ABOUT, says, "start a newer streamgauge")
        }
        Some(version) if version < looked.schema_known => {
            Finding::ok(ABOUT, format!("{told}; the next start brings it to {}", looked.schema_known))
        }
        _ => Finding::ok(ABOUT, told),
    }
}

/// Returns a URL without user and password.
#[cfg(feature = "postgres")]
pub(super) fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let bare = rest.split('?').next().unwrap_or(rest);
    format!("{scheme}://{}", bare.rsplit_once('@').map_or(bare, |(_, host)| host))
}

#[cfg(not(feature = "postgres"))]
#[allow(clippy::unused_async, reason = "a server is asked with the feature")]
async fn postgres(_: &str) -> Finding {
    Finding::fail(ABOUT, "this binary was built without the feature postgres", "use a binary that has it")
}
