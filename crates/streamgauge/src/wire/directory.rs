//! The data directory: made where it is missing, and held by one process at a time.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Failure;
use crate::config::Settings;
use crate::config::settings::{LogChoice, StoreChoice};
use crate::exit;

/// Returns whether anything of the server lives in its data directory.
pub(super) fn keeps_files(settings: &Settings) -> bool {
    matches!(settings.log, LogChoice::Embedded(_)) || matches!(settings.store, StoreChoice::Sqlite(_))
}

/// Refuses a data directory that cannot be one or that another server works in; makes nothing, and leaves it free.
pub(crate) fn refuse_used(settings: &Settings) -> Result<(), Failure> {
    if !keeps_files(settings) {
        return Ok(());
    }
    let path = lock_path(&settings.data_dir);
    match File::open(&path) {
        Ok(file) => hold(&file, FlockOperation::NonBlockingLockShared, &settings.data_dir),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unusable(&settings.data_dir, &path, &error)),
    }
}

/// Takes the data directory for this process alone, and makes it where it is missing.
pub(super) fn lock(data_dir: &Path) -> Result<File, Failure> {
    std::fs::create_dir_all(data_dir).map_err(|error| unusable(data_dir, data_dir, &error))?;
    let path = lock_path(data_dir);
    let file = File::create(&path).map_err(|error| unusable(data_dir, &path, &error))?;
    hold(&file, FlockOperation::NonBlockingLockExclusive, data_dir)?;
    Ok(file)
}

fn lock_path(data_dir: &Path) -> PathBuf {
    data_dir.join("lock")
}

fn hold(file: &File, how: FlockOperation, data_dir: &Path) -> Result<(), Failure> {
    flock(file, how).map_err(|_| Failure {
        code: exit::ALREADY_RUNNING,
        error: anyhow::anyhow!(
            "another server works in {}: stop it, or choose another --data-dir",
            data_dir.display()
        ),
    })
}

/// What is wrong with the directory that was named is the configuration's failure, anything else the disk's.
fn unusable(data_dir: &Path, path: &Path, error: &io::Error) -> Failure {
    let shown = data_dir.display();
    let (code, mend) = match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            (exit::CONFIGURATION, "a file stands in its way: name a folder with --data-dir".to_owned())
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (
            exit::CONFIGURATION,
            format!("give {shown} to the user that runs the server, or name another folder with --data-dir"),
        ),
        _ => (exit::INTERNAL, "look at the disk, or name another folder with --data-dir".to_owned()),
    };
    let error =
        anyhow::anyhow!("the data directory {shown} cannot be used: {}: {error}; {mend}", path.display());
    Failure { code, error }
}
