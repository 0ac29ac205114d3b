//! Reads a body within its limits: bytes on the wire, bytes unpacked, their ratio, time, and a budget over all requests
//! at once. The limits stand inside the decompressor, so that a bomb is refused before it unfolds.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Bytes of a body as it comes over the network.
pub(crate) const WIRE_BYTES_MAX: usize = 4 << 20;
/// Bytes of a body after unpacking.
pub(crate) const UNPACKED_BYTES_MAX: usize = 8 << 20;
/// How many times larger than on the wire a body may be: JSON rarely packs better than 30 to 1.
const RATIO_MAX: usize = 100;
/// A body of equal events packs better than the ratio allows; so many bytes are always fine, and cost little.
const RATIO_FREE_BYTES: usize = 1 << 20;
/// Time for the next piece of a body.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a whole body: the largest takes 2.2 Mbit/s, and who sends byte by byte is gone soon.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Memory taken on a sender's word alone, before any of the body is there.
const PREALLOCATED_BYTES_MAX: usize = 256 << 10;
/// Bytes unpacked between two looks at the limits.
const UNPACK_STEP: usize = 64 << 10;

/// A body with its share of the budget, which is given back when this is dropped.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) wire_bytes: usize,
    _share: Vec<OwnedSemaphorePermit>,
}

/// Reads and unpacks a request's body.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: axum::body::Body,
    budget: &Arc<Semaphore>,
) -> Result<Body, ApiError> {
    let coding = Coding::of(headers)?;
    let mut share = Vec::new();
    let read = read_wire(body, budget, &mut share);
    let wire = tokio::time::timeout(BODY_TIMEOUT, read).await.map_err(|_| ApiError::SlowBody)??;
    let wire_bytes = wire.len();
    let bytes = match coding {
        Coding::Identity => wire,
        Coding::Gzip | Coding::Zstd => {
            let budget = budget.clone();
            // Unpacking takes milliseconds: not on a thread that serves others.
            let unpacked = tokio::task::spawn_blocking(move || unpack(&wire, coding, &budget)).await;
            let (bytes, more) =
                unpacked.map_err(|_| ApiError::Internal("unpacking a body failed".to_owned()))??;
            share.extend(more);
            bytes
        }
    };
    Ok(Body { bytes, wire_bytes, _share: share })
}

/// Copies the pieces into one buffer of the body's own: a piece shares the connection's read buffer, which is many times
/// larger than a small body and would stay in memory as long as the events wait to be folded.
async fn read_wire(
    mut body: axum::body::Body,
    budget: &Arc<Semaphore>,
    share: &mut Vec<OwnedSemaphorePermit>,
) -> Result<Bytes, ApiError> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // Who says beforehand that it is too much need not send it.
    if expected > WIRE_BYTES_MAX {
        return Err(ApiError::BodyTooLarge(WIRE_BYTES_MAX));
    }
    let mut bytes = Vec::with_capacity(expected.min(PREALLOCATED_BYTES_MAX));
    let bytes_max = if expected == 0 { WIRE_BYTES_MAX } else { expected };
    loop {
        let frame =
            tokio::time::timeout(PIECE_TIMEOUT, body.frame()).await.map_err(|_| ApiError::SlowBody)?;
        let Some(frame) = frame else { return Ok(fitted(bytes)) };
        let frame = frame.map_err(|error| ApiError::InvalidBody(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > WIRE_BYTES_MAX {
            return Err(ApiError::BodyTooLarge(WIRE_BYTES_MAX));
        }
        share.push(take_share(budget, data.len())?);
        push(&mut bytes, &data, bytes_max);
    }
}

/// Appends a piece. Room is doubled, but not beyond what the body can have: it is not in the budget.
fn push(bytes: &mut Vec<u8>, piece: &[u8], bytes_max: usize) {
    let total = bytes.len() + piece.len();
    if total > bytes.capacity() {
        let room = (2 * total).min(bytes_max).max(total);
        bytes.reserve_exact(room - bytes.len());
    }
    bytes.extend_from_slice(piece);
}

/// Returns the bytes without the room behind them.
fn fitted(mut bytes: Vec<u8>) -> Bytes {
    bytes.shrink_to_fit();
    Bytes::from(bytes)
}

fn take_share(budget: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let permits = u32::try_from(bytes).map_err(|_| ApiError::OverBudget)?;
    budget.clone().try_acquire_many_owned(permits).map_err(|_| ApiError::OverBudget)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Result<Coding, ApiError> {
        let Some(coding) = headers.get(header::CONTENT_ENCODING) else { return Ok(Coding::Identity) };
        match coding.to_str().map(|name| name.trim().to_ascii_lowercase()).as_deref() {
            Ok("" | "identity") => Ok(Coding::Identity),
            Ok("gzip" | "x-gzip") => Ok(Coding::Gzip),
            Ok("zstd") => Ok(Coding::Zstd),
            _ => Err(ApiError::UnsupportedEncoding("content-encoding is gzip, zstd or nothing".to_owned())),
        }
    }
}

fn unpack(
    wire: &[u8],
    coding: Coding,
    budget: &Arc<Semaphore>,
) -> Result<(Bytes, Vec<OwnedSemaphorePermit>), ApiError> {
    let broken =
        |error: std::io::Error| ApiError::BadEncoding(format!("the body cannot be unpacked: {error}"));
    match coding {
        Coding::Gzip => {
            let decoder = flate2::bufread::MultiGzDecoder::new(wire);
            unpack_from(decoder, |decoder| wire.len() - decoder.get_ref().len(), budget)
        }
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(wire).map_err(broken)?;
            // A window beyond the body's own limit would only serve to fill memory: 2^24 bytes are the limit.
            decoder.window_log_max(24).map_err(broken)?;
            unpack_from(decoder, |decoder| wire.len() - decoder.get_ref().len(), budget)
        }
        Coding::Identity => Ok((Bytes::copy_from_slice(wire), Vec::new())),
    }
}

/// Unpacks step by step; `consumed` says how many bytes the decoder has read. The ratio is that of what was read so far,
/// so that a bomb is refused at its beginning and not where it has filled the limit.
fn unpack_from<D: Read>(
    mut decoder: D,
    consumed: impl Fn(&D) -> usize,
    budget: &Arc<Semaphore>,
) -> Result<(Bytes, Vec<OwnedSemaphorePermit>), ApiError> {
    let mut unpacked = Vec::new();
    let mut share = Vec::new();
    let mut step = vec![0; UNPACK_STEP];
    loop {
        let count = decoder
            .read(&mut step)
            .map_err(|error| ApiError::BadEncoding(format!("the body cannot be unpacked: {error}")))?;
        if count == 0 {
            return Ok((fitted(unpacked), share));
        }
        let total = unpacked.len() + count;
        if total > UNPACKED_BYTES_MAX {
            return Err(ApiError::BodyTooLarge(UNPACKED_BYTES_MAX));
        }
        if total > RATIO_FREE_BYTES.max(consumed(&decoder) * RATIO_MAX) {
            return Err(ApiError::BadEncoding(format!(
                "the body unpacks to more than {RATIO_MAX} times its size"
            )));
        }
        share.push(take_share(budget, count)?);
        push(&mut unpacked, &step[..count], UNPACKED_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests;
