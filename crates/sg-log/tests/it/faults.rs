//! A file system that counts its changing operations and fails at a chosen one, or from then on.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use sg_log::disk::{DirEntry, DiskFile};
use sg_log::{Disk, RealDisk};

mod unsynced;
pub(crate) use unsynced::Lost;
use unsynced::Unsynced;

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The machine stops before it: it and everything after it fails.
    StopBefore,
    /// A write is half done, then the machine stops; anything else stops after it.
    StopWithin,
    /// It is done, but its caller never learns it: the machine stops.
    StopAfter,
    /// The power fails before it: of what no sync made durable, this much is gone.
    PowerCut(Lost),
    /// It fails once with an error.
    Fail(io::ErrorKind),
    /// A write is half done, then the disk is full for once.
    FullOnce,
    /// From then on the disk is full, for writes and new files, until room is made.
    Full,
}

/// A kind of changing operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateDir,
    Create,
    Rename,
    Remove,
    SyncDir,
    Write,
    SyncData,
    SetLen,
}

#[derive(Debug)]
struct Plan {
    /// The operations counted; all when `None`.
    only: Option<Operation>,
    at: u64,
    fault: Fault,
    has_room: bool,
}

struct Counter {
    count: AtomicU64,
    plan: Mutex<Plan>,
    unsynced: Unsynced,
    /// One operation at a time, so that a power cut falls between two.
    one: Mutex<()>,
    /// Operations wait while it is true.
    is_held: Mutex<bool>,
    released: Condvar,
    held: AtomicU64,
}

/// What to do with an operation.
enum Verdict {
    Do,
    DoThenFail(io::Error),
    Half(io::Error),
    Fail(io::Error),
}

/// The real file system with one fault.
#[derive(Clone)]
pub(crate) struct FaultyDisk(Arc<Counter>);

impl FaultyDisk {
    /// Fails at operation `at`, counted from 0, of the given kind or of any.
    pub(crate) fn new(only: Option<Operation>, at: u64, fault: Fault) -> FaultyDisk {
        let plan = Mutex::new(Plan { only, at, fault, has_room: false });
        FaultyDisk(Arc::new(Counter {
            count: AtomicU64::new(0),
            plan,
            unsynced: Unsynced::default(),
            one: Mutex::new(()),
            is_held: Mutex::new(false),
            released: Condvar::new(),
            held: AtomicU64::new(0),
        }))
    }

    /// Counts only.
    pub(crate) fn sound() -> FaultyDisk {
        FaultyDisk::new(None, u64::MAX, Fault::StopBefore)
    }

    /// Returns how many operations were begun.
    pub(crate) fn count(&self) -> u64 {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Ends [`Fault::Full`].
    pub(crate) fn make_room(&self) {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner).has_room = true;
    }

    /// Fails at the next operation of a kind.
    pub(crate) fn fail_next(&self, only: Operation, fault: Fault) {
        let mut plan = self.0.plan.lock().unwrap_or_else(PoisonError::into_inner);
        *plan = Plan { only: Some(only), at: 0, fault, has_room: false };
        self.0.count.store(0, Ordering::SeqCst);
    }
}

impl FaultyDisk {
    /// Lets one more operation of the kind pass before the fault.
    pub(crate) fn pass_one(&self) {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner).at += 1;
    }

    /// Makes operations wait, or go on.
    pub(crate) fn hold(&self, is_held: bool) {
        *self.0.is_held.lock().unwrap_or_else(PoisonError::into_inner) = is_held;
        self.0.released.notify_all();
    }

    /// Returns how many operations have had to wait.
    pub(crate) fn held(&self) -> u64 {
        self.0.held.load(Ordering::SeqCst)
    }
}

impl Counter {
    fn wait(&self) {
        let mut is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_held {
            self.held.fetch_add(1, Ordering::SeqCst);
        }
        while *is_held {
            is_held = self.released.wait(is_held).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn judge(&self, operation: Operation) -> Verdict {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if plan.only.is_some_and(|only| only != operation) {
            return Verdict::Do;
        }
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let stopped = || io::Error::other("the machine stopped");
        if number < plan.at {
            return Verdict::Do;
        }
        let is_first = number == plan.at;
        match plan.fault {
            Fault::Fail(kind) if is_first => Verdict::Fail(io::Error::from(kind)),
            Fault::FullOnce if is_first => Verdict::Half(io::Error::from(io::ErrorKind::StorageFull)),
            Fault::Fail(_) | Fault::FullOnce => Verdict::Do,
            Fault::Full if plan.has_room => Verdict::Do,
            Fault::Full => match operation {
                Operation::Write => Verdict::Half(io::Error::from(io::ErrorKind::StorageFull)),
                Operation::Create => Verdict::Fail(io::Error::from(io::ErrorKind::StorageFull)),
                _ => Verdict::Do,
            },
            Fault::StopWithin if is_first => Verdict::Half(stopped()),
            Fault::StopAfter if is_first => Verdict::DoThenFail(stopped()),
            Fault::PowerCut(lost) if is_first => {
                self.unsynced.lose(lost);
                Verdict::Fail(stopped())
            }
            _ => Verdict::Fail(stopped()),
        }
    }

    fn run<T>(&self, operation: Operation, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.wait();
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        match self.judge(operation) {
            Verdict::Do => run(),
            Verdict::Half(error) | Verdict::DoThenFail(error) => run().and(Err(error)),
            Verdict::Fail(error) => Err(error),
        }
    }

    fn file(self: &Arc<Counter>, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let id = self.unsynced.next_id();
        Arc::new(FaultyFile { id, file, counter: self.clone() })
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.run(Operation::CreateDir, || RealDisk.create_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let create = || RealDisk.create(path).inspect(|_| self.0.unsynced.created(path));
        self.0.run(Operation::Create, create).map(|file| self.0.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path).map(|file| self.0.file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.run(Operation::Rename, || {
            RealDisk.rename(from, to).inspect(|()| self.0.unsynced.renamed(from, to))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.run(Operation::Remove, || {
            self.0.unsynced.removing(path);
            RealDisk.remove(path)
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.run(Operation::SyncDir, || RealDisk.sync_dir(dir).inspect(|()| self.0.unsynced.synced_names()))
    }
}

struct FaultyFile {
    id: u64,
    file: Arc<dyn DiskFile>,
    counter: Arc<Counter>,
}

impl DiskFile for FaultyFile {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(bytes, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.counter.wait();
        let _one = self.counter.one.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = self.counter.judge(Operation::Write);
        if !matches!(verdict, Verdict::Fail(_)) {
            self.counter.unsynced.writing(self.id, &self.file, bytes.len(), position);
        }
        match verdict {
            Verdict::Do => self.file.write_at(bytes, position),
            Verdict::DoThenFail(error) => self.file.write_at(bytes, position).and(Err(error)),
            Verdict::Half(error) => self.file.write_at(&bytes[..bytes.len() / 2], position).and(Err(error)),
            Verdict::Fail(error) => Err(error),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.counter.run(Operation::SyncData, || {
            self.file.sync_data().inspect(|()| self.counter.unsynced.synced(self.id))
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.counter.run(Operation::SetLen, || self.file.set_len(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.file.is_empty()
    }
}
