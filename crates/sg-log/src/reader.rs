//! Reads one stream in order: from memory when it keeps up, else from the segment files until it does.
//! Sees only what is durable.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sg_core::batch::LogBatch;
use sg_core::ports::{ErrorKind, LogReader, PortError};
use tokio::time::Instant;

use crate::shared::{Shared, lock};

mod files;
use files::Files;

/// A place in one stream.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    stream: Arc<str>,
    next: u64,
    /// The place in the files; absent while the reader is served from memory.
    files: Option<Files>,
    /// A read of the files that is under way.
    work: Option<Work>,
    /// Offsets whose records are lost, which nobody has asked for yet.
    lost: Vec<Range<u64>>,
}

/// A read of the files on a thread that may wait for the disk.
type Work = tokio::task::JoinHandle<(Files, Result<Vec<LogBatch>, PortError>)>;

/// Where the next records are.
enum Source {
    Memory(Vec<LogBatch>),
    Files(u32),
    Nowhere,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, stream: &str, from: u64) -> Reader {
        Reader { shared, stream: Arc::from(stream), next: from, files: None, work: None, lost: Vec::new() }
    }

    fn source(&self, bytes_max: usize) -> Source {
        let view = lock(&self.shared.view);
        match view.streams.number(&self.stream) {
            Some(number) if self.next < view.next(number) => {
                if view.tail.holds(number, self.next) {
                    Source::Memory(view.tail.read(number, self.next, bytes_max))
                } else {
                    Source::Files(number)
                }
            }
            _ => Source::Nowhere,
        }
    }

    async fn read_files(&mut self, number: u32, bytes_max: usize) -> Result<Vec<LogBatch>, PortError> {
        // A call that is dropped leaves its work here for the next one: the place in the files is not lost.
        let work = self.work.get_or_insert_with(|| {
            let files = self.files.take();
            let (shared, stream, next) = (self.shared.clone(), self.stream.clone(), self.next);
            tokio::task::spawn_blocking(move || {
                let mut files = files.unwrap_or_else(|| Files::new(shared, stream, number, next));
                let batches = files.read(bytes_max);
                (files, batches)
            })
        });
        let done = work.await;
        self.work = None;
        let (mut files, batches) =
            done.map_err(|error| PortError::from_source(ErrorKind::Retry, "read the embedded log", error))?;
        let batches = batches?;
        // Also without batches: what salvage could not keep is passed over.
        self.next = files.next();
        self.lost.append(&mut files.take_lost());
        self.files = Some(files);
        Ok(batches)
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<LogBatch>, PortError> {
        let shared = self.shared.clone();
        let deadline = Instant::now() + wait;
        loop {
            let mut grown = std::pin::pin!(shared.grown.notified());
            // Listens before it looks, so that nothing is missed in between.
            grown.as_mut().enable();
            let batches = match self.source(bytes_max) {
                Source::Memory(batches) => {
                    self.files = None;
                    batches
                }
                Source::Files(number) => {
                    let before = self.next;
                    let batches = self.read_files(number, bytes_max).await?;
                    if batches.is_empty() && self.next > before {
                        return Ok(batches);
                    }
                    batches
                }
                Source::Nowhere => {
                    if tokio::time::timeout_at(deadline, grown).await.is_err() {
                        return Ok(Vec::new());
                    }
                    continue;
                }
            };
            if let Some(last) = batches.last() {
                self.next = last.next_offset();
                return Ok(batches);
            }
        }
    }

    fn passed(&self) -> u64 {
        self.next
    }

    fn lost(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.lost)
    }
}
