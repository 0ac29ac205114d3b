//! The switch of the demo producer, which is the binary's: it runs where nobody else could be disturbed by made-up
//! events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use serde_json::json;

use crate::App;
use crate::answer;
use crate::error::ApiError;

/// `GET /v1/demo`: whether there is a demo producer, and whether it runs.
pub(crate) async fn show(State(app): State<Arc<App>>) -> Response {
    let is_running = app.demo.as_ref().map(|switch| *switch.borrow());
    let state = json!({"available": is_running.is_some(), "running": is_running.unwrap_or(false)});
    answer::json(state.to_string())
}

/// `POST /v1/demo/start`.
pub(crate) async fn start(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    turn(app, &headers, true).await
}

/// `POST /v1/demo/stop`.
pub(crate) async fn stop(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    turn(app, &headers, false).await
}

/// Returns whether a page of another origin asks. Browsers send such a request without asking first.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return false };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_none() || host != text(header::HOST)
}

async fn turn(app: Arc<App>, headers: &HeaderMap, on: bool) -> Result<Response, ApiError> {
    if is_from_elsewhere(headers) {
        return Err(ApiError::NotFound("the demo is not switched from pages of another origin".to_owned()));
    }
    let Some(switch) = &app.demo else {
        return Err(ApiError::NotFound(
            "there is no demo producer: it takes --demo, or a server that takes events and listens on loopback alone"
                .to_owned(),
        ));
    };
    switch.send_replace(on);
    Ok(show(State(app)).await)
}
