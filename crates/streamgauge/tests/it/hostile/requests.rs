//! Requests that are none: broken framing, tricks with paths, headers without end. Each is answered below 500 or cut off.

use super::super::harness::Server;
use super::{assert_well, exchange, kept, statuses};

const EVENT: &str = r#"{"event_type":"a"}"#;

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /v1/events HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}").into_bytes()
}

/// Sends bytes and checks the statuses that come back, in order.
fn check(server: &Server, bytes: &[u8], expect: &[u16]) {
    check_of(server, bytes, expect, expect.len());
}

/// The same with a sender who closes its side at once.
fn check_cut(server: &Server, bytes: &[u8], expect: &[u16]) {
    check_of(server, bytes, expect, 0);
}

fn check_of(server: &Server, bytes: &[u8], expect: &[u16], answers: usize) {
    let answer = exchange(server, bytes, answers);
    assert_eq!(
        statuses(&answer),
        expect,
        "{}\n→ {answer}",
        String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
    );
}

#[test]
fn what_is_not_http_is_cut_off() {
    let server = Server::start(&[]);
    check(&server, b"\0\x01\x02\r\n\r\n", &[400]);
    check(&server, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", &[400]);
    check(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]);
    check(&server, b"GET /livez HTTP/9.9\r\n\r\n", &[400]);
    check(&server, b"GET /livez\r\n\r\n", &[400]);
    check(&server, b"GET  /livez HTTP/1.1\r\n\r\n", &[400]);
    check(&server, b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n", &[400]);
    check(&server, b"GET /livez HTTP/1.1\r\nhost x\r\n\r\n", &[400]);
    check(&server, b"GET /livez HTTP/1.1\r\nx: a\0b\r\n\r\n", &[400]);
    check(&server, b"GET /livez HTTP/1.1\r\nhost: x\r\nx: a\r\n folded\r\n\r\n", &[400]);
    check(&server, b"", &[]);
    check(&server, b"G", &[]);
    assert_well(&server);
}

#[test]
fn lengths_that_contradict_the_body_store_nothing() {
    let server = Server::start(&[]);
    let chunked = "transfer-encoding: chunked\r\n";
    check(&server, &post("content-length: 5\r\ncontent-length: 18\r\n", EVENT), &[400]);
    check(&server, &post("content-length: -5\r\n", EVENT), &[400]);
    check(&server, &post("content-length: +18\r\n", EVENT), &[400]);
    check(&server, &post("content-length: abc\r\n", EVENT), &[400]);
    check(&server, &post("content-length: 99999999999999999999999\r\n", EVENT), &[400]);
    check(&server, &post("content-length: 99999999999\r\n", EVENT), &[413]);
    check_cut(&server, &post("content-length: 100\r\n", EVENT), &[400]);
    // What is left of the body is taken for a next request, and is none.
    check(&server, &post("content-length: 10\r\n", EVENT), &[400, 400]);
    check(&server, &post("", EVENT), &[400, 400]);
    check(&server, &post(chunked, &format!("zz\r\n{EVENT}\r\n0\r\n\r\n")), &[400]);
    check(&server, &post(chunked, &format!("-1\r\n{EVENT}\r\n0\r\n\r\n")), &[400]);
    check(&server, &post(chunked, &format!("ffffffffffffffffff\r\n{EVENT}\r\n")), &[400]);
    check_cut(&server, &post(chunked, &format!("ffffffffffffffff\r\n{EVENT}\r\n0\r\n\r\n")), &[400]);
    check(&server, &post(chunked, &format!("5\r\n{EVENT}\r\n0\r\n\r\n")), &[400]);
    check_cut(&server, &post(chunked, &format!("12\r\n{EVENT}\r\n")), &[400]);
    check(&server, &post("transfer-encoding: gzip\r\n", EVENT), &[400]);
    check(&server, &post("transfer-encoding: chunked, gzip\r\n", EVENT), &[400]);
    assert_eq!(kept(&server), (0, 0));
    assert_well(&server);
}

#[test]
fn what_is_unusual_and_right_is_served() {
    let server = Server::start(&[]);
    let one = format!("content-length: {}\r\n", EVENT.len());
    check(&server, b"GET /livez HTTP/1.0\r\n\r\n", &[200]);
    check(&server, format!("POST /v1/events HTTP/1.0\r\n{one}\r\n{EVENT}").as_bytes(), &[202]);
    check(
        &server,
        &post(
            "transfer-encoding: chunked\r\n",
            &format!("9;a=b\r\n{}\r\n9\r\n{}\r\n0\r\ntrailer: x\r\n\r\n", &EVENT[..9], &EVENT[9..]),
        ),
        &[202],
    );
    check(&server, &post(&format!("expect: 100-continue\r\n{one}"), EVENT), &[100, 202]);
    check(&server, b"GET http://elsewhere/livez HTTP/1.1\r\nhost: x\r\n\r\n", &[200]);
    check(&server, b"GET /livez HTTP/1.1\nhost: x\n\n", &[200]);
    check(&server, b"HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n", &[200]);
    check(&server, b"GET /livez HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", &[200]);
    check(&server, b"GET /livez HTTP/1.1\r\nhost: x\r\nx: \xff\xfe\r\n\r\n", &[200]);
    check(&server, b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", &[200]);
    server.post("/v1/flush", &[], "");
    assert_eq!(kept(&server), (3, 3));
    // Byte by byte, as a network may cut it.
    let bytes = post(&one, EVENT);
    let mut stream = std::net::TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_nodelay(true).expect("an option can be set");
    for byte in &bytes {
        std::io::Write::write_all(&mut stream, &[*byte]).expect("the server reads");
    }
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut answer).expect("there is an answer");
    assert_eq!(&answer, b"HTTP/1.1 202");
}

#[test]
fn requests_one_behind_the_other_are_answered_in_order() {
    let server = Server::start(&[]);
    let one = post(&format!("content-length: {}\r\n", EVENT.len()), EVENT);
    let get = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
    check(&server, &[get.clone(), one.clone(), get.clone()].concat(), &[200, 202, 200]);
    check(&server, &one.repeat(500), &[202; 500]);
    // An answer does not wait for the rest of the next request, and is not lost when that is none.
    check(&server, &[one.clone(), b"GET /li".to_vec()].concat(), &[202]);
    check(&server, &[one.clone(), b"\0\r\n\r\n".to_vec()].concat(), &[202, 400]);
    server.post("/v1/flush", &[], "");
    assert_eq!(kept(&server), (503, 503));
}

#[test]
fn an_answer_comes_before_the_rest_of_the_next_request() {
    let server = Server::start(&[]);
    let mut stream = std::net::TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(3))).expect("a time-out can be set");
    std::io::Write::write_all(&mut stream, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /li")
        .expect("the server reads");
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut answer).expect("the first answer comes at once");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn headers_without_end_are_431() {
    let server = Server::start(&[]);
    let with = |headers: &str| format!("GET /livez HTTP/1.1\r\nhost: x\r\n{headers}\r\n").into_bytes();
    let many = |count: usize| (0..count).map(|at| format!("x{at}: y\r\n")).collect::<String>();
    check(&server, &with(&many(63)), &[200]);
    check(&server, &with(&many(64)), &[431]);
    check(&server, &with(&many(5_000)), &[431]);
    let mut client = server.client();
    let long = "y".repeat(2 << 20);
    let answer = client.request("GET", "/livez", &[("x", &long)], b"");
    // It may be cut off while it still sends.
    assert!(answer.as_ref().map_or(true, |answer| answer.status == 431), "{answer:?}");
    let path = "a".repeat(70_000);
    check(&server, format!("GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes(), &[414]);
    assert_well(&server);
}

#[test]
fn tricks_with_paths_lead_nowhere() {
    let server = Server::start(&[]);
    for (path, expect) in [
        ("/../../etc/passwd", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/..%2f..%2fetc%2fpasswd", 404),
        ("/assets/../../Cargo.toml", 404),
        ("//v1/events", 404),
        ("/v1//status", 404),
        ("/v1/status/", 404),
        ("/V1/STATUS", 404),
        ("/v1/status;x=1", 404),
        ("/v1/status%00", 404),
        ("/v1/rollups/..%2f..%2fx", 404),
        ("/v1/rollups/%00", 404),
        ("/v1/rollups/sg_partitions", 404),
        ("/v1/rollups/hourly_aggregations%27%3B--", 404),
        ("/v1/rollups/%ff%fe", 400),
        ("/v1/events/%ff%fe", 400),
        ("/v1/events/%2e%2e", 200),
        ("/v1/events/%00", 200),
        ("/v1/events?user_id=%27+OR+1%3D1+--", 200),
        ("/v1/events?user_id=%00%ff", 200),
        ("/v1/rollups/hourly_aggregations?event_type=%ff", 200),
        ("/v1/rollups/hourly_aggregations?%ff=1", 400),
        ("/v1/rollups/hourly_aggregations?from=-9999999999999999999d", 400),
        ("/v1/rollups/hourly_aggregations?from=-99999999999d", 200),
        ("/v1/rollups/hourly_aggregations?from=0001-01-01&to=9999-12-31", 200),
        ("/v1/rollups/hourly_aggregations?from=0001-01-01&to=9999-12-31&fill=zero", 200),
        ("/v1/rollups/hourly_aggregations?interval=15m&from=0001-01-01&to=9999-12-31&fill=zero", 400),
        ("/v1/rollups/hourly_aggregations?interval=12M&from=9999-12-01&tz=Pacific/Apia", 400),
        ("/v1/rollups/hourly_aggregations?interval=1000000s", 400),
        ("/v1/rollups/hourly_aggregations?interval=99999999999999999999d", 400),
        ("/v1/rollups/hourly_aggregations?interval=1d&tz=../../../etc/passwd", 400),
        ("/v1/rollups/hourly_aggregations?cursor=5b393232333337323033363835343737353830372c5b5d5d", 200),
        (
            "/v1/rollups/hourly_aggregations?interval=1d&cursor=5b393232333337323033363835343737353830372c5b5d5d",
            200,
        ),
        (
            "/v1/rollups/hourly_aggregations?interval=1d&fill=zero&cursor=5b2d393232333337323033363835343737353830382c5b2261225d5d",
            200,
        ),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, expect, "{path}: {}", answer.text());
        let kind = answer.header("content-type").unwrap_or_default();
        assert_eq!(
            kind,
            if expect == 200 { "application/json" } else { "application/problem+json" },
            "{path}"
        );
    }
    for (method, path, expect) in [
        ("BREW", "/", 405),
        ("DELETE", "/v1/events", 405),
        ("PUT", "/v1/events/1", 405),
        ("OPTIONS", "*", 404),
        ("CONNECT", "elsewhere:80", 404),
        ("TRACE", "/livez", 405),
        ("get", "/livez", 405),
        ("GET", "/v1/flush", 405),
    ] {
        let answer = server.client().request(method, path, &[], b"").expect("there is an answer");
        assert_eq!(answer.status, expect, "{method} {path}: {}", answer.text());
    }
    assert_well(&server);
}

#[test]
fn random_bytes_do_no_harm() {
    let server = Server::start(&[]);
    let mut numbers = super::Numbers(42);
    let template =
        post(&format!("content-type: application/json\r\ncontent-length: {}\r\n", EVENT.len()), EVENT);
    for _ in 0..300 {
        let mut bytes = template.clone();
        for _ in 0..=numbers.next() % 4 {
            let at = (numbers.next() % bytes.len() as u64) as usize;
            match numbers.next() % 3 {
                0 => bytes[at] = numbers.next() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, numbers.next() as u8),
            }
        }
        let answer = exchange(&server, &bytes, 0);
        let bad: Vec<u16> = statuses(&answer).into_iter().filter(|status| *status >= 500).collect();
        assert!(bad.is_empty(), "{}\n→ {answer}", String::from_utf8_lossy(&bytes));
    }
    assert_well(&server);
}
