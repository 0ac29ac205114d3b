//! A blocking HTTP/1.1 client over one kept connection. Retries nothing: a request without an answer is an error, and
//! what became of it is unknown, which is what the tests of crashes are about.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer should take.
const ANSWER: Duration = Duration::from_secs(30);

/// What the server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In the order sent, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns the first header of that name, given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON; panics when it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }
}

/// A connection, made when first needed and again after a failure.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// Returns a client that has not connected yet.
    pub(crate) fn new(address: SocketAddr) -> Client {
        Client { address, stream: None }
    }

    /// Asks for a path.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.request("GET", path, &[], &[])
    }

    /// Posts a body; JSON unless a header says otherwise.
    pub(crate) fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let is_typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let mut all = headers.to_vec();
        if !is_typed {
            all.push(("content-type", "application/json"));
        }
        self.request("POST", path, &all, body)
    }

    /// Sends a request and reads its answer.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address)?,
        };
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address).into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if method != "GET" {
            bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        // An answer that refuses the request may come before all of it is sent.
        let sent = stream.get_mut().write_all(&bytes);
        let answer = read_answer(&mut stream).map_err(|error| sent.err().unwrap_or(error))?;
        if answer.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

/// Connects with time-outs, for requests and for bytes that are none.
pub(crate) fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    Ok(BufReader::new(stream))
}

/// Reads one answer.
pub(crate) fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| bad(format!("no status in {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let header = line(stream)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(|| bad(format!("no header: {header:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = line(stream)?;
            let bytes =
                usize::from_str_radix(&size, 16).map_err(|_| bad(format!("no chunk size: {size:?}")))?;
            let mut chunk = vec![0; bytes];
            stream.read_exact(&mut chunk)?;
            line(stream)?;
            if bytes == 0 {
                return Ok(answer);
            }
            answer.body.extend(chunk);
        }
    }
    match answer.header("content-length").map(str::parse) {
        Some(Ok(bytes)) => {
            answer.body = vec![0; bytes];
            stream.read_exact(&mut answer.body)?;
        }
        Some(Err(error)) => return Err(bad(format!("content-length: {error}"))),
        None if status == 204 || status == 304 => {}
        None => {
            stream.read_to_end(&mut answer.body)?;
        }
    }
    Ok(answer)
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}
