//! `durable`: reads every event, appends the body, answers when it is synced. What a promise to keep costs;
//! nothing is counted.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use clap::Parser;
use controls::log::{Log, Segments};
use controls::{event, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers 202 to POST /events once the body is on disk.
#[derive(Parser)]
struct Arguments {
    /// The port on 127.0.0.1; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// An existing folder for the segments.
    #[arg(long)]
    data_dir: PathBuf,
    /// What the segments' blocks are before they are written.
    #[arg(long, value_enum, default_value = "fresh")]
    segments: Segments,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let log = Log::start(&arguments.data_dir, arguments.segments, None).context("starting the log")?;
    serve::serve("durable", arguments.port, Router::new().route("/events", post(take)).with_state(log))
}

async fn take(State(log): State<Arc<Log>>, body: Bytes) -> Response {
    let are_events = event::read_all(&body).is_some();
    serve::answer(are_events && log.append(&body, &[]).await)
}
