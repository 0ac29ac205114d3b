//! Sweeping an archive where some files cannot be deleted: they hold up no others, of their place or of another.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sg_archive::{Files, Place, Variables};
use sg_core::archive::{ArchiveRules, FileKind};
use sg_core::batch::LogBatch;
use sg_core::metrics::ArchiveMetrics;
use sg_core::ports::{
    Archive, ArchivedFile, CutBuilder, CutFile, DoomedFile, ErrorKind, Intent, Manifest as _, PortError,
};
use sg_core::time::{Clock as _, Timestamp};
use sg_pipeline::archiver::{ArchivedStream, Settings, Sweeper};
use tokio_util::sync::CancellationToken;

use crate::archiver::{Fixed, Ground};
use crate::support::until;

const PATIENCE: Duration = Duration::from_secs(30);
/// Files that are asked for at once.
const PAGE: usize = 1_000;

/// An archive of which some files cannot be deleted: those under `denied/`.
struct Guarded {
    files: Files,
    deleted: Mutex<Vec<String>>,
}

impl Guarded {
    fn open(folder: PathBuf) -> Arc<Guarded> {
        let files = Files::open(&Place::Folder(folder), &Variables::default()).expect("an archive");
        Arc::new(Guarded { files, deleted: Mutex::default() })
    }

    /// How often a file was deleted.
    fn deletions(&self, path: &str) -> usize {
        let deleted = self.deleted.lock().expect("no test panics while it holds the lock");
        deleted.iter().filter(|known| *known == path).count()
    }
}

#[async_trait]
impl Archive for Guarded {
    fn place(&self) -> &str {
        self.files.place()
    }
    fn begin(&self, rules: &Arc<ArchiveRules>, partition: u32) -> Box<dyn CutBuilder> {
        self.files.begin(rules, partition)
    }
    fn pack(&self, rules: &ArchiveRules, hour: Timestamp, lines: &[&str]) -> Result<CutFile, PortError> {
        self.files.pack(rules, hour, lines)
    }
    async fn put(&self, path: &str, file: &CutFile) -> Result<(), PortError> {
        self.files.put(path, file).await
    }
    async fn delete(&self, path: &str) -> Result<(), PortError> {
        if path.starts_with("denied/") {
            return Err(PortError::new(ErrorKind::Invalid, "deleting: the right is missing"));
        }
        self.files.delete(path).await?;
        self.deleted.lock().expect("no test panics while it holds the lock").push(path.to_owned());
        Ok(())
    }
    async fn read(&self, file: &ArchivedFile) -> Result<LogBatch, PortError> {
        self.files.read(file).await
    }
}

async fn doom(ground: &Ground, place: &str, paths: &[String]) {
    let intent = Intent {
        stream: "s".to_owned(),
        kind: FileKind::Raw,
        partition: 0,
        epoch: 1,
        place: place.to_owned(),
        paths: paths.to_vec(),
    };
    ground.store.abandon(&intent).await.expect("doomed");
}

fn denied() -> Vec<String> {
    (0..PAGE).map(|number| format!("denied/{number:04}")).collect()
}

fn sweeper(ground: &Ground, archives: &[Arc<Guarded>]) -> Sweeper {
    let Settings { manifest, streams, clock, .. } = ground.settings(10);
    let archived = |archive: &Arc<Guarded>| ArchivedStream { archive: archive.clone(), ..streams[0].clone() };
    let streams = archives.iter().map(archived).collect();
    let metrics = Arc::new(ArchiveMetrics::default());
    Sweeper { manifest, streams, files: Vec::new(), clock, metrics }
}

fn folder(ground: &Ground, name: &str) -> PathBuf {
    Path::new(ground.folder.path()).join(name)
}

#[tokio::test(start_paused = true)]
async fn a_place_that_cannot_be_cleaned_holds_up_no_other() {
    let ground = Ground::new().await;
    let guarded = Guarded::open(folder(&ground, "a-guarded"));
    let open = Guarded::open(folder(&ground, "b-open"));
    doom(&ground, "a place that is configured no more", &denied()).await;
    doom(&ground, guarded.place(), &denied()).await;
    doom(&ground, open.place(), &["orphan".to_owned()]).await;
    let stop = CancellationToken::new();
    let sweeping = tokio::spawn(sweeper(&ground, &[guarded, open.clone()]).run(stop.clone()));
    until(PATIENCE, "the orphan is deleted", async || open.deletions("orphan") == 1).await;
    stop.cancel();
    sweeping.await.expect("it ends");
}

#[tokio::test(start_paused = true)]
async fn files_that_cannot_be_deleted_hold_up_no_others_of_their_place() {
    let ground = Ground::new().await;
    let archive = Guarded::open(folder(&ground, "guarded"));
    doom(&ground, archive.place(), &denied()).await;
    let orphans: Vec<String> = (0..2 * PAGE).map(|number| format!("orphans/{number:04}")).collect();
    doom(&ground, archive.place(), &orphans).await;
    let stop = CancellationToken::new();
    let sweeping = tokio::spawn(sweeper(&ground, std::slice::from_ref(&archive)).run(stop.clone()));
    let deleted = || -> BTreeSet<String> {
        archive.deleted.lock().expect("no test panics while it holds the lock").iter().cloned().collect()
    };
    until(PATIENCE, "the orphans are deleted", async || deleted().len() == orphans.len()).await;
    stop.cancel();
    sweeping.await.expect("it ends");
    assert_eq!(deleted(), orphans.into_iter().collect());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_another_process_forgot_is_deleted_when_it_is_doomed_again() {
    let ground = Ground::new().await;
    let archive = Guarded::open(folder(&ground, "open"));
    let place = archive.place();
    doom(&ground, place, &["first".to_owned()]).await;
    let stop = CancellationToken::new();
    let sweeping = tokio::spawn(sweeper(&ground, std::slice::from_ref(&archive)).run(stop.clone()));
    until(PATIENCE, "it is deleted", async || archive.deletions("first") == 1).await;
    let known = DoomedFile { place: place.to_owned(), path: "first".to_owned(), doomed_at: Fixed.now() };
    ground.store.forget(&[known]).await.expect("forgotten");
    doom(&ground, place, &["second".to_owned()]).await;
    // Whoever was told of this one was not told of the other.
    until(PATIENCE, "the second is deleted", async || archive.deletions("second") == 1).await;
    doom(&ground, place, &["first".to_owned()]).await;
    until(PATIENCE, "it is deleted again", async || archive.deletions("first") == 2).await;
    stop.cancel();
    sweeping.await.expect("it ends");
    assert_eq!(archive.deletions("second"), 1, "once more only when no write can end any more");
}
