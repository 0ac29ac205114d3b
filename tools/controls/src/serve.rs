//! The HTTP server that the controls share: loopback, no time-outs, no keys, bodies up to 64 MiB.

use std::net::Ipv4Addr;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;

/// Bytes of a body, so that a mistaken load does not eat the machine.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Returns the answer to a body that was taken or refused.
pub fn answer(accepted: bool) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    if accepted {
        (StatusCode::ACCEPTED, json, r#"{"status":"accepted"}"#).into_response()
    } else {
        (StatusCode::BAD_REQUEST, json, r#"{"status":"refused"}"#).into_response()
    }
}

/// Serves until the process is ended. Port 0 picks a free one; the line on stdout names it.
///
/// # Errors
/// When the port is taken or the machine has no threads left.
pub fn serve(name: &str, port: u16, routes: Router) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting threads")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.with_context(|| format!("listening on port {port}"))?;
        println!("{name} ready on http://{}", listener.local_addr()?);
        let prompt = listener.tap_io(|stream| {
            // Only speed is lost when this fails.
            stream.set_nodelay(true).ok();
        });
        axum::serve(prompt, routes.layer(DefaultBodyLimit::max(BODY_BYTES_MAX))).await.context("serving")
    })
}
