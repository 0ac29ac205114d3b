//! The switch of the demo producer, which is the binary's: it runs where nobody else could be disturbed by made-up
//! events.

use std::sync::Arc;

use axum::extract::State;
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
pub(crate) async fn start(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    turn(app, true).await
}

/// `POST /v1/demo/stop`.
pub(crate) async fn stop(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    turn(app, false).await
}

async fn turn(app: Arc<App>, on: bool) -> Result<Response, ApiError> {
    let Some(switch) = &app.demo else {
        return Err(ApiError::NotFound(
            "there is no demo producer: it takes --demo, or a server that takes events and listens on loopback alone"
                .to_owned(),
        ));
    };
    switch.send_replace(on);
    Ok(show(State(app)).await)
}
