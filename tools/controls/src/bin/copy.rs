//! `copy`: writes made-up raw rows into Postgres by COPY, in transactions of 50,000, and does nothing else: what storing
//! raw events costs at least. Makes a table of its own, counts its rows and drops it. Prints one line of JSON.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Parser;
use controls::event::Random;
use controls::{rows, usage};
use futures_util::SinkExt;
use serde::Serialize;
use tokio_postgres::{Client, NoTls};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of one transaction.
const ROWS_PER_TRANSACTION: i64 = 50_000;
/// Bytes that are sent at once: the server works on them while the next are made.
const CHUNK_BYTES: usize = 256 << 10;

/// Writes made-up raw rows into a table of its own.
#[derive(Parser)]
struct Arguments {
    /// The database, as postgres://user@host:port/name.
    #[arg(long)]
    postgres: String,
    /// How many rows.
    #[arg(long, default_value_t = 1_000_000)]
    rows: i64,
}

/// The figures of a run, as they are printed.
#[derive(Serialize)]
struct Report {
    rows: i64,
    bytes: u64,
    seconds: f64,
    rows_per_s: u64,
    rows_per_cpu_s: u64,
    memory_mib: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(&arguments))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let connecting = tokio_postgres::connect(&arguments.postgres, NoTls).await;
    let (mut client, connection) = connecting.context("connecting to Postgres")?;
    // Its errors come back from the statements as well.
    tokio::spawn(connection);
    client.batch_execute(rows::TABLE).await.context("making the table")?;
    let now_us = wall_clock()?.as_micros() as i64;
    let mut random = Random(now_us as u64);
    let (start, cpu) = (Instant::now(), usage::cpu_time());
    let (mut written, mut bytes) = (0, 0);
    while written < arguments.rows {
        let end = (written + ROWS_PER_TRANSACTION).min(arguments.rows);
        bytes += copy(&mut client, &mut random, written..end, now_us).await?;
        written = end;
    }
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), usage::cpu_time() - cpu);
    let counted: i64 = client.query_one("select count(*) from controls_copy", &[]).await?.get(0);
    ensure!(counted == arguments.rows, "{counted} rows are there, {} were written", arguments.rows);
    client.batch_execute("drop table controls_copy").await.context("dropping the table")?;
    Ok(Report {
        rows: counted,
        bytes,
        seconds,
        rows_per_s: (counted as f64 / seconds) as u64,
        rows_per_cpu_s: (counted as f64 / cpu.as_secs_f64()) as u64,
        memory_mib: usage::memory_mib()?,
    })
}

/// Writes the rows of some positions in one transaction; returns how many bytes they took.
async fn copy(
    client: &mut Client,
    random: &mut Random,
    positions: std::ops::Range<i64>,
    now_us: i64,
) -> anyhow::Result<u64> {
    let transaction = client.transaction().await.context("beginning a transaction")?;
    let sink = transaction.copy_in(rows::COPY).await.context("beginning to copy")?;
    let mut sink = std::pin::pin!(sink);
    let mut bytes = 0;
    let mut buffer = Vec::with_capacity(2 * CHUNK_BYTES);
    buffer.extend_from_slice(rows::HEADER);
    for position in positions {
        rows::write(&mut buffer, random, position, now_us);
        if buffer.len() >= CHUNK_BYTES {
            bytes += buffer.len() as u64;
            let chunk = std::mem::replace(&mut buffer, Vec::with_capacity(2 * CHUNK_BYTES));
            sink.send(Bytes::from(chunk)).await.context("copying rows")?;
        }
    }
    buffer.extend_from_slice(rows::TRAILER);
    bytes += buffer.len() as u64;
    sink.send(Bytes::from(buffer)).await.context("copying rows")?;
    sink.finish().await.context("copying rows")?;
    transaction.commit().await.context("committing")?;
    Ok(bytes)
}

#[allow(
    clippy::disallowed_methods,
    reason = "the generator dates its rows by the wall clock; nothing is decided by it"
)]
fn wall_clock() -> anyhow::Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")
}
