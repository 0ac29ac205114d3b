//! Health and meters as Spring Boot's Actuator words them, for probes and monitors that read those.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::App;
use crate::answer;
use crate::error::ApiError;
use crate::health::standing;
use crate::params::{Named, Params};

use super::pageviews::{self, Meter};

/// `GET /actuator/health`: all parts; 503 when one that this process needs does not answer.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    let standing = standing(&app, app.roles).await;
    let stopped = (!standing.partitions.is_empty()).then(|| standing.partitions.join("; "));
    let components = json!({
        "db": component(standing.store.as_deref(), &json!({"store": app.backends.1})),
        "kafka": component(standing.log.as_deref(), &json!({"log": app.backends.0})),
        "kafkaStreams": component(stopped.as_deref(), &json!({"roles": app.roles.names()})),
        "livenessState": {"status": "UP"},
        "readinessState": {"status": if standing.is_stopping { "OUT_OF_SERVICE" } else { "UP" }},
        "s3": archive(&app),
    });
    let is_down = standing.store.is_some() || standing.log.is_some() || stopped.is_some();
    let status = match (is_down, standing.is_stopping) {
        (true, _) => "DOWN",
        (false, true) => "OUT_OF_SERVICE",
        (false, false) => "UP",
    };
    said(status, json!({"status": status, "components": components, "groups": ["liveness", "readiness"]}))
}

/// Files that can not be written stop nothing else: the process is as healthy as before.
fn archive(app: &App) -> Value {
    if app.archive.is_off() {
        return json!({"status": "UNKNOWN", "details": {"archive": "off"}});
    }
    let raw = app.archive.streams.iter().map(|(_, place)| place.as_str());
    let others = app.archive.files.iter().map(|(_, _, place)| place.as_str());
    let places: BTreeSet<&str> = raw.chain(others).collect();
    let faults = app.archive.metrics.faults();
    let fault = (!faults.is_empty()).then(|| faults.join("; "));
    component(fault.as_deref(), &json!({"archive": places}))
}

fn component(fault: Option<&str>, details: &Value) -> Value {
    let mut details = details.clone();
    let status = if fault.is_some() { "DOWN" } else { "UP" };
    if let Some(fault) = fault {
        details["error"] = fault.into();
    }
    json!({"status": status, "details": details})
}

fn said(status: &str, body: Value) -> Response {
    let code = if status == "UP" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// `GET /actuator/health/liveness`: asks nobody.
pub(crate) async fn liveness() -> Response {
    said("UP", json!({"status": "UP"}))
}

/// `GET /actuator/health/readiness`: whether this process would do what it is there for now.
pub(crate) async fn readiness(State(app): State<Arc<App>>) -> Response {
    let standing = standing(&app, app.roles).await;
    let is_stopping = standing.is_stopping;
    let faults = standing.faults();
    match (is_stopping, faults.is_empty()) {
        (true, _) => said("OUT_OF_SERVICE", json!({"status": "OUT_OF_SERVICE"})),
        (false, true) => said("UP", json!({"status": "UP"})),
        (false, false) => said("DOWN", json!({"status": "DOWN", "details": {"error": faults.join("; ")}})),
    }
}

/// `GET /actuator/metrics`: which meters there are.
pub(crate) async fn meters(State(app): State<Arc<App>>) -> Response {
    let names: Vec<&str> = pageviews::meters(&app).iter().map(|meter| meter.name).collect();
    answer::json(json!({"names": names}).to_string())
}

/// `GET /actuator/metrics/{name}[?tag=endpoint:single]`.
pub(crate) async fn meter(
    State(app): State<Arc<App>>,
    Named(name): Named,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref().unwrap_or_default());
    params.only(&["tag"])?;
    let meters = pageviews::meters(&app);
    let found = meters.iter().find(|meter| meter.name == name);
    let meter = found.ok_or_else(|| {
        let names: Vec<&str> = meters.iter().map(|meter| meter.name).collect();
        ApiError::NotFound(format!("there is no meter {name}; there are {}", names.join(", ")))
    })?;
    let values: Vec<u64> = match params.get("tag") {
        None => meter.values.iter().map(|(_, value)| *value).collect(),
        Some(tag) => vec![tagged(meter, tag)?],
    };
    let tags: Vec<&str> = meter.values.iter().map(|(value, _)| *value).collect();
    let available =
        if params.get("tag").is_some() { json!([]) } else { json!([{"tag": meter.tag, "values": tags}]) };
    let body = json!({
        "name": meter.name,
        "description": meter.description,
        "measurements": [{"statistic": "COUNT", "value": values.iter().sum::<u64>()}],
        "availableTags": available,
    });
    Ok(answer::json(body.to_string()))
}

fn tagged(meter: &Meter, tag: &str) -> Result<u64, ApiError> {
    let value = tag.split_once(':').filter(|(name, _)| *name == meter.tag);
    let found = value.and_then(|(_, value)| meter.values.iter().find(|(known, _)| *known == value));
    found.map(|(_, count)| *count).ok_or_else(|| {
        let known: Vec<String> =
            meter.values.iter().map(|(value, _)| format!("{}:{value}", meter.tag)).collect();
        ApiError::NotFound(format!("{} has no tag {tag}; there are {}", meter.name, known.join(", ")))
    })
}
