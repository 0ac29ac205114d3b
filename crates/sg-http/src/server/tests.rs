//! Connections that are idle, and those that only seem to be.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Reserved, Server};
use crate::places::{Each, Places};

/// Short, so that nothing waits long for it to pass: what is asserted is an order, not a time.
const IDLE: Duration = Duration::from_millis(60);

/// Serves an answer that is silent until `go_on` has a permit, and one that is there at once.
async fn serve(go_on: Arc<Semaphore>, stop: CancellationToken) -> SocketAddr {
    let silent = move || {
        let go_on = go_on.clone();
        let last = stream::once(async move {
            drop(go_on.acquire().await);
            Ok::<_, Infallible>("last")
        });
        async { Body::from_stream(stream::iter([Ok("first ")]).chain(last)) }
    };
    let router = Router::new().route("/silent", get(silent)).route("/quick", get(async || "quick"));
    let places = Places::new(10, Each { max: 10, ..Each::default() });
    let address = Reserved::take("127.0.0.1:0").await.expect("a port is free");
    let server = Server::listen(address, router, Arc::default(), places).expect("nobody else has it");
    let server = server.with_idle_timeout(IDLE);
    let address = server.local_address().expect("it listens");
    tokio::spawn(server.run(stop));
    address
}

async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: it\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is read");
    stream
}

/// Reads until a text has come; returns whether it has before the end.
async fn read_to(stream: &mut TcpStream, text: &str) -> bool {
    let mut read = Vec::new();
    let mut buffer = [0; 1_024];
    while !String::from_utf8_lossy(&read).contains(text) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    true
}

#[tokio::test]
async fn an_answer_that_is_silent_for_long_is_no_idle_connection() {
    let (go_on, stop) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
    let address = serve(go_on.clone(), stop.clone()).await;
    let mut silent = ask(address, "/silent").await;
    assert!(read_to(&mut silent, "first").await, "the answer begins");
    for _ in 0..2 {
        // Its last byte came later than the other's: that it is closed as idle tells that the other was silent for longer.
        let mut idle = ask(address, "/quick").await;
        assert!(read_to(&mut idle, "quick").await);
        assert!(!read_to(&mut idle, "never").await, "a connection without a request is closed");
    }
    go_on.add_permits(1);
    assert!(read_to(&mut silent, "last").await, "the answer goes on");
    // From then on it is as idle as any.
    assert!(!read_to(&mut silent, "never").await);
    stop.cancel();
}
