//! Small bodies that unpack to large ones: refused before they unfold, and the server's memory does not grow with them.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::super::harness::Server;
use super::{Numbers, assert_well, kept, memory};

const MIB: usize = 1 << 20;
/// What each bomb would unpack to.
const BOMB_MIB: usize = 256;
/// What a bomb may cost the server at most.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory can be written")
}

/// A gzip file of one member: packed blanks, put together from equal pieces. Its checksum is never reached.
fn gzip_bomb() -> Vec<u8> {
    let blanks = vec![b' '; MIB];
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let write = |encoder: &mut DeflateEncoder<Vec<u8>>| {
        encoder.write_all(&blanks).and_then(|()| encoder.flush()).expect("memory can be written");
        encoder.get_ref().len()
    };
    let first = write(&mut encoder);
    let second = write(&mut encoder);
    let packed = encoder.get_ref();
    let mut bomb = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff".to_vec();
    bomb.extend_from_slice(&packed[..first]);
    bomb.extend_from_slice(&packed[first..second].repeat(BOMB_MIB - 1));
    bomb
}

fn zstd_bomb() -> Vec<u8> {
    let blanks = std::io::repeat(b' ').take((BOMB_MIB * MIB) as u64);
    zstd::encode_all(blanks, 1).expect("memory can be written")
}

/// An event without a type that packs to about half.
fn noise(bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers(3);
    let digits: String =
        std::iter::repeat_with(|| format!("{:08x}", numbers.next() as u32)).take(bytes / 8).collect();
    format!("[{{\"x\":\"{digits}\"}}]").into_bytes()
}

#[test]
fn a_bomb_is_refused_before_it_unfolds() {
    let server = Server::start(&[]);
    let members = gzip(&vec![b' '; MIB]).repeat(BOMB_MIB);
    let bombs = [("gzip", gzip_bomb()), ("gzip", members), ("zstd", zstd_bomb())];
    // Whatever honest bodies of that size bring with them is there before.
    let honest = noise(MIB);
    let packed = zstd::encode_all(honest.as_slice(), 1).expect("memory can be written");
    let packed = [("gzip", gzip(&honest)), ("zstd", packed)];
    for (coding, body) in packed.iter().cycle().take(80) {
        assert_eq!(server.post("/v1/events", &[("content-encoding", coding)], body).status, 422);
    }
    assert_well(&server);
    let kept_before = kept(&server);
    for (coding, bomb) in bombs {
        assert!(bomb.len() < MIB, "a bomb is small: {coding} {}", bomb.len());
        let (rss, hwm) = (memory(&server, "VmRSS"), memory(&server, "VmHWM"));
        for _ in 0..5 {
            let answer = server.post("/v1/events", &[("content-encoding", coding)], &bomb);
            assert!([400, 413].contains(&answer.status), "{coding}: {} {}", answer.status, answer.text());
        }
        // The peak that is told may fall again: while the memory in use is beyond the one on record, it is that.
        let growth = [("VmRSS", rss), ("VmHWM", hwm)]
            .map(|(name, before)| memory(&server, name).saturating_sub(before));
        assert!(growth.iter().all(|bytes| *bytes <= GROWTH_BYTES_MAX), "{coding}: grew by {growth:?} bytes");
    }
    assert_eq!(kept(&server), kept_before);
    assert_well(&server);
}

#[test]
fn what_is_packed_twice_is_unpacked_once() {
    let server = Server::start(&[]);
    let event = br#"{"event_type":"a"}"#;
    let twice = gzip(&gzip(event));
    let answer = server.post("/v1/events", &[("content-encoding", "gzip")], &twice);
    assert_eq!((answer.status, &answer.json()["code"]), (400, &"invalid_body".into()));
    let answer = server.post("/v1/events", &[("content-encoding", "gzip, gzip")], &twice);
    assert_eq!((answer.status, &answer.json()["code"]), (415, &"unsupported_encoding".into()));
    let answer = server.post("/v1/events", &[("content-encoding", "gzip")], gzip(&gzip_bomb()));
    assert!([400, 413].contains(&answer.status), "{}", answer.text());
    assert_well(&server);
}

#[test]
fn what_is_broken_or_packed_by_something_else_is_refused() {
    let server = Server::start(&[]);
    let whole = gzip(br#"{"event_type":"a"}"#);
    let zstandard = zstd::encode_all(&br#"{"event_type":"a"}"#[..], 1).expect("memory can be written");
    // A frame that wants a window of 2 GiB.
    let wide = b"\x28\xb5\x2f\xfd\x00\xa8\x19\x00\x00\x20";
    let mut flipped = whole.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    let cases: [(&str, &[u8]); 9] = [
        ("gzip", &whole[..whole.len() - 1]),
        ("gzip", &whole[..5]),
        ("gzip", &flipped),
        ("gzip", &zstandard),
        ("gzip", b"not packed"),
        ("zstd", &whole),
        ("zstd", &zstandard[..zstandard.len() - 1]),
        ("zstd", wide),
        ("zstd", b"\x28\xb5\x2f\xfd"),
    ];
    for (at, (coding, body)) in cases.into_iter().enumerate() {
        let answer = server.post("/v1/events", &[("content-encoding", coding)], body);
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &"bad_encoding".into()),
            "case {at}: {}",
            answer.text()
        );
    }
    for coding in ["br", "deflate", "compress", "gzip;q=1", "zstd,gzip", "x"] {
        let answer = server.post("/v1/events", &[("content-encoding", coding)], &whole);
        assert_eq!(answer.status, 415, "{coding}: {}", answer.text());
    }
    assert_eq!(kept(&server), (0, 0));
    assert_well(&server);
}
