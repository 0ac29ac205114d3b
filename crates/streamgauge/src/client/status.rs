//! `GET /v1/status` and `POST /v1/flush` as the commands read them: only the members they use.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bytes::Bytes;
use serde::Deserialize;
use sg_core::event::{Canonical, OwnNames};

use super::{Connection, JSON};

/// How far everything is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Status {
    /// `embedded` or `kafka`.
    pub(crate) log: String,
    /// `sqlite` or `postgres`.
    #[serde(default)]
    pub(crate) store: String,
    /// The streams with their partitions.
    pub(crate) streams: Vec<Stream>,
    /// The rollups with their ledgers.
    pub(crate) rollups: Vec<Rollup>,
    /// What is archived, where anything is.
    #[serde(default)]
    pub(crate) archive: Option<Archive>,
}

/// What a server archives.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Archive {
    /// Streams, each with the place of its files.
    pub(crate) places: BTreeMap<String, String>,
    /// How far each partition of them is.
    pub(crate) partitions: Vec<ArchivedPartition>,
}

/// How the archive of a partition stands.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ArchivedPartition {
    /// Its stream.
    pub(crate) stream: String,
    /// Its number.
    pub(crate) partition: u32,
    /// Why it does not get on, while it is tried again.
    #[serde(default)]
    pub(crate) failing: Option<String>,
    /// Why it is not tried any more.
    #[serde(default)]
    pub(crate) stopped: Option<String>,
}

/// A stream.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stream {
    /// Its name.
    pub(crate) name: String,
    /// Its partitions.
    pub(crate) partitions: Vec<Partition>,
    /// Its own names of fields.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, String>,
}

/// A partition: offsets and ledger.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Partition {
    /// Its number.
    pub(crate) partition: u32,
    /// The first offset that was ever processed.
    pub(crate) first_offset: u64,
    /// The offset after the last record processed.
    pub(crate) next_offset: u64,
    /// The oldest record in the log; absent where the server cannot see it.
    #[serde(default)]
    pub(crate) log_start: Option<u64>,
    /// The log's clock.
    #[serde(default)]
    pub(crate) r: Option<String>,
    /// How far back a duplicate is recognised.
    #[serde(default)]
    pub(crate) duplicate_reach_seconds: Option<u64>,
    /// The log's end; absent where the server cannot see it.
    #[serde(default)]
    pub(crate) log_end: Option<u64>,
    /// What the log may lose before it loses what is needed; absent where the server cannot see it.
    #[serde(default)]
    pub(crate) headroom: Option<Headroom>,
    /// Why the partition is not processed any more.
    #[serde(default)]
    pub(crate) stopped: Option<String>,
    /// The fates of its records.
    pub(crate) ledger: PartitionLedger,
}

/// How near what a log removes is to what is not processed or archived yet.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Headroom {
    /// What somebody should look at.
    pub(crate) warning: Option<String>,
}

/// The fates of a partition's records.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct PartitionLedger {
    /// All records.
    pub(crate) processed: u64,
    /// Those that were counted.
    pub(crate) counted: u64,
    /// Those that were duplicates.
    pub(crate) duplicate: u64,
    /// Those that became dead letters.
    pub(crate) dead_lettered: u64,
    /// Those that were deleted by hand.
    pub(crate) deleted: u64,
    /// Offsets whose records the log has lost; a server that does not say so knows of none.
    #[serde(default)]
    pub(crate) skipped: u64,
}

/// A rollup.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rollup {
    /// Its name.
    pub(crate) name: String,
    /// Windows before this were removed by retention.
    #[serde(default)]
    pub(crate) removed_before: Option<String>,
    /// What became of the events it was fed.
    pub(crate) ledger: RollupLedger,
}

/// What became of the events that a rollup was fed.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct RollupLedger {
    /// All of them.
    pub(crate) folded: u64,
    /// Those in cells.
    pub(crate) in_cells: u64,
    /// Those in cells that retention removed.
    pub(crate) removed: u64,
    /// Late ones that were diverted.
    pub(crate) diverted: u64,
    /// Those whose window retention had already removed.
    pub(crate) expired: u64,
    /// Those that a rebuild could not fit.
    pub(crate) unfit: u64,
    /// Those that were deleted by hand.
    pub(crate) deleted: u64,
}

impl Status {
    /// Asks the server.
    ///
    /// # Errors
    /// When it does not answer, or not with a status.
    pub(crate) async fn ask(connection: &mut Connection) -> anyhow::Result<Status> {
        let body = connection.get("/v1/status").await?.success("asking for the status")?;
        serde_json::from_slice(&body).context("reading the status")
    }

    /// Returns how many records of a stream were processed.
    pub(crate) fn processed(&self, stream: &str) -> u64 {
        let mine = self.streams.iter().filter(|known| known.name == stream);
        mine.flat_map(|stream| &stream.partitions).map(|partition| partition.ledger.processed).sum()
    }

    /// Returns the names of its own under which a stream reads fields.
    pub(crate) fn names(&self, stream: &str) -> OwnNames {
        let known = self.streams.iter().filter(|known| known.name == stream);
        let named = known.flat_map(|known| &known.fields).filter_map(|(field, name)| {
            let field = Canonical::ALL.into_iter().find(|known| known.name() == field)?;
            Some((field, name.clone()))
        });
        OwnNames::new(named.collect())
    }

    /// Returns why events of ours would not be understood in a stream, if so: it reads its fields under other names.
    pub(crate) fn misreads(&self, stream: &str) -> Option<String> {
        misread(stream, &self.names(stream))
    }

    /// Returns how many records are still waiting in the log, as far as the server can see.
    pub(crate) fn waiting(&self) -> u64 {
        let partitions = self.streams.iter().flat_map(|stream| &stream.partitions);
        partitions.map(|partition| partition.waiting()).sum()
    }
}

impl Partition {
    /// Returns how many records are still waiting in the log.
    pub(crate) fn waiting(&self) -> u64 {
        self.log_end.map_or(0, |end| end.saturating_sub(self.next_offset))
    }
}

/// Returns why events with the names that all clients share would not be understood in a stream with names of its own.
pub(crate) fn misread(stream: &str, names: &OwnNames) -> Option<String> {
    let named: Vec<String> =
        names.iter().map(|(field, name)| format!("{} is {name}", field.name())).collect();
    (!named.is_empty()).then(|| {
        format!(
            "the stream {stream} reads its events under names of its own ([stream.fields]: {}), which the events of this test do not have",
            named.join(", ")
        )
    })
}

/// Makes the server write what it has folded; returns its answer.
///
/// # Errors
/// When it does not answer, or refuses.
pub(crate) async fn flush(connection: &mut Connection) -> anyhow::Result<Bytes> {
    connection.post("/v1/flush", JSON, Bytes::new()).await?.success("flushing")
}

/// Flushes until nothing waits in the log, for `patience` at most; returns the last status.
///
/// # Errors
/// When the server does not answer, or refuses.
pub(crate) async fn settled(
    connection: &mut Connection,
    patience: std::time::Duration,
) -> anyhow::Result<Status> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        flush(connection).await?;
        let status = Status::ask(connection).await?;
        if status.waiting() == 0 || tokio::time::Instant::now() >= deadline {
            return Ok(status);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
