//! What this process has used so far, as the kernel counts it. Linux only; nothing of other processes.

use std::time::Duration;

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};

/// Returns the CPU time of all threads.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the peak of the resident memory in MiB.
///
/// # Errors
/// When the kernel does not say.
pub fn memory_mib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading the memory in use")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let kib: u64 = peak.context("the kernel shows no peak of the memory in use")?.parse()?;
    Ok(kib / 1024)
}

#[cfg(test)]
mod tests;
