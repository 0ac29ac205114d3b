//! Bodies at their limits, packed and plain.

use super::*;
use axum::body::Body as RequestBody;
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("writing to memory")
}

/// Bytes that pack about three to one, so that only the absolute limits are met.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"0123456789abcdef"[(state >> 60) as usize]
    };
    (0..count).map(|_| next()).collect()
}

async fn read_with(coding: &str, bytes: Vec<u8>, budget_bytes: usize) -> (Result<usize, String>, usize) {
    let budget = Arc::new(Semaphore::new(budget_bytes));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, coding.parse().expect("a header"));
    let read = read(&headers, RequestBody::from(bytes), &budget).await;
    let result = match &read {
        Ok(body) => Ok(body.bytes.len()),
        Err(error) => Err(format!("{error:?}").split('(').next().unwrap_or_default().to_owned()),
    };
    drop(read);
    (result, budget.available_permits())
}

const AMPLE: usize = 64 << 20;

#[tokio::test]
async fn holds_the_bytes_on_the_wire_and_unpacked() {
    let too_large = || Err("BodyTooLarge".to_owned());
    for (coding, bytes, expect) in [
        ("identity", noise(WIRE_BYTES_MAX - 1), Ok(WIRE_BYTES_MAX - 1)),
        ("identity", noise(WIRE_BYTES_MAX), Ok(WIRE_BYTES_MAX)),
        ("identity", noise(WIRE_BYTES_MAX + 1), too_large()),
        ("gzip", gzip(&noise(10_000)), Ok(10_000)),
        ("x-gzip", gzip(&noise(10)), Ok(10)),
        ("zstd", zstd(&noise(10_000)), Ok(10_000)),
        ("zstd", zstd(&noise(UNPACKED_BYTES_MAX)), too_large()),
    ] {
        // Noise packs to about half, so the last one is refused for its bytes on the wire.
        let (result, left) = read_with(coding, bytes, AMPLE).await;
        assert_eq!((result, left), (expect, AMPLE), "{coding}: every share of the budget is given back");
    }
    let mut sparse = noise(UNPACKED_BYTES_MAX / 40);
    sparse.resize(UNPACKED_BYTES_MAX, b' ');
    assert_eq!(read_with("gzip", gzip(&sparse), AMPLE).await.0, Ok(UNPACKED_BYTES_MAX));
    sparse.push(b' ');
    assert_eq!(read_with("gzip", gzip(&sparse), AMPLE).await.0, too_large());
}

#[tokio::test]
async fn refuses_bombs_and_broken_streams() {
    let refused = || Err("BadEncoding".to_owned());
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 70_000);
    let twice = gzip(&bomb);
    let mut cut = gzip(&noise(1_000));
    cut.truncate(300);
    for (coding, bytes) in [
        ("gzip", bomb),
        ("zstd", zstd(&vec![b' '; 64 << 20])),
        ("gzip", cut),
        ("gzip", b"no gzip at all".to_vec()),
        ("zstd", b"no zstd at all".to_vec()),
    ] {
        assert_eq!(read_with(coding, bytes, AMPLE).await, (refused(), AMPLE), "{coding}");
    }
    assert!(read_with("gzip", twice, AMPLE).await.0.is_ok(), "one layer only is unpacked");
    for coding in ["br", "gzip, gzip", "deflate"] {
        assert_eq!(
            read_with(coding, Vec::new(), AMPLE).await.0,
            Err("UnsupportedEncoding".to_owned()),
            "{coding}"
        );
    }
}

#[tokio::test]
async fn a_budget_that_is_used_up_refuses() {
    for (coding, bytes) in [("identity", noise(2_000)), ("gzip", gzip(&noise(2_000)))] {
        let wire = bytes.len();
        let needed = if coding == "gzip" { wire + 2_000 } else { wire };
        assert_eq!(read_with(coding, bytes.clone(), needed).await, (Ok(2_000), needed));
        assert_eq!(read_with(coding, bytes, needed - 1).await, (Err("OverBudget".to_owned()), needed - 1));
    }
}
