//! A blocking connection to the server under load, with or without TLS.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::worker::ANSWER_TIMEOUT;
use crate::client::{Server, tls};

/// A server that does not accept for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection.
pub(super) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Through TLS.
    Secured(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    /// Those of the system and of TLS.
    pub(super) fn connect(server: &Server) -> io::Result<Stream> {
        let mut stream = reach(&server.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let Some(name) = &server.tls_name else { return Ok(Stream::Plain(stream)) };
        let config = tls::config().map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(config, name.clone()).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            let done = connection.complete_io(&mut stream);
            done.map_err(|error| io::Error::new(error.kind(), tls::complaint(&error)))?;
        }
        Ok(Stream::Secured(Box::new(StreamOwned::new(connection, stream))))
    }
}

/// Connects to the first of a name's addresses that accepts.
fn reach(name: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the server's name has no address");
    for address in name.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(into),
            Stream::Secured(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Secured(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Secured(stream) => stream.flush(),
        }
    }
}
