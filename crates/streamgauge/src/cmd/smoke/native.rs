//! What belongs to no system of its own: readiness, and the ledger.

use super::probe::Probe;
use crate::cmd::audit;

/// Checks that the server would take and answer events now.
pub(super) async fn check_ready(probe: &mut Probe) {
    probe
        .look_at_json("ready", "/readyz", |body| Ok(format!("{} on {}", body["status"], body["backends"])))
        .await;
}

/// Checks that every record has one fate.
pub(super) async fn check_ledger(probe: &mut Probe) {
    let judge = |_: &_, status: &_| {
        let checks = audit::sum_checks(status);
        match checks.iter().find(|check| !check.holds) {
            None => Ok(format!("{} sums are right", checks.len())),
            Some(wrong) => Err(wrong.line()),
        }
    };
    probe.look_at_status("ledger", judge).await;
}
