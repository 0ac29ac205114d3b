//! The device of the data directory: how much room it has, and how long it takes to make a small write durable, measured
//! with a file of our own beside the log and the database.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Finding;
use crate::config::Settings;
use crate::config::settings::{LogChoice, StoreChoice};

const SPACE: &str = "disk space";
const SYNC: &str = "fsync";
/// Under this the server cannot even begin a segment of its log.
const SPACE_MIN: u64 = 128 << 20;
/// Writes that are timed.
const ROUNDS: usize = 20;
/// Bytes of each: a small request.
const ROUND_BYTES: usize = 4_096;
/// No device with a write cache that survives a power cut answers faster; what does may keep it in memory.
const TOO_FAST: Duration = Duration::from_micros(15);
/// Slower than this, single requests wait noticeably: a spinning disk, or a busy one.
const SLOW: Duration = Duration::from_millis(20);
/// What `statfs` calls a file system in memory.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// Looks at the data directory's device, where anything lives there.
pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    let is_embedded = matches!(settings.log, LogChoice::Embedded(_));
    if !is_embedded && !matches!(settings.store, StoreChoice::Sqlite(_)) {
        return vec![Finding::ok(SPACE, "no data directory is needed: log and store are servers")];
    }
    let dir = &settings.data_dir;
    let elsewhere = "streamgauge serve --data-dir DIR with a directory that can be written";
    let Some(there) = nearest(dir) else {
        return vec![Finding::fail(SPACE, format!("{} cannot be reached", dir.display()), elsewhere)];
    };
    // The segments that are kept ready, and some room for the database.
    let wanted = if is_embedded { settings.embedded.pool_bytes_max + SPACE_MIN } else { SPACE_MIN };
    let mut findings = vec![space(&there, wanted)];
    match sync_times(&there) {
        Ok(times) => findings.push(judged(&there, times)),
        Err(error) => {
            let says = format!("{} cannot be written: {error}", dir.display());
            findings.push(Finding::fail("data directory", says, elsewhere));
        }
    }
    findings
}

/// Returns the directory, or the nearest one above it that is there: the server makes the rest.
fn nearest(dir: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(dir).ok()?;
    whole.ancestors().find(|path| path.symlink_metadata().is_ok()).map(Path::to_owned)
}

fn space(dir: &Path, wanted: u64) -> Finding {
    let seen = match rustix::fs::statvfs(dir) {
        Ok(seen) => seen,
        Err(error) => {
            return Finding::fail(
                SPACE,
                format!("{} does not tell: {error}", dir.display()),
                format!("df -h {}", dir.display()),
            );
        }
    };
    judged_space(seen.f_bavail.saturating_mul(seen.f_frsize), wanted, dir)
}

pub(super) fn judged_space(free: u64, wanted: u64, dir: &Path) -> Finding {
    let told = format!("{} are free in {}", mebibytes(free), dir.display());
    let mend = format!("make room; `du -xh {} | sort -h | tail` shows what takes it", dir.display());
    match free {
        _ if free < SPACE_MIN => Finding::fail(SPACE, format!("only {told}"), mend),
        _ if free < wanted => {
            let says = format!("{told}, and {} are wanted for the log's segments", mebibytes(wanted));
            Finding::warn(SPACE, says, mend)
        }
        _ => Finding::ok(SPACE, told),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// A file that goes with the value.
struct Trial(PathBuf);

impl Drop for Trial {
    fn drop(&mut self) {
        // Fails only where somebody else removed it.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Times small writes until they are durable; shortest first.
fn sync_times(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".streamgauge-doctor-{}", std::process::id()));
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let _trial = Trial(path);
    let bytes = [b'.'; ROUND_BYTES];
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn judged(dir: &Path, times: Vec<Duration>) -> Finding {
    let kind = rustix::fs::statfs(dir).map_or(0, |seen| seen.f_type as u64);
    let elsewhere = "streamgauge serve --data-dir DIR with a directory on a disk";
    if matches!(kind, TMPFS | RAMFS) {
        let says = format!("{} lies in memory: a restart of the machine loses all of it", dir.display());
        return Finding::warn(SYNC, says, elsewhere);
    }
    judged_times(dir, &times)
}

pub(super) fn judged_times(dir: &Path, times: &[Duration]) -> Finding {
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let slowest = times.last().copied().unwrap_or_default();
    let ms = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
    let told =
        format!("4 KiB are durable in {} (the slowest of {} in {})", ms(median), times.len(), ms(slowest));
    if median < TOO_FAST {
        let says = format!("{told}: so fast that the device may only have promised it");
        return Finding::warn(
            SYNC,
            says,
            format!("findmnt -T {} and the device's write cache", dir.display()),
        );
    }
    if median > SLOW {
        let says = format!("{told}: each single request waits that long");
        return Finding::warn(SYNC, says, "iostat -x 1, or send batches");
    }
    Finding::ok(SYNC, told)
}
