//! The suite that every log must pass, over several shapes of the embedded one.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sg_core::ports::EventLog;
use sg_core::testing::log_suite::{self, LogFactory};
use sg_log::{EmbeddedLog, Options};

use crate::bench::{folder, open, options};

/// How a shape of the log differs from a usual one.
type Shape = fn(&mut Options);

const SHAPES: [(&str, Shape); 4] = [
    ("usual", |options| options.segment_bytes = 1 << 20),
    ("tiny segments", |options| options.segment_bytes = 700),
    ("without memory", |options| options.tail_bytes_max = 0),
    ("tiny segments made ahead, little memory", |options| {
        options.segment_bytes = 2_000;
        options.pool_bytes_max = 8_000;
        options.tail_bytes_max = 2_000;
    }),
];

struct Factory {
    shape: Shape,
    made: Mutex<Vec<(Arc<EmbeddedLog>, Options, tempfile::TempDir)>>,
}

#[async_trait]
impl LogFactory for Factory {
    async fn make(&self, _streams: &[&str]) -> Arc<dyn EventLog> {
        let dir = folder();
        let mut options = options(dir.path());
        (self.shape)(&mut options);
        let log = Arc::new(open(options.clone()));
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push((log.clone(), options, dir));
        log
    }

    async fn reopen(&self, log: Arc<dyn EventLog>) -> Arc<dyn EventLog> {
        log.close().await.expect("the log closes");
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(known, _, _): &&mut (Arc<EmbeddedLog>, Options, _)| {
            std::ptr::addr_eq(&raw const **known, &raw const *log)
        };
        let (known, options, _) = made.iter_mut().find(same).expect("this factory made the log");
        *known = Arc::new(open(options.clone()));
        known.clone()
    }
}

async fn check(case: impl AsyncFn(&dyn LogFactory)) {
    for (name, shape) in SHAPES {
        announce(name);
        case(&Factory { shape, made: Mutex::new(Vec::new()) }).await;
    }
}

#[expect(clippy::print_stderr, reason = "a failing test must name its shape")]
fn announce(name: &str) {
    eprintln!("shape: {name}");
}

#[tokio::test]
async fn records_come_back() {
    check(log_suite::records_come_back).await;
}

#[tokio::test]
async fn replays_come_back() {
    check(log_suite::replays_come_back).await;
}

#[tokio::test]
async fn readers_begin_anywhere() {
    check(log_suite::readers_begin_anywhere).await;
}

#[tokio::test]
async fn readers_wait() {
    check(log_suite::readers_wait).await;
}

#[tokio::test]
async fn appenders_do_not_overlap() {
    check(log_suite::appenders_do_not_overlap).await;
}

#[tokio::test]
async fn extents_are_right() {
    check(log_suite::extents_are_right).await;
}

#[tokio::test]
async fn identities_differ() {
    check(log_suite::identities_differ).await;
}

#[tokio::test]
async fn log_time_never_runs_back() {
    check(log_suite::log_time_never_runs_back).await;
}

#[tokio::test]
async fn closed_logs_refuse() {
    check(log_suite::closed_logs_refuse).await;
}

#[tokio::test]
async fn members_are_assigned_partitions() {
    check(log_suite::members_are_assigned_partitions).await;
}
