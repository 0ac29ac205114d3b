//! A way to a server on which things go wrong: answers of 503, answers that are lost after the work was done,
//! connections that break, nobody there. Knows nothing of S3.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// They reach the server.
    None,
    /// Every request is answered 503.
    Busy,
    /// Requests reach the server, their answers nobody.
    Deaf,
    /// They break at once.
    Reset,
}

/// Between two looks at whether the fault is another.
const LOOK: Duration = Duration::from_millis(20);

/// The way.
pub(super) struct Way {
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    met: Arc<AtomicU64>,
}

impl Way {
    /// Opens a way to a server named by its URL.
    pub(super) fn to(url: &str) -> Way {
        let target: SocketAddr =
            url.trim_start_matches("http://").parse().expect("the URL is an address and a port");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let (fault, met) = (Arc::new(Mutex::new(Fault::None)), Arc::new(AtomicU64::new(0)));
        let (known, counted) = (fault.clone(), met.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (known, counted) = (known.clone(), counted.clone());
                std::thread::spawn(move || {
                    let fault = *known.lock().unwrap_or_else(PoisonError::into_inner);
                    if fault != Fault::None {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    // A connection that breaks is what this is for.
                    carry(client, target, fault, &known).ok();
                });
            }
        });
        Way { address, fault, met }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes connections, also those that stand, meet a fault from now on.
    pub(super) fn becomes(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Returns how many connections met a fault.
    pub(super) fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }
}

fn carry(mut client: TcpStream, target: SocketAddr, fault: Fault, known: &Mutex<Fault>) -> io::Result<()> {
    match fault {
        Fault::Reset => return client.shutdown(Shutdown::Both),
        Fault::Busy => {
            client.set_read_timeout(Some(LOOK))?;
            // What is left unread would break the connection before the answer is read.
            let mut request = [0; 64 << 10];
            while client.read(&mut request).is_ok_and(|bytes| bytes > 0) {}
            client.write_all(b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
            return client.shutdown(Shutdown::Both);
        }
        Fault::None | Fault::Deaf => {}
    }
    let mut server = TcpStream::connect(target)?;
    client.set_read_timeout(Some(LOOK))?;
    server.set_read_timeout(Some(LOOK))?;
    let mut bytes = [0; 64 << 10];
    loop {
        for is_request in [true, false] {
            let (from, to) = if is_request { (&mut client, &mut server) } else { (&mut server, &mut client) };
            match from.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) if fault == Fault::Deaf && !is_request => return to.shutdown(Shutdown::Both),
                Ok(count) => to.write_all(&bytes[..count])?,
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if *known.lock().unwrap_or_else(PoisonError::into_inner) != fault {
            return Ok(());
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
