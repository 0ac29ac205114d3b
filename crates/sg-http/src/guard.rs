//! Lets requests in or keeps them out. The keys are in memory and read again from the store every few seconds: no request
//! waits for the store, and a key that was revoked elsewhere soon works nowhere. What a route asks for is `access`'s,
//! where a key stands in a request `guard/credentials`'s; keys are made and ended in `keys`.

mod credentials;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use sg_core::key::{self, KeyHash, Scope, Scopes, StoredKey};
use sg_core::ports::{KeyStore, PortError};
use sg_core::time::{Clock, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::{self, Access};
use crate::error::{ApiError, Hurdle, Problem};
use crate::server;
use crate::traces::RequestSpan;
use crate::{App, BareMetrics, cors};

pub(crate) use credentials::{COOKIE, Place, has_session, is_from_elsewhere, is_from_here};

/// How often the keys are read again: what was revoked in another process works for so long at most.
const REFRESH: Duration = Duration::from_secs(2);
/// For how long keys are believed while the store cannot be asked. An outage of the store must not stop those who send
/// into a log that is well; nobody can revoke a key during it either, but by way of a process that still has the store.
const BELIEVED: Duration = Duration::from_secs(3_600);

/// How keys are asked for.
#[derive(Debug, Clone)]
pub enum Auth {
    /// By nobody.
    Off,
    /// As soon as there is one: a text given by the configuration, which may do everything, or any in the store.
    Keys {
        /// The hash of the configuration's key.
        given: Option<KeyHash>,
    },
}

/// The keys of a process.
pub struct Guard {
    auth: Auth,
    is_metrics_open: bool,
    /// Known to this process only, which sends made-up events with it.
    own: (String, KeyHash),
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    /// `None` until the store was asked for the first time.
    ring: RwLock<Option<Arc<Ring>>>,
}

/// The keys as they were read.
struct Ring {
    keys: HashMap<String, Arc<StoredKey>>,
    as_of: Instant,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// By which key of the store, if by one.
    pub(crate) key: Option<Arc<StoredKey>>,
    /// What is allowed.
    pub(crate) scopes: Scopes,
}

impl Caller {
    fn with(scopes: Scopes) -> Caller {
        Caller { key: None, scopes }
    }
}

impl Guard {
    /// Makes a guard that has not read the keys yet; `own` is a secret that nobody else knows.
    pub fn new(
        auth: Auth,
        is_metrics_open: bool,
        own: String,
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
    ) -> Guard {
        let own = (KeyHash::of(&own), own);
        let own = (own.1, own.0);
        Guard { auth, is_metrics_open, own, store, clock, ring: RwLock::default() }
    }

    /// Returns the key by which the process sends events to itself.
    pub fn own_key(&self) -> &str {
        &self.own.0
    }

    /// Returns whether keys are not asked for, whatever there is.
    pub(crate) fn is_off(&self) -> bool {
        matches!(self.auth, Auth::Off)
    }

    /// Returns whether there is a key that was not made here but given by the configuration.
    pub(crate) fn has_given_key(&self) -> bool {
        matches!(self.auth, Auth::Keys { given: Some(_) })
    }

    /// Returns whether anybody is let in: keys are off, or there is none yet. The keys must have been read.
    pub fn is_open(&self) -> bool {
        let Auth::Keys { given: None } = &self.auth else { return self.is_off() };
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.as_ref().is_some_and(|ring| ring.keys.is_empty())
    }

    /// Reads the keys from the store.
    ///
    /// # Errors
    /// Those of the store; the keys stay as they were.
    pub async fn refresh(&self) -> Result<(), PortError> {
        let as_of = Instant::now();
        let keys = self.store.keys().await?;
        let keys = keys.into_iter().map(|key| (key.id.clone(), Arc::new(key))).collect();
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Ring { keys, as_of }));
        Ok(())
    }

    /// Reads the keys again and again until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if self.is_off() {
            return;
        }
        let mut is_well = true;
        while stop.run_until_cancelled(tokio::time::sleep(REFRESH)).await.is_some() {
            let read = self.refresh().await;
            if let Err(error) = &read
                && is_well
            {
                tracing::warn!("reading the keys: {error}; those that are known go on for an hour");
            }
            if read.is_ok() && !is_well {
                tracing::info!("reading the keys: succeeds again");
            }
            is_well = read.is_ok();
        }
    }

    fn ring(&self) -> Option<Arc<Ring>> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the keys, if they are not too old to be believed.
    fn believed(&self) -> Result<Arc<Ring>, ApiError> {
        self.ring().filter(|ring| ring.as_of.elapsed() <= BELIEVED).ok_or(ApiError::KeysUnavailable)
    }

    /// Returns the caller of a key's text, if it is a key that works.
    fn caller_of(&self, text: &str) -> Result<Caller, ApiError> {
        let hash = KeyHash::of(text);
        if let Auth::Keys { given: Some(given) } = &self.auth
            && *given == hash
        {
            return Ok(Caller::with(Scopes::ALL));
        }
        if self.own.1 == hash {
            return Ok(Caller::with(Scopes::NONE.with(Scope::Ingest)));
        }
        let id = key::id_in(text).ok_or(ApiError::KeyUnknown)?;
        let ring = self.believed()?;
        let now = self.clock.now();
        // Hashes are compared, so that the time it takes tells nothing of any key's text.
        let found = ring.keys.get(id).filter(|key| key.hash == hash && key.works_at(now));
        let key = found.cloned().ok_or(ApiError::KeyUnknown)?;
        Ok(Caller { scopes: key.scopes, key: Some(key) })
    }

    /// Returns who asks; nobody in particular where no key is asked for.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        if self.is_open() {
            return Ok(Caller::with(Scopes::ALL));
        }
        match credentials::of(headers) {
            Some((text, _)) => self.caller_of(&text),
            None if self.has_given_key() => Err(ApiError::KeyMissing),
            None => self.believed().and(Err(ApiError::KeyMissing)),
        }
    }

    /// Returns the caller of a key that was sent in a body.
    pub(crate) fn caller_by_text(&self, text: &str) -> Result<Caller, ApiError> {
        if self.is_open() { Ok(Caller::with(Scopes::ALL)) } else { self.caller_of(text) }
    }

    /// Decides about a request.
    fn admit(&self, access: Access, method: &Method, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let Some(scope) = access.scope() else {
            return Ok(self.caller(headers).unwrap_or(Caller::with(Scopes::NONE)));
        };
        let caller = self.caller(headers)?;
        if !caller.scopes.allow(scope) {
            return Err(ApiError::ScopeMissing(scope));
        }
        if let Some(key) = &caller.key
            && !key.origins.is_empty()
            && cors::Origins::new(key.origins.clone()).allowed(headers).is_none()
        {
            return Err(ApiError::OriginRefused);
        }
        let is_change = !matches!(*method, Method::GET | Method::HEAD) && access != Access::Ingest;
        let is_refused = match credentials::of(headers) {
            _ if !is_change => false,
            // A browser sends it along with whatever page makes it send something.
            Some((_, Place::Cookie)) => !is_from_here(headers),
            Some((_, Place::Header)) if !self.is_open() => false,
            _ => is_from_elsewhere(headers),
        };
        if is_refused { Err(ApiError::OriginRefused) } else { Ok(caller) }
    }

    fn still_works(&self, key: &StoredKey) -> bool {
        let now = self.clock.now();
        self.ring().is_some_and(|ring| ring.keys.get(&key.id).is_some_and(|key| key.works_at(now)))
    }

    /// Returns whether the pages of an origin may post events by some key.
    pub(crate) fn has_key_for(&self, headers: &HeaderMap) -> bool {
        let now = self.clock.now();
        let allow = |key: &Arc<StoredKey>| allows_origin(key, headers, now);
        !self.is_off() && self.ring().is_some_and(|ring| ring.keys.values().any(allow))
    }

    /// Returns what is in the store, the oldest first, and asks it for that.
    pub(crate) async fn keys(&self) -> Result<Vec<StoredKey>, PortError> {
        self.store.keys().await
    }

    /// Returns the store.
    pub(crate) fn store(&self) -> &dyn KeyStore {
        &*self.store
    }
}

fn allows_origin(key: &StoredKey, headers: &HeaderMap, now: Timestamp) -> bool {
    key.works_at(now) && cors::Origins::new(key.origins.clone()).allowed(headers).is_some()
}

/// Ends an answer that goes on for long soon after its key has ended.
fn while_it_works(guard: Arc<Guard>, key: Arc<StoredKey>, answer: Response) -> Response {
    let ended = async move {
        while guard.still_works(&key) {
            tokio::time::sleep(REFRESH).await;
        }
    };
    answer.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(ended))))
}

/// What a listening address checks its requests by.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) app: Arc<App>,
    pub(crate) bare_metrics: BareMetrics,
}

/// Checks a request before its route sees it; the caller is put beside it.
pub(crate) async fn check(State(post): State<Post>, mut request: Request, next: Next) -> Response {
    let app = &post.app;
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let is_door = || app.doors.iter().any(|door| door.paths.iter().any(|known| known == path));
    let (mut access, role) = access::of(request.method(), path, is_door());
    if access == Access::Metrics && app.guard.is_metrics_open {
        // Rows are answers, whoever may have the process's own numbers.
        let is_rows =
            path == "/metrics" && (post.bare_metrics == BareMetrics::Rows || request.uri().query().is_some());
        access = if is_rows { Access::Query } else { Access::Open };
    }
    // Whose question is for another process need not show a key here.
    let admitted = match role.missing_in(app.roles) {
        Some(missing) => Err(ApiError::RoleMissing(missing, app.roles)),
        None => app.guard.admit(access, request.method(), request.headers()),
    };
    let answer = match admitted {
        Ok(caller) => {
            let by_key = caller.key.clone();
            request.extensions_mut().insert(caller);
            let span = if access.is_traced() { RequestSpan::begin(&app.tracer, &request) } else { None };
            let serving = in_turn(app, access, request, next);
            let answer = match span {
                Some(span) => span.around(serving).await,
                None => serving.await,
            };
            match by_key {
                Some(key) if server::goes_on(&answer) => while_it_works(app.guard.clone(), key, answer),
                _ => answer,
            }
        }
        Err(error) => {
            let origin = if access == Access::Ingest { app.post_origin(request.headers()) } else { None };
            cors::mark(error.into_response(), origin)
        }
    };
    match answer.extensions().get::<Problem>().and_then(|problem| problem.hurdle) {
        None => {}
        Some(Hurdle::Bar(bar)) => app.metrics.barred.add(bar, 1),
        Some(Hurdle::Limit(limit)) => app.metrics.limited.add(limit, 1),
    }
    answer
}

/// Serves a request, when it is its turn.
async fn in_turn(app: &App, access: Access, request: Request, next: Next) -> Response {
    let turn = if access == Access::Ask { app.questions.take().await.map(Some) } else { Ok(None) };
    match turn {
        Ok(_turn) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}
