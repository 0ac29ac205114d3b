//! How failures of the disk become errors of the port.

use std::io;
use std::path::Path;

use sg_core::ports::{ErrorKind, PortError};

use crate::frame::Flaw;

/// Returns whether the failure means that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes the error for a failed file operation.
pub(crate) fn disk_error(doing: &str, path: &Path, error: io::Error) -> PortError {
    let kind = if is_full(&error) { ErrorKind::Full } else { ErrorKind::Retry };
    PortError::from_source(kind, format!("{doing} {}", path.display()), error)
}

/// Makes the error for bytes that are not what was written.
pub(crate) fn damaged(path: &Path, position: u64, what: impl std::fmt::Display) -> PortError {
    PortError::new(
        ErrorKind::Corrupt,
        format!(
            "segment file {} is damaged at byte {position}: {what}; keep a copy of the directory, then \
             `streamgauge serve --salvage` goes on without the damaged records",
            path.display()
        ),
    )
}

/// Makes the error for a place that does not hold the frame that should stand there.
pub(crate) fn flawed(path: &Path, position: u64, flaw: Flaw) -> PortError {
    if let Flaw::Version(_) = flaw {
        let doing = format!(
            "read segment file {} at byte {position}: {flaw}; start the newer program that wrote it",
            path.display()
        );
        return PortError::new(ErrorKind::Corrupt, doing);
    }
    damaged(path, position, flaw)
}

/// Makes the error of a log that takes nothing any more.
pub(crate) fn closed(why: &str) -> PortError {
    PortError::new(ErrorKind::Closed, format!("append to the embedded log: {why}"))
}
