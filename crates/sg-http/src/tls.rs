//! TLS at the doors: a certificate and its key from two files, looked at again every few seconds, so that a renewed pair is
//! served without a restart. Connections that are there keep what they began with. Clients choose between HTTP/2 and HTTP/1.1.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at: a renewed certificate is served soon, and reading two small files costs nothing.
const LOOK: Duration = Duration::from_secs(5);

/// HTTP/2, as the two sides of a handshake call it.
pub(crate) const HTTP_2: &[u8] = b"h2";

/// Why a pair cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("reading {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM", path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The two do not go together, or are of a kind that nobody speaks.
    #[error("{} and {} are no pair that can be served: {source}", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The bytes of both files. Holds a private key: shown nowhere.
#[derive(PartialEq, Eq)]
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A pair that is served.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    serving: RwLock<Serving>,
}

struct Serving {
    acceptor: TlsAcceptor,
    /// What was last looked at, whether it could be served or not.
    seen: Files,
}

impl Tls {
    /// Reads a pair: a chain of certificates, the server's own first, and its private key, both in PEM.
    ///
    /// # Errors
    /// When a file cannot be read, holds something else, or the two do not go together.
    pub fn open(cert: &Path, key: &Path) -> Result<Tls, TlsError> {
        let seen = read(cert, key)?;
        let acceptor = acceptor(cert, key, &seen)?;
        let serving = RwLock::new(Serving { acceptor, seen });
        Ok(Tls { cert: cert.to_owned(), key: key.to_owned(), serving })
    }

    /// Returns what takes new connections.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.serving.read().unwrap_or_else(PoisonError::into_inner).acceptor.clone()
    }

    /// Looks at the files; returns whether there is a new pair to serve.
    ///
    /// # Errors
    /// As [`Tls::open`], once for the same files; the pair before is served on.
    pub fn look(&self) -> Result<bool, TlsError> {
        let seen = read(&self.cert, &self.key)?;
        if seen == self.serving.read().unwrap_or_else(PoisonError::into_inner).seen {
            return Ok(false);
        }
        let made = acceptor(&self.cert, &self.key, &seen);
        let mut serving = self.serving.write().unwrap_or_else(PoisonError::into_inner);
        serving.seen = seen;
        serving.acceptor = made?;
        Ok(true)
    }

    /// Looks at the files again and again until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let tls = self.clone();
            let cert = self.cert.display();
            match tokio::task::spawn_blocking(move || tls.look()).await {
                Ok(Ok(true)) => tracing::info!("{cert}: the new certificate is served"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::error!("{error}; the certificate before is served on"),
                Err(error) => tracing::error!("looking at {cert}: {error}"),
            }
        }
    }
}

fn read(cert: &Path, key: &Path) -> Result<Files, TlsError> {
    let bytes =
        |path: &Path| std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source });
    Ok(Files { cert: bytes(cert)?, key: bytes(key)? })
}

fn acceptor(cert: &Path, key: &Path, files: &Files) -> Result<TlsAcceptor, TlsError> {
    let nothing = |path: &Path, what| TlsError::Content { path: path.to_owned(), what };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&files.cert).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| nothing(cert, "certificate"))?;
    let secret = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| nothing(key, "private key"))?;
    let unfit = |source| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.and_then(|config| config.with_no_client_auth().with_single_cert(chain, secret));
    let mut config = config.map_err(unfit)?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests;
