//! `parse-once`: all of the work in its shortest form. Each event is read once; the body is durable before the answer;
//! what was read goes on in memory to a fold that judges duplicates, counts two rollups and writes them to SQLite.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::post};
use clap::Parser;
use controls::fold::{self, Fold, Message, SharedDimensions};
use controls::log::{Log, Segments};
use controls::{event, serve};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers 202 to POST /events once the body is on disk, and counts its events behind that.
#[derive(Parser)]
struct Arguments {
    /// The port on 127.0.0.1; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// An existing empty folder for the segments and the database.
    #[arg(long)]
    data_dir: PathBuf,
    /// What the segments' blocks are before they are written.
    #[arg(long, value_enum, default_value = "fresh")]
    segments: Segments,
}

struct Shared {
    log: Arc<Log>,
    dimensions: SharedDimensions,
    fold: SyncSender<Message>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let dimensions = SharedDimensions::default();
    let mut counting = Fold::open(&arguments.data_dir.join("counts.db"), fold::IDS_MIN, dimensions.clone())?;
    let (to_fold, messages) = sync_channel(fold::MESSAGES_MAX);
    std::thread::Builder::new().name("fold".into()).spawn(move || {
        // A control that cannot write has nothing left to measure.
        counting.run(&messages).expect("the database takes what the control writes");
    })?;
    let log = Log::start(&arguments.data_dir, arguments.segments, Some(to_fold.clone()))
        .context("starting the log")?;
    let shared = Arc::new(Shared { log, dimensions, fold: to_fold });
    let routes =
        Router::new().route("/events", post(take)).route("/v1/flush", post(flush)).with_state(shared);
    serve::serve("parse-once", arguments.port, routes)
}

async fn take(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    // The events borrow from the body and are gone before the wait for the disk.
    let records = event::read_all(&body).map(|events| fold::records(&events, &shared.dimensions));
    match records {
        None => serve::answer(false),
        Some(records) => serve::answer(shared.log.append(&body, &records).await),
    }
}

/// Answers with what was counted once everything that has reached the fold is in the database.
async fn flush(State(shared): State<Arc<Shared>>) -> Response {
    let (answer, totals) = oneshot::channel();
    let fold = shared.fold.clone();
    // The channel may be full: waiting for room belongs on a thread that may block.
    let sent = tokio::task::spawn_blocking(move || fold.send(Message::Flush(answer))).await;
    if !matches!(sent, Ok(Ok(()))) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match totals.await {
        Ok(totals) => serde_json::to_string(&totals).unwrap_or_default().into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
