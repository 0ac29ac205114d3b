//! A server for tests that answers as it is told, or drops the connection after it has read the request.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::RETRY_AFTER;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A request as the server read it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) path: String,
    /// The body.
    pub(crate) body: Bytes,
}

/// What the server does with a request.
#[derive(Debug)]
pub(crate) enum Flaky {
    /// It answers with a status and a body; statuses from 429 on ask for a retry at once.
    Answer(u16, String),
    /// It drops the connection.
    Drop,
}

/// Serves on a free port until the test ends; returns the address.
pub(crate) async fn serve(decide: impl Fn(Asked) -> Flaky + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is always free");
    let address = listener.local_addr().expect("the listener is bound");
    let decide = Arc::new(decide);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let decide = decide.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, decide.clone()));
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok()
            });
        }
    });
    address
}

async fn answer(
    request: Request<Incoming>,
    decide: Arc<impl Fn(Asked) -> Flaky>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    match decide(Asked { path, body }) {
        Flaky::Drop => Err(std::io::Error::other("dropped")),
        Flaky::Answer(status, text) => {
            let mut response = Response::builder().status(status);
            if status >= 429 {
                response = response.header(RETRY_AFTER, "0");
            }
            response.body(Full::new(Bytes::from(text))).map_err(std::io::Error::other)
        }
    }
}
