//! File names of a log's directory. Numbers have twenty digits, so that names sort as numbers do.

use std::path::{Path, PathBuf};

/// The file with the log's identity.
pub(crate) const IDENTITY: &str = "identity";
/// The folder for damaged bytes that salvage took out.
pub(crate) const SALVAGED: &str = "salvaged";
const SEGMENT_SUFFIX: &str = ".seg";
const POOL_PREFIX: &str = "pool-";
const POOL_SUFFIX: &str = ".free";
/// Ends the name of a file that is not ready; removed at the next start.
pub(crate) const UNFINISHED_SUFFIX: &str = ".tmp";

/// Returns the path of a segment.
pub(crate) fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}{SEGMENT_SUFFIX}"))
}

/// Returns the path of a file that waits to become a segment.
pub(crate) fn pool(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{POOL_PREFIX}{number:020}{POOL_SUFFIX}"))
}

/// Returns the path under which a file is made ready before it gets its name.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED_SUFFIX);
    PathBuf::from(name)
}

/// Returns the number of a segment's file name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    number(name.strip_suffix(SEGMENT_SUFFIX)?)
}

/// Returns the number of a pool file's name.
pub(crate) fn pool_number(name: &str) -> Option<u64> {
    number(name.strip_prefix(POOL_PREFIX)?.strip_suffix(POOL_SUFFIX)?)
}

fn number(digits: &str) -> Option<u64> {
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests;
