//! The commands' side of a conversation with a running server: HTTP/1.1, with or without TLS, over connections that are
//! kept and renewed. Retries nothing that may have reached the server: whether to send again is the command's decision.

pub(crate) mod failures;
mod hearer;
pub(crate) mod live;
pub(crate) mod rollup;
pub(crate) mod status;
mod target;
pub(crate) mod tls;
#[cfg(feature = "kafka")]
pub(crate) mod topic;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use sg_core::ports::{ErrorKind, PortError};
use sg_core::time::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::{cmd, exit};
use hearer::{Hearer, Lines, Pieces};

pub(crate) use target::Target;

/// A server on the same machine or network accepts within milliseconds; a host that drops packets never does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any answer should take, `POST /v1/flush` after a large backlog included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may look through events that do not meet the conditions before one does.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(600);
/// Content type of one event a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// Content type of one event.
pub(crate) const JSON: &str = "application/json";

/// A server's address, and the key to show it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    url: String,
    /// Host and port to connect to.
    pub(crate) address: String,
    /// What stands before every path, usually nothing.
    pub(crate) prefix: String,
    /// The name that its certificate must have, where it speaks TLS.
    pub(crate) tls_name: Option<ServerName<'static>>,
    authorization: Option<HeaderValue>,
}

impl Server {
    /// Reads an address such as `http://127.0.0.1:8080` or `https://gauge.example`.
    ///
    /// # Errors
    /// When the URL is none of http or https, or the key cannot stand in a header.
    pub(crate) fn new(url: &str, key: Option<&str>) -> anyhow::Result<Server> {
        let uri: Uri = url.parse().with_context(|| format!("reading the URL {url}"))?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => bail!("the URL {url} begins with neither http:// nor https://"),
        };
        let host = uri.host().with_context(|| format!("the URL {url} names no host"))?;
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let bearer = key.map(|key| HeaderValue::from_str(&format!("Bearer {key}")));
        let authorization = bearer.transpose().context("STREAMGAUGE_KEY holds characters that no key has")?;
        Ok(Server {
            url: url.trim_end_matches('/').to_owned(),
            address: format!("{host}:{port}"),
            tls_name: is_secure.then(|| tls::name(host)).transpose()?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            authorization,
        })
    }

    /// Returns the address as it was given.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the header lines, beside host and content, that every request carries.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_ref().and_then(|value| value.to_str().ok())
    }

    /// Returns the error of a request that got no answer.
    pub(crate) fn unanswered(&self, was_reached: bool, reason: impl fmt::Display) -> Unanswered {
        Unanswered { url: self.url.clone(), was_reached, reason: reason.to_string(), remedy: None }
    }
}

/// A request that got no answer; the server may have taken it nevertheless if it was reached.
#[derive(Debug)]
pub(crate) struct Unanswered {
    url: String,
    /// Whether there was a connection.
    pub(crate) was_reached: bool,
    reason: String,
    /// What mends it, where that is known.
    pub(crate) remedy: Option<&'static str>,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unanswered { url, reason, .. } = self;
        if self.was_reached {
            write!(f, "the server at {url} did not take the request: {reason}")?;
            self.remedy.map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
        } else {
            write!(
                f,
                "cannot reach the server at {url}: {reason}; is it running? start it with `streamgauge serve`"
            )
        }
    }
}

impl std::error::Error for Unanswered {}

/// Arguments or variables that make no sense, or none together.
#[derive(Debug)]
pub(crate) struct Misused(pub(crate) String);

impl fmt::Display for Misused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misused {}

/// Ends a command: what went wrong is printed, and a server or broker that is away has an exit code of its own.
pub(crate) fn settle(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    let is_away = error.downcast_ref::<Unanswered>().is_some()
        || error.downcast_ref::<PortError>().is_some_and(|error| error.kind == ErrorKind::Retry);
    let code = match error.downcast_ref::<Misused>() {
        Some(_) => exit::USAGE,
        None if is_away => exit::UNAVAILABLE,
        None => exit::FAILED,
    };
    cmd::fail(code, &error)
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// How long the server asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// What the server's clock said.
    pub(crate) date: Option<Timestamp>,
    /// The body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// Returns the body of a success.
    ///
    /// # Errors
    /// Any other status, with what the server says about it.
    pub(crate) fn success(self, doing: &str) -> anyhow::Result<Bytes> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        bail!("{doing}: {}", self.complaint())
    }

    /// Returns the version of the server whose answer for `/healthz` this is; `None` where it is no Streamgauge's.
    pub(crate) fn version(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        // What only we say of ourselves.
        let version = body.get("backends").and_then(|backends| backends.get("log")).and(body.get("version"));
        version.and_then(serde_json::Value::as_str).map(str::to_owned)
    }

    /// Returns the status with the detail of a problem answer, and the remedy where there is one.
    pub(crate) fn complaint(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let detail = problem.get("detail").and_then(serde_json::Value::as_str).unwrap_or_default();
        let remedy = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                " (set STREAMGAUGE_KEY to a key that may do this)"
            }
            _ => "",
        };
        let colon = if detail.is_empty() { "" } else { ": " };
        format!("the server answered {}{colon}{detail}{remedy}", self.status)
    }
}

/// Fails when who answers is no Streamgauge; says nothing of who does not answer.
///
/// # Errors
/// A sentence for people.
pub(crate) async fn recognise(connection: &mut Connection) -> anyhow::Result<()> {
    match connection.get("/healthz").await {
        Ok(answer) if answer.version().is_none() => {
            let address = &connection.server.address;
            bail!("what answers on {address} is no Streamgauge: asked for /healthz, {}", answer.complaint())
        }
        _ => Ok(()),
    }
}

/// One connection, made when first needed and made again when it was lost.
#[derive(Debug)]
pub(crate) struct Connection {
    server: Server,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// Returns a connection not made yet.
    pub(crate) fn new(server: &Server) -> Connection {
        Connection { server: server.clone(), sender: None }
    }

    /// Returns the error of a request whose answer was none.
    pub(crate) fn unanswered(&self, reason: impl fmt::Display) -> Unanswered {
        self.server.unanswered(true, reason)
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Unanswered> {
        self.request(Method::GET, path, None, Bytes::new()).await
    }

    /// Has what stands at a path deleted.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(crate) async fn delete(&mut self, path: &str) -> Result<Answer, Unanswered> {
        self.request(Method::DELETE, path, None, Bytes::new()).await
    }

    /// Posts a body to a path.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(crate) async fn post(
        &mut self,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<Answer, Unanswered> {
        self.request(Method::POST, path, Some(kind), body).await
    }

    /// Posts a body to a path and hears the answer line by line, however long it takes as long as lines come.
    ///
    /// # Errors
    /// [`Unanswered`], any status but a success, and what the hearer says.
    pub(crate) async fn post_lines(
        &mut self,
        path: &str,
        kind: &'static str,
        body: Bytes,
        hear: &mut (dyn FnMut(&str) -> anyhow::Result<()> + Send),
    ) -> anyhow::Result<()> {
        let request = self.prepared(Method::POST, path, Some(kind), body)?;
        self.hear(path, request, (&mut Lines::new(hear), ANSWER_TIMEOUT)).await
    }

    /// Gets a path and hears the answer line by line.
    ///
    /// # Errors
    /// As [`Connection::post_lines`].
    pub(crate) async fn get_lines(
        &mut self,
        path: &str,
        hear: &mut (dyn FnMut(&str) -> anyhow::Result<()> + Send),
    ) -> anyhow::Result<()> {
        let request = self.prepared(Method::GET, path, None, Bytes::new())?;
        self.hear(path, request, (&mut Lines::new(hear), SEARCH_TIMEOUT)).await
    }

    /// Gets a path and hears the bytes of the answer as they come.
    ///
    /// # Errors
    /// As [`Connection::post_lines`].
    pub(crate) async fn get_bytes(
        &mut self,
        path: &str,
        hear: &mut (dyn FnMut(&[u8]) -> anyhow::Result<()> + Send),
    ) -> anyhow::Result<()> {
        let request = self.prepared(Method::GET, path, None, Bytes::new())?;
        self.hear(path, request, (&mut Pieces(hear), SEARCH_TIMEOUT)).await
    }

    async fn hear(
        &mut self,
        path: &str,
        request: Request<Full<Bytes>>,
        (hearer, quiet_max): (&mut (dyn Hearer + Send), Duration),
    ) -> anyhow::Result<()> {
        let silent = || self.server.unanswered(true, format!("nothing came for {} s", quiet_max.as_secs()));
        let mut sender = self.connect().await?;
        let sent = timeout(quiet_max, sender.send_request(request)).await.map_err(|_| silent())?;
        let response = sent.map_err(|error| self.server.unanswered(true, error))?;
        if !response.status().is_success() {
            self.read(response).await?.success(path)?;
            return Ok(());
        }
        let mut frames = response.into_body();
        while let Some(frame) = timeout(quiet_max, frames.frame()).await.map_err(|_| silent())? {
            let frame = frame.map_err(|error| self.server.unanswered(true, error))?;
            hearer.take(&frame.into_data().unwrap_or_default())?;
        }
        Ok(())
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Bytes,
    ) -> Result<Answer, Unanswered> {
        let request = self.prepared(method, path, kind, body)?;
        let answered = timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
        let answer = answered.unwrap_or_else(|_| {
            Err(self.server.unanswered(true, format!("nothing came for {} s", ANSWER_TIMEOUT.as_secs())))
        });
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    /// Returns a request with all its headers.
    fn prepared(
        &self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Unanswered> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        let uri = format!("{}{path}", self.server.prefix).parse::<Uri>();
        *request.uri_mut() = uri.map_err(|error| self.server.unanswered(true, format!("{path}: {error}")))?;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(&self.server.address);
        headers.insert(HOST, host.map_err(|error| self.server.unanswered(false, error))?);
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(authorization) = &self.server.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Unanswered> {
        let mut kept = self.sender.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            kept = None;
        }
        let was_kept = kept.is_some();
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let sent = sender.try_send_request(request).await;
        let response = match sent {
            Ok(response) => response,
            Err(mut failed) => match failed.take_message() {
                // Never sent: the server had closed a connection that lay idle.
                Some(unsent) if was_kept => {
                    sender = self.connect().await?;
                    let response = sender.send_request(unsent).await;
                    response.map_err(|error| self.server.unanswered(true, error))?
                }
                _ => return Err(self.server.unanswered(true, self.told(&failed.into_error()))),
            },
        };
        let answer = self.read(response).await?;
        self.sender = Some(sender);
        Ok(answer)
    }

    /// Returns why a request failed; what is no HTTP may be TLS.
    fn told(&self, error: &hyper::Error) -> String {
        let may_be_tls = error.is_parse() && self.server.tls_name.is_none();
        let hint =
            if may_be_tls { ": it does not speak HTTP; if it speaks TLS, name it with https://" } else { "" };
        format!("{error}{hint}")
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Unanswered> {
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.server.address)).await;
        let stream = match connected {
            Err(_) => return Err(self.server.unanswered(false, "it does not accept the connection")),
            Ok(Err(error)) => return Err(self.server.unanswered(false, error)),
            Ok(Ok(stream)) => stream,
        };
        stream.set_nodelay(true).map_err(|error| self.server.unanswered(false, error))?;
        let Some(name) = &self.server.tls_name else { return self.begin(stream).await };
        let failed =
            |tls::Failed { reason, remedy }| Unanswered { remedy, ..self.server.unanswered(true, reason) };
        let config = tls::config().map_err(failed)?;
        let secured =
            timeout(CONNECT_TIMEOUT, TlsConnector::from(config).connect(name.clone(), stream)).await;
        let secured = secured.map_err(|_| self.server.unanswered(true, "it does not answer in TLS"))?;
        self.begin(secured.map_err(|error| failed(tls::complaint(&error)))?).await
    }

    async fn begin<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>, Unanswered>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshaken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshaken.map_err(|error| self.server.unanswered(true, error))?;
        tokio::spawn(async move {
            // The request that was under way reports the same failure to its caller.
            connection.await.unwrap_or_else(|error| tracing::debug!("a connection ended: {error}"));
        });
        Ok(sender)
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, Unanswered> {
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let date = response.headers().get(DATE).and_then(|value| date(value.to_str().ok()?));
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| self.server.unanswered(true, error))?.to_bytes();
        Ok(Answer { status, retry_after: seconds.map(Duration::from_secs), date, body })
    }
}

/// Reads a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<Timestamp> {
    let read = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp(read.timestamp().as_millisecond()))
}

/// Returns a text as it may stand in a query or path segment.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
pub(crate) mod flaky;
#[cfg(test)]
mod tests;
