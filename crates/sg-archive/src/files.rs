//! The port of an archive over a folder or a bucket.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sg_core::archive::{ArchiveRules, companion_path};
use sg_core::batch::LogBatch;
use sg_core::ports::{Archive, ArchivedFile, CutBuilder, CutFile, PortError};
use sg_core::time::Timestamp;

use crate::back;
use crate::bucket::Bucket;
use crate::cut::{self, Cut};
use crate::folder::Folder;
use crate::place::{Place, Variables};

/// An archive of files.
#[derive(Debug)]
pub struct Files {
    place: String,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Folder(Folder),
    Bucket(Box<Bucket>),
}

impl Files {
    /// Prepares an archive; nothing is made or asked before the first file is written.
    ///
    /// # Errors
    /// [`sg_core::ports::ErrorKind::Invalid`] when the variables cannot be used.
    pub fn open(place: &Place, variables: &Variables) -> Result<Files, PortError> {
        let target = match place {
            Place::Folder(path) => Target::Folder(Folder(path.clone())),
            Place::Bucket { name, prefix } => {
                Target::Bucket(Box::new(Bucket::open(name, prefix, variables)?))
            }
        };
        Ok(Files { place: place.url(), target })
    }

    async fn write(&self, path: &str, content: &[Bytes]) -> Result<(), PortError> {
        match &self.target {
            Target::Folder(folder) => folder.put(path, content).await,
            Target::Bucket(bucket) => bucket.put(path, content).await,
        }
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        match &self.target {
            Target::Folder(folder) => folder.delete(path).await,
            Target::Bucket(bucket) => bucket.delete(path).await,
        }
    }

    async fn get(&self, path: &str) -> Result<Bytes, PortError> {
        match &self.target {
            Target::Folder(folder) => folder.get(path).await,
            Target::Bucket(bucket) => bucket.get(path).await,
        }
    }
}

#[async_trait]
impl Archive for Files {
    fn place(&self) -> &str {
        &self.place
    }

    fn begin(&self, rules: &Arc<ArchiveRules>, partition: u32) -> Box<dyn CutBuilder> {
        Box::new(Cut::new(rules.clone(), partition))
    }

    fn pack(&self, rules: &ArchiveRules, hour: Timestamp, lines: &[&str]) -> Result<CutFile, PortError> {
        cut::of_lines(rules.compression, hour, lines)
    }

    async fn put(&self, path: &str, file: &CutFile) -> Result<(), PortError> {
        // The companion first: whoever sees the file finds it beside.
        if !file.companion.is_empty() {
            self.write(&companion_path(path), std::slice::from_ref(&file.companion)).await?;
        }
        self.write(path, &file.content).await
    }

    async fn delete(&self, path: &str) -> Result<(), PortError> {
        self.remove(path).await?;
        self.remove(&companion_path(path)).await
    }

    async fn read(&self, file: &ArchivedFile) -> Result<LogBatch, PortError> {
        let beside = companion_path(&file.path);
        let (content, companion) = tokio::try_join!(self.get(&file.path), self.get(&beside))?;
        back::join(file, &content, &companion)
    }
}
