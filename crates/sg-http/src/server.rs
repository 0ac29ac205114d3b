//! Accepts connections and serves the router on them. Our own loop, because it must hold what `axum::serve` cannot:
//! a time-out for the first byte and for headers, one for idle connections, and a cap on their number.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sg_core::metrics::Metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

/// Time for the first byte of a new connection.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a request's headers from their first byte on.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may stay without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often idle connections are looked for.
const IDLE_CHECK: Duration = Duration::from_secs(5);
/// Bytes of the read buffer, which also bounds a request's headers: whole batches arrive in few pieces.
const BUFFER_BYTES: usize = 256 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Connections at once unless configured otherwise.
pub const CONNECTIONS_MAX: usize = 10_000;
/// How long accepting pauses when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening address and what it serves.
pub struct Server {
    listener: TcpListener,
    router: Router,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
}

impl Server {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// Those of the system, when the address cannot be had.
    pub async fn bind(address: &str, router: Router, metrics: Arc<Metrics>, places: Arc<Semaphore>) -> std::io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        Ok(Server { listener, router, metrics, places })
    }

    /// Returns the address that is listened on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to stop; then finishes the requests under way, and returns when the last is answered.
    pub async fn run(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    self.metrics.connections.add(1);
                    let (router, metrics, stop) = (self.router.clone(), self.metrics.clone(), stop.clone());
                    connections.spawn(async move {
                        serve(stream, router, &metrics, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }
}

/// When a connection last had something to do.
struct Activity {
    requests_under_way: AtomicUsize,
    last_ms: AtomicUsize,
    began: Instant,
}

impl Activity {
    fn is_idle(&self) -> bool {
        let since = self.began.elapsed().as_millis() as usize - self.last_ms.load(Ordering::Relaxed);
        self.requests_under_way.load(Ordering::Relaxed) == 0 && since >= IDLE_TIMEOUT.as_millis() as usize
    }

    fn note(&self) {
        self.last_ms.store(self.began.elapsed().as_millis() as usize, Ordering::Relaxed);
    }
}

async fn serve(stream: TcpStream, router: Router, metrics: &Metrics, stop: CancellationToken) {
    // Answers are small and complete: waiting to fill a packet only delays them. An error shows at the next read.
    drop(stream.set_nodelay(true));
    let mut byte = [0];
    let first = tokio::select! {
        () = stop.cancelled() => return,
        first = tokio::time::timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut byte)) => first,
    };
    if !matches!(first, Ok(Ok(1..))) {
        metrics.connections_dropped.add(1);
        return;
    }
    let activity = Arc::new(Activity { requests_under_way: AtomicUsize::new(0), last_ms: AtomicUsize::new(0), began: Instant::now() });
    let noted = activity.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        noted.requests_under_way.fetch_add(1, Ordering::Relaxed);
        let (noted, mut router) = (noted.clone(), router.clone());
        async move {
            let answer: Result<Response, Infallible> = router.call(request.map(axum::body::Body::new) as Request).await;
            noted.requests_under_way.fetch_sub(1, Ordering::Relaxed);
            noted.note();
            answer
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if result.is_err_and(|error| error.is_timeout()) {
                    metrics.connections_dropped.add(1);
                }
                return;
            }
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(IDLE_CHECK) => {
                if activity.is_idle() {
                    metrics.connections_dropped.add(1);
                    return;
                }
            }
        }
    }
}
