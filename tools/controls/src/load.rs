//! The load generator's parts: one request that is changed in place for every send, one connection in a closed loop
//! (the next request leaves when the last answer is there), and what they measured.
//! A closed loop hides stalls from its percentiles: use it to compare, not to promise latencies.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::event::{self, ID_BYTES, Places, Random, TIMESTAMP_BYTES};

/// What to send, and for how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The path that takes events.
    pub path: String,
    /// Events of one request; more than one are NDJSON.
    pub batch: usize,
    /// When to stop.
    pub end: Instant,
    /// The wall clock at `start`, in milliseconds since 1970: events are dated from it.
    pub start_ms: i64,
    /// When the load began.
    pub start: Instant,
}

/// What one connection, or all of them, saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Time of every request in microseconds.
    pub latencies_us: Vec<u32>,
    /// Requests that were not answered with 202 or of which an event was rejected.
    pub bad: u64,
}

/// The figures of a run, as they are printed.
#[derive(Debug, Serialize)]
pub struct Report {
    connections: usize,
    batch: usize,
    seconds: f64,
    requests: u64,
    bad: u64,
    requests_per_s: u64,
    events_per_s: u64,
    p50_us: u32,
    p99_us: u32,
    p999_us: u32,
}

impl Report {
    /// Adds up what the connections saw; bad requests are no work done.
    pub fn new(connections: usize, batch: usize, elapsed: Duration, mut seen: Seen) -> Report {
        let seconds = elapsed.as_secs_f64();
        let requests = seen.latencies_us.len() as u64;
        let good_per_s = (requests - seen.bad) as f64 / seconds;
        seen.latencies_us.sort_unstable();
        let percentile = |share: f64| percentile(&seen.latencies_us, share);
        Report {
            connections,
            batch,
            seconds,
            requests,
            bad: seen.bad,
            requests_per_s: good_per_s as u64,
            events_per_s: (good_per_s * batch as f64) as u64,
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
            p999_us: percentile(0.999),
        }
    }
}

/// Returns the value below which `share` of the sorted values lie; 0 when there are none.
fn percentile(sorted: &[u32], share: f64) -> u32 {
    let rank = (sorted.len() as f64 * share) as usize;
    sorted.get(rank).or(sorted.last()).copied().unwrap_or(0)
}

/// Sends requests over one connection until the end.
///
/// # Errors
/// When the server cannot be reached, hangs up, or answers what is not HTTP with a length.
pub async fn connection(load: Load, seed: u64) -> anyhow::Result<Seen> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, load.port)).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let mut request = Request::new(&load, seed);
    let mut answer = Answer::default();
    let mut seen = Seen { latencies_us: Vec::with_capacity(1 << 16), bad: 0 };
    loop {
        let now = Instant::now();
        if now >= load.end {
            return Ok(seen);
        }
        request.renew(load.start_ms + (now - load.start).as_millis() as i64);
        let sent_at = Instant::now();
        stream.write_all(&request.bytes).await.context("sending a request")?;
        let accepted = answer.read(&mut stream).await?;
        seen.latencies_us.push(u32::try_from(sent_at.elapsed().as_micros()).unwrap_or(u32::MAX));
        seen.bad += u64::from(!accepted);
    }
}

/// One request; ids and timestamps are overwritten for each send, so that making events costs next to nothing.
struct Request {
    bytes: Vec<u8>,
    places: Vec<Places>,
    random: Random,
}

impl Request {
    fn new(load: &Load, seed: u64) -> Request {
        let (mut random, postcodes) = (Random(seed), event::postcodes());
        let (mut body, mut places) = (Vec::new(), Vec::new());
        for index in 0..load.batch {
            if index > 0 {
                body.push(b'\n');
            }
            places.push(event::write(&mut body, &mut random, &postcodes, load.start_ms));
        }
        let content_type = if load.batch == 1 { "application/json" } else { "application/x-ndjson" };
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            load.path,
            load.port,
            body.len()
        );
        for place in &mut places {
            place.id += head.len();
            place.timestamp += head.len();
        }
        let bytes = [head.into_bytes(), body].concat();
        Request { bytes, places, random }
    }

    fn renew(&mut self, timestamp_ms: i64) {
        let timestamp = timestamp_ms.to_string();
        for place in &self.places {
            self.random.write_id(&mut self.bytes[place.id..place.id + ID_BYTES]);
            self.bytes[place.timestamp..place.timestamp + TIMESTAMP_BYTES]
                .copy_from_slice(timestamp.as_bytes());
        }
    }
}

/// The bytes of one answer.
#[derive(Debug, Default)]
struct Answer {
    bytes: Vec<u8>,
}

impl Answer {
    /// Reads one answer; returns whether every event was accepted.
    async fn read(&mut self, stream: &mut TcpStream) -> anyhow::Result<bool> {
        self.bytes.clear();
        loop {
            let length = stream.read_buf(&mut self.bytes).await.context("reading an answer")?;
            ensure!(length > 0, "the server hung up");
            if let Some(accepted) = judge(&self.bytes)? {
                return Ok(accepted);
            }
        }
    }
}

/// Returns whether an answer accepts every event; `None` while it is not complete.
fn judge(answer: &[u8]) -> anyhow::Result<Option<bool>> {
    let Some(head_length) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..head_length]).context("reading an answer's head")?;
    let mut lengths = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let body_length =
        lengths.next().context("the answer has no content-length")?.context("reading content-length")?;
    let body = &answer[head_length + 4..];
    if body.len() < body_length {
        return Ok(None);
    }
    let has_rejected = match memchr::memmem::find(body, br#""rejected":"#) {
        None => false,
        Some(at) => !body[at + br#""rejected":"#.len()..].trim_ascii_start().starts_with(b"0"),
    };
    Ok(Some(answer.starts_with(b"HTTP/1.1 202 ") && !has_rejected))
}

#[cfg(test)]
mod tests;
