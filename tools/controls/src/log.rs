//! Group commit: all bodies that wait are one write and one fdatasync, then all are answered.
//! Two segment files are written in turn; what they held before is lost, and nothing is ever read back.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use clap::ValueEnum;
use tokio::sync::oneshot;

use crate::fold::{Message, Record};

/// Bytes of a segment.
const SEGMENT_BYTES: u64 = 1 << 30;
/// Bytes of zeros written at a time.
const ZEROS_BYTES: usize = 4 << 20;

/// What a segment's blocks are before they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Segments {
    /// Reserved, never written: the file system converts them at each sync.
    Fresh,
    /// Written with zeros before the first request, then over and over.
    Zeroed,
}

/// The waiting side of the log; requests share it.
#[derive(Debug, Default)]
pub struct Log {
    queue: Mutex<Queue>,
    filled: Condvar,
}

/// What waits for the next sync.
#[derive(Debug, Default)]
struct Queue {
    frames: Vec<u8>,
    records: Vec<Record>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Log {
    /// Starts the writer thread over segments in `folder`; what it made durable goes on to the fold, if there is one.
    ///
    /// # Errors
    /// When the segments cannot be made.
    pub fn start(
        folder: &Path,
        segments: Segments,
        fold: Option<SyncSender<Message>>,
    ) -> anyhow::Result<Arc<Log>> {
        let mut writer = Writer::open(folder, segments)?;
        let log = Arc::new(Log::default());
        let shared = log.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || {
            // A control that cannot write has nothing left to measure.
            writer.run(&shared, fold.as_ref()).expect("the disk takes what the control writes");
        })?;
        Ok(log)
    }

    /// Appends a body with the records read from it; returns once it is durable. False when the writer is gone.
    pub async fn append(&self, body: &[u8], records: &[Record]) -> bool {
        let (done, durable) = oneshot::channel();
        let checksum = crc32fast::hash(body);
        {
            let mut queue = self.lock();
            queue.frames.extend_from_slice(&(body.len() as u32).to_le_bytes());
            queue.frames.extend_from_slice(&checksum.to_le_bytes());
            queue.frames.extend_from_slice(body);
            queue.records.extend_from_slice(records);
            queue.waiting.push(done);
            if queue.waiting.len() == 1 {
                self.filled.notify_one();
            }
        }
        durable.await.is_ok()
    }

    /// Waits until something is to be written and takes all of it in exchange for an empty queue.
    fn take(&self, empty: &mut Queue) {
        let mut queue = self.lock();
        while queue.waiting.is_empty() {
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut *queue, empty);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing side of the log.
#[derive(Debug)]
struct Writer {
    paths: [PathBuf; 2],
    segments: Segments,
    segment: usize,
    file: File,
    written: u64,
}

impl Writer {
    fn open(folder: &Path, segments: Segments) -> anyhow::Result<Writer> {
        let paths = [folder.join("segment-0"), folder.join("segment-1")];
        if segments == Segments::Zeroed {
            for path in &paths {
                write_zeros(path).with_context(|| format!("zeroing {}", path.display()))?;
            }
        }
        let file = open_segment(&paths[0], segments)?;
        Ok(Writer { paths, segments, segment: 0, file, written: 0 })
    }

    fn run(&mut self, log: &Log, fold: Option<&SyncSender<Message>>) -> anyhow::Result<()> {
        let mut taken = Queue::default();
        loop {
            log.take(&mut taken);
            self.write(&taken.frames)?;
            for waiting in taken.waiting.drain(..) {
                // One that has hung up needs no answer.
                waiting.send(()).ok();
            }
            if let Some(fold) = fold {
                let capacity = taken.records.len();
                let records = std::mem::replace(&mut taken.records, Vec::with_capacity(capacity));
                fold.send(Message::Records { records, log_bytes: taken.frames.len() as u64 })?;
            }
            taken.frames.clear();
            taken.records.clear();
        }
    }

    fn write(&mut self, frames: &[u8]) -> anyhow::Result<()> {
        if self.written + frames.len() as u64 > SEGMENT_BYTES {
            self.segment = 1 - self.segment;
            self.file = open_segment(&self.paths[self.segment], self.segments)?;
            self.written = 0;
        }
        self.file.write_all(frames).context("writing frames")?;
        self.file.sync_data().context("syncing frames")?;
        self.written += frames.len() as u64;
        Ok(())
    }
}

fn open_segment(path: &Path, segments: Segments) -> anyhow::Result<File> {
    let context = || format!("opening {}", path.display());
    if segments == Segments::Zeroed {
        return File::options().write(true).open(path).with_context(context);
    }
    let file = File::create(path).with_context(context)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT_BYTES)
        .with_context(context)?;
    file.sync_all().with_context(context)?;
    Ok(file)
}

fn write_zeros(path: &Path) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let zeros = vec![0; ZEROS_BYTES];
    while file.stream_position()? < SEGMENT_BYTES {
        file.write_all(&zeros)?;
    }
    file.sync_all()
}
