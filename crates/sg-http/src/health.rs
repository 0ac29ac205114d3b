//! Health. `/livez` asks nobody; `/readyz` says whether events would be taken and answered now.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sg_core::ports::{Pending, StatusDetail, StoreStatus};

use crate::error::ApiError;
use crate::params::Params;
use crate::{App, Roles, headroom};

/// `GET /livez`.
pub(crate) async fn live() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{\"ok\":true}").into_response()
}

/// `GET /readyz[?role=R]`: 503 while stopping, and while what the role needs does not answer; without a role, what any
/// role of this process needs. Taking events needs the log, queries the store, and processing both, with no partition
/// standing still.
pub(crate) async fn ready(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::parse(uri.query().unwrap_or_default());
    params.only(&["role"])?;
    let roles = match params.get("role") {
        None => app.roles,
        Some("ingest") => Roles { ingest: app.roles.ingest, ..Roles::NONE },
        Some("process") => Roles { process: app.roles.process, ..Roles::NONE },
        Some("query") => Roles { query: app.roles.query, ..Roles::NONE },
        Some(other) => {
            return Err(ApiError::BadQuery(format!("role is ingest, process or query, not {other}")));
        }
    };
    let mut faults = faults(&app, roles).await;
    if roles == Roles::NONE {
        faults.push("this process does not have the role".to_owned());
    }
    Ok(answer(&app, roles, &faults).await)
}

/// `GET /healthz`: the same body as `/readyz`.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    let faults = faults(&app, app.roles).await;
    answer(&app, app.roles, &faults).await
}

/// What is wrong, part by part; nothing where there is nothing to say.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) is_stopping: bool,
    pub(crate) store: Option<String>,
    pub(crate) log: Option<String>,
    pub(crate) partitions: Vec<String>,
}

impl Standing {
    /// Returns everything that is wrong, one sentence each.
    pub(crate) fn faults(self) -> Vec<String> {
        let stopping = self.is_stopping.then(|| "the server is stopping".to_owned());
        stopping.into_iter().chain(self.store).chain(self.log).chain(self.partitions).collect()
    }
}

async fn faults(app: &App, roles: Roles) -> Vec<String> {
    standing(app, roles).await.faults()
}

/// Asks the parts that these roles need.
pub(crate) async fn standing(app: &App, roles: Roles) -> Standing {
    let store = match roles.process || roles.query {
        true => Some(app.store.status(StatusDetail::Marks).await),
        false => None,
    };
    let log = match roles.ingest || roles.process {
        true => Some(app.pipeline.pending().await),
        false => None,
    };
    judge(app, roles, store.as_ref(), log.as_ref())
}

/// Says what is wrong, by what the parts have answered; those that the roles do not need may be silent.
pub(crate) fn judge<E: Display>(
    app: &App,
    roles: Roles,
    store: Option<&Result<StoreStatus, E>>,
    log: Option<&Result<Vec<Pending>, E>>,
) -> Standing {
    let mut standing = Standing { is_stopping: app.draining.is_cancelled(), ..Standing::default() };
    if (roles.process || roles.query)
        && let Some(Err(error)) = store
    {
        standing.store = Some(format!("the store does not answer: {error}"));
    }
    match log.filter(|_| roles.ingest || roles.process) {
        None => {}
        Some(Err(error)) => standing.log = Some(format!("the log does not answer: {error}")),
        Some(Ok(pending)) => {
            if pending.iter().any(|pending| pending.extent.is_none()) {
                standing.log = Some("the log does not answer".to_owned());
            }
            let stopped = |pending: &Pending| {
                let why = pending.owned.as_ref()?.stopped.as_ref()?;
                Some(format!("partition {} of {} stands still: {why}", pending.partition, pending.stream))
            };
            standing.partitions = pending.iter().filter(|_| roles.process).filter_map(stopped).collect();
        }
    }
    standing
}

/// Warnings say what will be wrong if nobody acts; nothing is less ready for them. They take the store: who does not need
/// it is not held up by it.
async fn answer(app: &App, roles: Roles, faults: &[String]) -> Response {
    let is_asked = faults.is_empty() && (roles.process || roles.query);
    let warnings = if is_asked { headroom::warnings(app).await } else { Vec::new() };
    let (status, word) =
        if faults.is_empty() { (StatusCode::OK, "UP") } else { (StatusCode::SERVICE_UNAVAILABLE, "DOWN") };
    let mut body = format!("{{\"ok\":{},\"status\":\"{word}\"", faults.is_empty());
    if !faults.is_empty() {
        body += &format!(",\"error\":{}", Value::from(faults.join("; ")));
    }
    if !warnings.is_empty() {
        body += &format!(",\"warnings\":{}", Value::from(warnings));
    }
    body += &format!(
        ",\"version\":{},\"backends\":{},\"roles\":{}}}",
        json!(app.version),
        json!({"log": app.backends.0, "store": app.backends.1}),
        json!(app.roles.names())
    );
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
