//! The doors: events in, answers out. Holds no business rule: every answer is a call of a port and a translation.
//!
//! All routes stand in [`router`]. `server` accepts connections, `body` reads them within limits, `split` finds the
//! events in a body, `ingest` is the way in; `rollups`, `events`, `status` and `health` are the ways out; `error` is the
//! one place where a failure becomes a status.

mod answer;
mod body;
mod dead_letters;
mod error;
mod events;
mod health;
mod ingest;
mod page;
mod pages;
mod params;
mod rollups;
pub mod server;
mod split;
mod status;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::routing::{get, post};
use sg_core::metrics::Metrics;
use sg_core::plan::Plan;
use sg_core::ports::{EventLog, Pipeline, RollupReader};
use sg_core::time::{Clock, Timestamp};
use tokio::sync::Semaphore;

/// What the doors work with.
pub struct App {
    /// The streams, each with the paths that post to it beside `/v1/events?stream=…`; the first is the default.
    pub doors: Vec<Door>,
    /// Where events go.
    pub log: Arc<dyn EventLog>,
    /// Where answers come from.
    pub store: Arc<dyn RollupReader>,
    /// The loops in between.
    pub pipeline: Arc<dyn Pipeline>,
    /// The process's clock.
    pub clock: Arc<dyn Clock>,
    /// The process's counters.
    pub metrics: Arc<Metrics>,
    /// Adds metrics of the backends to `/metrics`.
    pub more_metrics: Box<dyn Fn(&mut String) + Send + Sync>,
    /// Bytes of bodies that may be in memory at once.
    pub budget: Arc<Semaphore>,
    /// The size of the budget.
    pub budget_bytes: usize,
    /// What this process does.
    pub roles: Roles,
    /// Whether the log's newest records may be searched for a question.
    pub searches_log: bool,
    /// Names of the backends: log, store.
    pub backends: (&'static str, &'static str),
    /// The version of the binary.
    pub version: &'static str,
    /// When the process began.
    pub started_at: Timestamp,
    /// Set when the process is about to leave: not ready any more.
    pub is_draining: AtomicBool,
}

/// What a process does; the routes it has follow from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Takes events.
    pub ingest: bool,
    /// Folds the log into the store.
    pub process: bool,
    /// Answers questions.
    pub query: bool,
    /// Writes the archive.
    pub archive: bool,
}

impl Roles {
    /// No role.
    pub const NONE: Roles = Roles { ingest: false, process: false, query: false, archive: false };

    /// Returns the names of the roles, as the configuration has them.
    pub fn names(self) -> Vec<&'static str> {
        let all = [
            ("ingest", self.ingest),
            ("process", self.process),
            ("query", self.query),
            ("archive", self.archive),
        ];
        all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
    }
}

/// A stream and the paths that post to it.
pub struct Door {
    /// The stream's plan.
    pub plan: Arc<Plan>,
    /// POST paths beside `/v1/events?stream=…`.
    pub paths: Vec<String>,
}

/// Bytes of bodies in memory unless configured otherwise: bounds a burst of large bodies, then 429.
pub const BUDGET_BYTES: usize = 16 << 20;

/// Every route of the server, as far as the process has the role for it.
pub fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/flush", post(status::flush))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::health))
        .route("/metrics", get(health::metrics))
        .route("/v1/rollups", get(rollups::list))
        .route("/docs/errors/{code}", get(pages::error_page));
    if app.roles.ingest {
        router = router.route("/v1/events", post(ingest::post_by_query));
        for (index, door) in app.doors.iter().enumerate() {
            for path in door.paths.iter().filter(|path| *path != "/v1/events") {
                let post_here = move |state, request| ingest::post_to(state, index, request);
                router = router.route(path, post(post_here));
            }
        }
    }
    if app.roles.query {
        router = router
            .route("/v1/events", get(events::list))
            .route("/v1/events/{event_id}", get(events::fate))
            .route("/v1/rollups/{name}", get(rollups::rows))
            .route("/v1/rollups/{name}/top", get(rollups::top))
            .route("/v1/dead-letters", get(dead_letters::list))
            .route("/", get(page::page))
            .route("/live.js", get(page::script))
            .route("/live.css", get(page::style));
    }
    router.fallback(error::not_found).method_not_allowed_fallback(error::method_not_allowed).with_state(app)
}
