//! The disk under the data directory, as metrics: it fills long before an append is refused.

use std::path::Path;

use sg_core::metrics::{head, line};

/// Writes how large it is and what is free; nothing where the system does not say.
pub(super) fn render(data_dir: &Path, out: &mut String) {
    let Ok(seen) = rustix::fs::statvfs(data_dir) else { return };
    let gauges = [
        ("streamgauge_disk_bytes", "Size of the disk that holds the data directory.", seen.f_blocks),
        ("streamgauge_disk_free_bytes", "What is free on it for this process.", seen.f_bavail),
    ];
    for (name, help, blocks) in gauges {
        head(out, name, "gauge", help);
        line(out, format_args!("{name} {}", blocks * seen.f_frsize));
    }
}
