//! Accepts connections and serves the router on them. Our own loop, because it must hold what `axum::serve` cannot:
//! a time-out for the first byte and for headers, one for idle connections, and a cap on their number.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use sg_core::metrics::Metrics;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::places::Places;
use crate::tls::{self, Tls};

/// Time for the first byte of a new connection.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the handshake of TLS, from the first byte on: a few round trips.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a request's headers from their first byte on.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may stay without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often idle connections are looked for in that time.
const IDLE_CHECKS: u32 = 6;
/// Bytes of the read buffer, which also bounds a request's headers: whole batches arrive in few pieces.
const BUFFER_BYTES: usize = 256 << 10;
/// Headers of a request over HTTP/1.1.
const HEADERS_MAX: usize = 64;
/// Bytes of a request's headers over HTTP/2.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Requests of one connection at once over HTTP/2: a page with all its streams, and then some.
const REQUESTS_AT_ONCE: u32 = 100;
/// Bytes that a connection of HTTP/2 may send before they are read: its requests together have what four have alone.
const CONNECTION_BYTES: u32 = 1 << 20;
/// Connections at once unless configured otherwise.
pub const CONNECTIONS_MAX: usize = 10_000;
/// How long accepting pauses when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Marks a request that came over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secured;

/// Who is at the other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// An address that this process has, and that nobody can connect to yet: whoever tries is refused, and not kept waiting.
#[derive(Debug)]
pub struct Reserved(TcpSocket);

impl Reserved {
    /// Takes HOST:PORT; port 0 takes a free one.
    ///
    /// # Errors
    /// Those of the system, when the address cannot be had.
    pub async fn take(address: &str) -> std::io::Result<Reserved> {
        let mut failed = std::io::Error::other("the name has no address");
        for resolved in lookup_host(address).await? {
            match Reserved::bind(resolved) {
                Ok(reserved) => return Ok(reserved),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn bind(address: SocketAddr) -> std::io::Result<Reserved> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of a server that ended just now do not keep the next one from its port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Reserved(socket))
    }
}

/// A listening address and what it serves.
pub struct Server {
    listener: TcpListener,
    router: Router,
    metrics: Arc<Metrics>,
    places: Places,
    tls: Option<Arc<Tls>>,
    idle_timeout: Duration,
}

impl Server {
    /// Listens on an address that was taken before.
    ///
    /// # Errors
    /// Those of the system, when another process was quicker.
    pub fn listen(
        address: Reserved,
        router: Router,
        metrics: Arc<Metrics>,
        places: Places,
    ) -> std::io::Result<Server> {
        let listener = address.0.listen(BACKLOG)?;
        Ok(Server { listener, router, metrics, places, tls: None, idle_timeout: IDLE_TIMEOUT })
    }

    /// Has the address speak TLS, or not.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Server {
        Server { tls, ..self }
    }

    /// Closes connections that have been without a request for so long.
    #[cfg(test)]
    fn with_idle_timeout(self, idle_timeout: Duration) -> Server {
        Server { idle_timeout, ..self }
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
        let housekeeper = Housekeeper::default();
        connections.spawn(housekeeper.clone().run(self.idle_timeout, stop.clone()));
        loop {
            let Some(place) = self.places.of_all().await else { break };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    self.metrics.connections.add(1);
                    let Some(place_of_address) = self.places.of_address(from.ip()) else {
                        self.metrics.connections_dropped.add(1);
                        continue;
                    };
                    let metrics = self.metrics.clone();
                    let serving = Serving {
                        router: self.router.clone(),
                        housekeeper: housekeeper.clone(),
                        stop: stop.clone(),
                        tls: self.tls.clone(),
                    };
                    connections.spawn(async move {
                        if serve(stream, from.ip(), serving).await {
                            metrics.connections_dropped.add(1);
                        }
                        drop((place, place_of_address));
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

/// What a connection is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Serve on.
    Serve,
    /// Finish the request under way, then close.
    Finish,
    /// Close.
    Close,
}

/// What the housekeeper knows of a connection and tells it. A timer and a stop signal in each connection would be
/// polled, and their locks taken, with every request.
struct Watch {
    began: Instant,
    last_ms: AtomicUsize,
    requests_under_way: AtomicUsize,
    order: AtomicU8,
    waker: AtomicWaker,
}

impl Watch {
    fn new() -> Watch {
        Watch {
            began: Instant::now(),
            last_ms: AtomicUsize::new(0),
            requests_under_way: AtomicUsize::new(0),
            order: AtomicU8::new(Order::Serve as u8),
            waker: AtomicWaker::new(),
        }
    }

    fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::Finish,
            _ => Order::Close,
        }
    }

    fn tell(&self, order: Order) {
        self.order.store(order as u8, Ordering::Release);
        self.waker.wake();
    }

    fn is_idle(&self, timeout: Duration) -> bool {
        let since =
            (self.began.elapsed().as_millis() as usize).saturating_sub(self.last_ms.load(Ordering::Relaxed));
        self.requests_under_way.load(Ordering::Relaxed) == 0 && since >= timeout.as_millis() as usize
    }

    fn note_answer(&self) {
        self.requests_under_way.fetch_sub(1, Ordering::Relaxed);
        self.last_ms.store(self.began.elapsed().as_millis() as usize, Ordering::Relaxed);
    }
}

/// A request under way; over when it is dropped.
struct UnderWay(Arc<Watch>);

impl UnderWay {
    fn begin(watch: &Arc<Watch>) -> UnderWay {
        watch.requests_under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(watch.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.note_answer();
    }
}

/// Returns whether an answer is still being made while it is sent: nobody knows yet how long it will be. Its request is under
/// way until its body ends, however long it is silent, and it does not outlive the key that it was asked with.
pub(crate) fn goes_on(answer: &Response) -> bool {
    answer.body().size_hint().exact().is_none()
}

/// A body with the request that it answers.
struct Lasting {
    body: Body,
    _under_way: UnderWay,
}

impl http_body::Body for Lasting {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }
}

/// All connections of a listening address.
#[derive(Clone, Default)]
struct Housekeeper(Arc<Mutex<Vec<Weak<Watch>>>>);

impl Housekeeper {
    fn add(&self, watch: &Arc<Watch>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(watch));
    }

    /// Closes idle connections until told to stop; then lets all finish.
    async fn run(self, idle_timeout: Duration, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(idle_timeout / IDLE_CHECKS) => {}
            }
            let is_stopping = stop.is_cancelled();
            let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            watches.retain(|watch| {
                let Some(watch) = watch.upgrade() else { return false };
                if is_stopping {
                    watch.tell(Order::Finish);
                } else if watch.is_idle(idle_timeout) {
                    watch.tell(Order::Close);
                }
                true
            });
        }
    }
}

/// What a connection is served with.
struct Serving {
    router: Router,
    housekeeper: Housekeeper,
    stop: CancellationToken,
    tls: Option<Arc<Tls>>,
}

/// Serves a connection to its end; returns whether it was dropped because its client was too slow.
async fn serve(stream: TcpStream, peer: IpAddr, serving: Serving) -> bool {
    // Answers are small and complete: waiting to fill a packet only delays them. An error shows at the next read.
    drop(stream.set_nodelay(true));
    let mut byte = [0];
    let first = tokio::select! {
        () = serving.stop.cancelled() => return false,
        first = tokio::time::timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut byte)) => first,
    };
    if !matches!(first, Ok(Ok(1..))) {
        return true;
    }
    let Some(tls) = &serving.tls else {
        return converse(stream, Extra { peer, is_secured: false }, Version::One, serving).await;
    };
    let shaken = tokio::select! {
        () = serving.stop.cancelled() => return false,
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream)) => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => {
            let is_two = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP_2);
            let version = if is_two { Version::Two } else { Version::One };
            converse(stream, Extra { peer, is_secured: true }, version, serving).await
        }
        Ok(Err(error)) => {
            tracing::debug!("a handshake failed: {error}");
            true
        }
        Err(_) => true,
    }
}

/// What is put beside each request of a connection.
#[derive(Clone, Copy)]
struct Extra {
    peer: IpAddr,
    is_secured: bool,
}

impl Extra {
    fn put(self, request: &mut hyper::Request<Incoming>) {
        request.extensions_mut().insert(Peer(self.peer));
        if self.is_secured {
            request.extensions_mut().insert(Secured);
        }
        // HTTP/2 says in the address who is asked, where HTTP/1.1 has a header.
        let asked = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        if let (Some(host), false) = (asked, request.headers().contains_key(header::HOST)) {
            request.headers_mut().insert(header::HOST, host);
        }
    }
}

/// How a connection speaks: over TLS both sides agree on it, without it everybody begins with HTTP/1.1.
#[derive(Debug, Clone, Copy)]
enum Version {
    One,
    Two,
}

impl Version {
    fn builder(self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        match self {
            Version::One => {
                builder
                    .http1()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .max_buf_size(BUFFER_BYTES)
                    .max_headers(HEADERS_MAX);
                builder.http1_only()
            }
            Version::Two => {
                builder
                    .http2()
                    .max_concurrent_streams(REQUESTS_AT_ONCE)
                    .max_header_list_size(HEADER_BYTES_MAX)
                    .initial_stream_window_size(BUFFER_BYTES as u32)
                    .initial_connection_window_size(CONNECTION_BYTES);
                builder.http2_only()
            }
        }
    }
}

/// Answers the requests of a connection; returns whether it was dropped because its client was too slow.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    extra: Extra,
    version: Version,
    serving: Serving,
) -> bool {
    let Serving { router, housekeeper, stop, .. } = serving;
    let watch = Arc::new(Watch::new());
    housekeeper.add(&watch);
    if stop.is_cancelled() {
        // The housekeeper may have made its last round before it knew of this connection.
        watch.tell(Order::Finish);
    }
    let noted = watch.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        extra.put(&mut request);
        let (under_way, mut router) = (UnderWay::begin(&noted), router.clone());
        async move {
            let answer: Response = router.call(request.map(Body::new) as Request).await?;
            if goes_on(&answer) {
                return Ok(answer.map(|body| Body::new(Lasting { body, _under_way: under_way })));
            }
            Ok::<Response, Infallible>(answer)
        }
    });
    let builder = version.builder();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut is_finishing = false;
    std::future::poll_fn(|context| {
        watch.waker.register(context.waker());
        match watch.order() {
            Order::Serve => {}
            Order::Finish if is_finishing => {}
            Order::Finish => {
                is_finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            Order::Close => return Poll::Ready(true),
        }
        connection.as_mut().poll(context).map(|ended| ended.is_err_and(|error| was_too_slow(&*error)))
    })
    .await
}

fn was_too_slow(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout)
}

#[cfg(test)]
mod tests;
