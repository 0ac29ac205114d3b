//! The files of a log's directory at the start: identity, segments, pool, and what an earlier process left unfinished.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

use sg_core::ports::{ErrorKind, PortError};

use crate::disk::Disk;
use crate::fault::disk_error;
use crate::log::{Options, Reached};
use crate::names;
use crate::recovery::{Recovered, recover};
use crate::salvage;

/// Bytes of the identity: 32 hexadecimal digits.
const IDENTITY_BYTES: usize = 32;

/// What opening a directory finds.
pub(crate) struct Opened {
    pub(crate) identity: String,
    /// Numbers of the files that wait to become segments.
    pub(crate) pool: Vec<u64>,
    pub(crate) recovered: Recovered,
}

/// Opens a log's directory, or makes it.
pub(crate) fn open(options: &Options) -> Result<Opened, PortError> {
    let (disk, dir) = (&*options.disk, options.dir.as_path());
    if options.segment_bytes == 0 {
        return Err(PortError::new(ErrorKind::Invalid, "open the embedded log with segments of no bytes"));
    }
    disk.create_dir(dir).map_err(|error| disk_error("make directory", dir, error))?;
    let mut segments = Vec::new();
    let mut pool = Vec::new();
    let mut has_identity = false;
    for entry in disk.list(dir).map_err(|error| disk_error("list directory", dir, error))? {
        has_identity |= entry.name == names::IDENTITY;
        if entry.name.ends_with(names::UNFINISHED_SUFFIX) {
            remove(disk, &dir.join(&entry.name))?;
        } else if let Some(number) = names::segment_number(&entry.name) {
            segments.push(number);
        } else if let Some(number) = names::pool_number(&entry.name) {
            let is_usable = entry.len <= options.segment_bytes
                && entry.len >= options.segment_bytes / 2
                && (pool.len() as u64) < options.pool_bytes_max / options.segment_bytes;
            match is_usable {
                true => pool.push(number),
                false => remove(disk, &dir.join(&entry.name))?,
            }
        }
    }
    segments.sort_unstable();
    let known = known_identity(disk, dir, (has_identity, &segments))?;
    let identity = known.map_or_else(|| make_identity(options), Ok)?;
    let is_ours = |one: &&Reached| one.log_identity == identity;
    let reached: Vec<Reached> = options.reached.iter().filter(is_ours).cloned().collect();
    if options.salvage {
        segments = salvage::repair(disk, dir, &segments, &reached)?;
    }
    let recovered = recover(disk, dir, &segments)?;
    check_reached(dir, &recovered, &reached)?;
    Ok(Opened { identity, pool, recovered })
}

/// Returns the identity of a log of which these files are there; `None` where there is no log yet.
fn known_identity(
    disk: &dyn Disk,
    dir: &Path,
    (has_identity, segments): (bool, &[u64]),
) -> Result<Option<String>, PortError> {
    if has_identity {
        return read_identity(disk, dir).map(Some);
    }
    if segments.is_empty() {
        return Ok(None);
    }
    let doing = format!("the log in {} has segments but no file `identity`; put it back", dir.display());
    Err(PortError::new(ErrorKind::Corrupt, doing))
}

/// Returns the identity of the log in a directory; `None` where opening would make one.
pub(crate) fn identity(disk: &dyn Disk, dir: &Path) -> Result<Option<String>, PortError> {
    let entries = disk.list(dir).map_err(|error| disk_error("list directory", dir, error))?;
    let has_identity = entries.iter().any(|entry| entry.name == names::IDENTITY);
    let segments: Vec<u64> = entries.iter().filter_map(|entry| names::segment_number(&entry.name)).collect();
    known_identity(disk, dir, (has_identity, &segments))
}

/// Refuses a log that ends before what was read of it: the same offsets would be given to other records.
fn check_reached(dir: &Path, recovered: &Recovered, reached: &[Reached]) -> Result<(), PortError> {
    for Reached { stream, offset, .. } in reached {
        let number = recovered.streams.number(stream);
        let end = number.map_or(0, |number| recovered.streams.list()[number as usize].next);
        if end < *offset {
            let doing = format!(
                "the log in {} ends at offset {end} of {stream}, but the store has read it up to offset {offset}: its \
                 newest records are lost; bring back the log that belongs to this store, or `streamgauge serve --salvage` \
                 goes on behind what was read",
                dir.display()
            );
            return Err(PortError::new(ErrorKind::Corrupt, doing));
        }
    }
    Ok(())
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), PortError> {
    disk.remove(path).map_err(|error| disk_error("remove file", path, error))
}

fn read_identity(disk: &dyn Disk, dir: &Path) -> Result<String, PortError> {
    let path = dir.join(names::IDENTITY);
    let mut bytes = [0; IDENTITY_BYTES];
    let read = disk.open(&path).and_then(|file| file.read_at(&mut bytes, 0));
    let read = read.map_err(|error| disk_error("read file", &path, error))?;
    match std::str::from_utf8(&bytes) {
        Ok(identity) if read == IDENTITY_BYTES && identity.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(identity.to_owned())
        }
        _ => {
            let doing = format!(
                "file {} does not hold {IDENTITY_BYTES} hexadecimal digits; put it back",
                path.display()
            );
            Err(PortError::new(ErrorKind::Corrupt, doing))
        }
    }
}

fn make_identity(options: &Options) -> Result<String, PortError> {
    let (disk, dir) = (&options.disk, options.dir.as_path());
    let identity = format!("{:016x}{:016x}", random(options), random(options));
    let path = dir.join(names::IDENTITY);
    let unfinished = names::unfinished(&path);
    let written = disk.create(&unfinished).and_then(|file| {
        file.write_at(identity.as_bytes(), 0)?;
        file.sync_data()?;
        disk.rename(&unfinished, &path)?;
        disk.sync_dir(dir)
    });
    written.map_err(|error| disk_error("make file", &path, error))?;
    Ok(identity)
}

/// The standard library's hash keys come from the system's source of randomness.
fn random(options: &Options) -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_i64(options.clock.now().0);
    hasher.write_u32(std::process::id());
    hasher.finish()
}
