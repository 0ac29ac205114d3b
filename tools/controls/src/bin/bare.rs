//! `bare`: answers 202 to every POST without looking at it. What the sockets and the HTTP library cost.

use axum::Router;
use axum::body::Bytes;
use axum::response::Response;
use axum::routing::post;
use clap::Parser;
use controls::serve;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers 202 to every POST /events without looking at it.
#[derive(Parser)]
struct Arguments {
    /// The port on 127.0.0.1; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    serve::serve("bare", arguments.port, Router::new().route("/events", post(take)))
}

async fn take(_body: Bytes) -> Response {
    serve::answer(true)
}
