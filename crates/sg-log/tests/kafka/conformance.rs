//! The suite that every log must pass.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sg_core::ports::EventLog;
use sg_core::testing::log_suite::{self, LogFactory};
use sg_log::kafka::{KafkaLog, KafkaOptions};

use crate::ground::{Ground, ground, open};

struct Factory {
    ground: Ground,
    made: Mutex<Vec<(Arc<KafkaLog>, KafkaOptions)>>,
}

#[async_trait]
impl LogFactory for Factory {
    async fn make(&self, streams: &[&str]) -> Arc<dyn EventLog> {
        let mut topics = Vec::new();
        for stream in streams {
            topics.push(self.ground.topic(stream, 1).await);
        }
        let options = self.ground.options(topics);
        let log = Arc::new(open(options.clone()));
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push((log.clone(), options));
        log
    }

    async fn reopen(&self, log: Arc<dyn EventLog>) -> Arc<dyn EventLog> {
        log.close().await.expect("the log closes");
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(known, _): &&mut (Arc<KafkaLog>, KafkaOptions)| {
            std::ptr::addr_eq(&raw const **known, &raw const *log)
        };
        let (known, options) = made.iter_mut().find(same).expect("this factory made the log");
        *known = Arc::new(open(options.clone()));
        known.clone()
    }
}

async fn check(case: impl AsyncFn(&dyn LogFactory)) {
    let Some(ground) = ground() else { return };
    let factory = Factory { ground, made: Mutex::default() };
    case(&factory).await;
    factory.ground.clear().await;
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
