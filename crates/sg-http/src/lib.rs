//! The doors: events in, answers out. Holds no business rule: every answer is a call of a port and a translation.
//!
//! All routes stand in [`router`]. `server` accepts connections, `body` reads them within limits, `split` finds the
//! events in a body, `ingest` is the way in; `rollups`, `events`, `by_hand`, `late`, `archive`, `status`, `health` and `metrics` are the ways out, `live` tells
//! what changes, `systems` are those in which clients of other systems ask; `dashboard` and `docs` hand out the pages; `error`
//! is the one place where a failure becomes a status; `guard` lets in whom `access` allows, by `keys` or a `session`; `traces` are the
//! spans of requests; `openapi` says of all of them what they take and answer.

mod access;
mod answer;
mod archive;
mod body;
mod by_hand;
mod cors;
mod dashboard;
mod dead_letters;
mod demo;
mod docs;
mod error;
mod events;
mod guard;
mod headroom;
mod health;
mod ingest;
mod keys;
mod late;
mod limits;
mod live;
mod metrics;
mod openapi;
mod pages;
mod params;
mod places;
mod rebuild;
mod rollups;
pub mod server;
mod session;
mod split;
mod status;
mod systems;
mod tls;
mod traces;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use sg_core::archive::FileKind;
use sg_core::metrics::{ArchiveMetrics, Counter, Metrics};
use sg_core::plan::Plan;
use sg_core::ports::{EventLog, EventPicker, Manifest, Pipeline, Rebuilder, RollupReader};
use sg_core::time::{Clock, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub use cors::Origins;
pub use guard::{Auth, Guard};
pub use headroom::Headrooms;
pub use keys::draw as draw_key;
pub use limits::{Limits, Network, Stopwatch, Turns};
pub use live::Watchers;
pub use places::{Each, Places};
pub use systems::{Measured, MetricsApi, Reading, readings as cloudwatch_readings};
pub use tls::{Tls, TlsError};
pub use traces::{Tracer, with_spans};

use error::ApiError;
use systems::{actuator, event_platform, hourly_aggregations, stream_metrics, web_analytics};

/// What the doors work with.
pub struct App {
    /// The streams, each with the paths that post to it beside `/v1/events?stream=…`; the first is the default.
    pub doors: Vec<Door>,
    /// Where events go.
    pub log: Arc<dyn EventLog>,
    /// Where answers come from.
    pub store: Arc<dyn RollupReader>,
    /// What is in which file of the archive.
    pub manifest: Arc<dyn Manifest>,
    /// What is archived, and how that gets on.
    pub archive: ArchiveView,
    /// The loops in between.
    pub pipeline: Arc<dyn Pipeline>,
    /// Makes cells again.
    pub rebuilder: Arc<dyn Rebuilder>,
    /// Picks events, and deletes them.
    pub picker: Arc<dyn EventPicker>,
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
    /// Cancelled when the process is about to leave: not ready any more, and streams of answers end.
    pub draining: CancellationToken,
    /// How much senders may send.
    pub limits: Limits,
    /// What questions may be asked at once.
    pub questions: Turns,
    /// Who is let in.
    pub guard: Arc<Guard>,
    /// The pages that may post and read the live stream from a browser.
    pub origins: Origins,
    /// Who watches the live streams.
    pub watchers: Watchers,
    /// Whether the demo producer runs; `None` where there is none.
    pub demo: Option<watch::Sender<bool>>,
    /// How near the log's retention has come to what is needed.
    pub headrooms: Headrooms,
    /// What the stream metrics API has answered.
    pub metrics_api: MetricsApi,
    /// Makes spans of requests.
    pub tracer: Tracer,
}

impl App {
    /// Refuses a stream that is not configured.
    pub(crate) fn check_stream(&self, name: &str) -> Result<(), ApiError> {
        let is_known = self.doors.iter().any(|door| *door.plan.name == *name);
        if is_known { Ok(()) } else { Err(ApiError::unknown_stream(self, name)) }
    }

    /// Returns the origin of a request if its pages may post events: anybody's, or by some key.
    pub(crate) fn post_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let by_key = || headers.get(header::ORIGIN).filter(|_| self.guard.has_key_for(headers)).cloned();
        self.origins.allowed(headers).or_else(by_key)
    }
}

/// The archive as this process has it.
#[derive(Debug, Default)]
pub struct ArchiveView {
    /// The streams that are archived, each with its place.
    pub streams: Vec<(String, String)>,
    /// The files of closed windows and late events: the stream, what they hold, their place.
    pub files: Vec<(String, FileKind, String)>,
    /// What this process's archivers count.
    pub metrics: Arc<ArchiveMetrics>,
}

impl ArchiveView {
    /// Returns whether nothing is archived.
    pub(crate) fn is_off(&self) -> bool {
        self.streams.is_empty() && self.files.is_empty()
    }
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
    /// What a POST on them is answered.
    pub answers: Answers,
    /// Events accepted one at a time.
    pub taken_singly: Counter,
    /// Events accepted in batches.
    pub taken_in_batches: Counter,
}

impl Door {
    /// Makes a door that has taken nothing yet.
    pub fn new(plan: Arc<Plan>, paths: Vec<String>, answers: Answers) -> Door {
        let (taken_singly, taken_in_batches) = (Counter::default(), Counter::default());
        Door { plan, paths, answers, taken_singly, taken_in_batches }
    }
}

/// What a POST on a stream's own paths is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// What became of the events; the good ones of a batch are taken.
    Counts,
    /// Nothing but the status; a batch is taken whole or not at all, since nobody would read which of it was refused.
    Empty,
}

/// What `GET /metrics` without a query answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareMetrics {
    /// The process's metrics as Prometheus reads them.
    Prometheus,
    /// The newest rows of stream metrics.
    Rows,
}

/// Bytes of bodies in memory unless configured otherwise: bounds a burst of large bodies, then 429.
pub const BUDGET_BYTES: usize = 16 << 20;

/// Every route of the server; those that the process has no role for say so.
pub fn router(app: Arc<App>, bare_metrics: BareMetrics) -> Router {
    let metrics = move |state, query| stream_metrics::metrics(state, query, bare_metrics);
    let document = openapi::document(&app);
    let observed = Router::new()
        .route("/health", get(health::health))
        .route("/metrics", get(metrics))
        .route("/prometheus", get(stream_metrics::prometheus))
        .route("/metrics/latest", get(stream_metrics::latest))
        .route("/streams/top", get(stream_metrics::top));
    let mut router = Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/flush", post(status::flush))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::health))
        .route("/actuator/health", get(actuator::health))
        .route("/actuator/health/liveness", get(actuator::liveness))
        .route("/actuator/health/readiness", get(actuator::readiness))
        .route("/actuator/metrics", get(actuator::meters))
        .route("/actuator/metrics/{name}", get(actuator::meter))
        .route("/metrics/stream", get(web_analytics::stream).options(cors::preflight_of_reads))
        .route("/api/pipeline/memory", get(hourly_aggregations::memory))
        .route("/api/pipeline/flush", post(status::flush))
        .route("/v1/dead-letters/replay", post(dead_letters::replay))
        .route("/v1/rebuild", post(rebuild::rebuild))
        .route("/v1/events/delete", post(by_hand::delete))
        .route("/v1/rollups", get(rollups::list))
        .route("/v1/stream", get(live::stream).options(cors::preflight_of_reads))
        .route("/v1/demo", get(demo::show))
        .route("/v1/demo/start", post(demo::start))
        .route("/v1/demo/stop", post(demo::stop))
        .route("/v1/session", get(session::show).post(session::begin).delete(session::end))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{id}", delete(keys::revoke))
        .route("/docs/errors/{code}", get(pages::error_page))
        .route("/openapi.json", get(move || openapi::answer(document)))
        .route("/docs", get(docs::page))
        .route("/docs/errors", get(pages::index))
        .route("/docs.js", get(docs::script))
        .route("/docs.css", get(docs::style))
        .route("/favicon.ico", get(dashboard::icon));
    let post_by_query = post(ingest::post_by_query).options(cors::preflight_of_posts);
    router = router.route("/v1/events", post_by_query);
    for (index, door) in app.doors.iter().enumerate() {
        for path in door.paths.iter().filter(|path| *path != "/v1/events") {
            let post_here = move |state, request| ingest::post_to(state, index, request);
            router = router.route(path, post(post_here).options(cors::preflight_of_posts));
        }
    }
    let observed = observed.route_layer(from_fn_with_state(app.clone(), stream_metrics::observe));
    let check = from_fn_with_state(guard::Post { app: app.clone(), bare_metrics }, guard::check);
    router
        .merge(observed)
        .merge(questions())
        .route_layer(check)
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(app)
}

/// The routes of questions.
fn questions() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/events", get(events::list))
        .route("/v1/events/export", get(by_hand::export))
        .route("/v1/events/{event_id}", get(events::fate))
        .route("/v1/rollups/{name}", get(rollups::rows))
        .route("/v1/rollups/{name}/top", get(rollups::top))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/archive", get(archive::list))
        .route("/v1/dead-letters/{stream}/{partition}/{offset}", get(dead_letters::show))
        .route("/api/aggregations", get(hourly_aggregations::aggregations))
        .route("/api/aggregations/latest", get(hourly_aggregations::latest))
        .route("/api/stats", get(hourly_aggregations::stats))
        .route("/api/event-types", get(hourly_aggregations::event_types))
        .route("/analytics/events/count", get(event_platform::count))
        .route("/analytics/top-events", get(event_platform::top_events))
        .route("/analytics/users/active", get(event_platform::active_users))
        .route("/analytics/user/{user_id}/events", get(event_platform::user_events))
        .route("/v1/late", get(late::list))
        .route("/", get(dashboard::page))
        .route("/assets/{name}", get(dashboard::asset))
}
