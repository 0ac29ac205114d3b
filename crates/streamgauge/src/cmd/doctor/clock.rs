//! The clock: beside the server's, beside the newest record of the log, whether it runs on, and who sets it.

use std::path::Path;
use std::time::Duration;

use sg_core::time::{Timestamp, millis};

use super::{Answered, Finding};

const ABOUT: &str = "clock";
/// Dates of answers are whole seconds, and up to one old.
const APART_MAX_MS: i64 = 2_000;
/// Beyond this events that are dated here are refused there as coming from the future.
const APART_REFUSED_MS: i64 = 5 * 60_000;
/// How much the wall clock and a stopwatch may disagree over a few seconds.
const JUMP_MAX_MS: i64 = 500;
/// What services that set the clock leave where they run, and what that means.
const SETTERS: [(&str, &str); 4] = [
    ("/run/systemd/timesync/synchronized", "systemd-timesyncd keeps it right"),
    ("/run/chrony", "chronyd runs"),
    ("/run/ntpd.pid", "ntpd runs"),
    ("/run/openntpd", "openntpd runs"),
];
const MEND: &str = "timedatectl set-ntp true, and timedatectl status";

/// Compares this clock with the server's and with what the log says of it.
pub(super) fn look(answered: &Answered, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(ahead_ms) = answered.ahead_ms {
        findings.push(apart(ahead_ms));
    }
    let partitions =
        answered.status.iter().flat_map(|status| &status.streams).flat_map(|stream| &stream.partitions);
    let newest = partitions.filter_map(|partition| Timestamp::from_text(partition.r.as_deref()?).ok()).max();
    if let Some(newest) = newest {
        findings.extend(set_back(newest, now));
    }
    findings
}

pub(super) fn apart(ahead_ms: i64) -> Finding {
    let told = || {
        let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
        format!("the server's is {:.1} s {way} this one", ahead_ms.unsigned_abs() as f64 / 1e3)
    };
    match ahead_ms.abs() {
        0..=APART_MAX_MS => Finding::ok(ABOUT, "the server's is the same"),
        ..=APART_REFUSED_MS => Finding::warn(ABOUT, told(), MEND),
        _ => {
            Finding::fail(ABOUT, format!("{}: events may be refused as coming from the future", told()), MEND)
        }
    }
}

/// Says so when the log has records from later than now.
pub(super) fn set_back(newest: Timestamp, now: Timestamp) -> Option<Finding> {
    let back_ms = newest.0 - now.0;
    let says = || {
        format!(
            "the log's newest record is of {newest}, {:.1} s ahead: the clock was set back, and the log's stands until then",
            back_ms as f64 / 1e3
        )
    };
    (back_ms > APART_MAX_MS).then(|| Finding::warn(ABOUT, says(), MEND))
}

/// Judges that the wall clock ran as a stopwatch did meanwhile, and names who sets it.
pub(super) fn steady(before: Timestamp, stopwatch: Duration, now: Timestamp) -> Finding {
    let jump_ms = now.0 - before.0 - millis(stopwatch);
    if jump_ms.abs() > JUMP_MAX_MS {
        let says = format!("it jumped by {:.1} s while it was looked at", jump_ms as f64 / 1e3);
        return Finding::warn(ABOUT, says, MEND);
    }
    let setter = SETTERS.iter().find(|(path, _)| Path::new(path).try_exists().unwrap_or(false));
    let told = setter.map_or("nothing that sets it is visible from here", |(_, told)| *told);
    Finding::ok(ABOUT, format!("it runs evenly; {told}"))
}
