//! How commands speak to a server over TLS: they trust whom this machine trusts, or, where `SSL_CERT_FILE` is set, whom
//! that file names; and they say what mends it where they trust nobody they meet.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// Why no connection came about.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) reason: String,
    /// What mends it, where that is known.
    pub(crate) remedy: Option<&'static str>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        self.remedy.map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

impl std::error::Error for Failed {}

/// Returns how to connect: who is trusted is read once.
///
/// # Errors
/// When nobody could be trusted.
pub(crate) fn config() -> Result<Arc<ClientConfig>, Failed> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, Failed>> = OnceLock::new();
    CONFIG.get_or_init(read).clone()
}

fn read() -> Result<Arc<ClientConfig>, Failed> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let why = if why.is_empty() { "there are none".to_owned() } else { why.join("; ") };
        return Err(Failed {
            reason: format!("no certificates to trust can be read: {why}"),
            remedy: Some("name a file of them in SSL_CERT_FILE"),
        });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| Failed { reason: error.to_string(), remedy: None })?;
    Ok(Arc::new(versions.with_root_certificates(roots).with_no_client_auth()))
}

/// Returns the name that a server's certificate must have.
///
/// # Errors
/// When no certificate can have it.
pub(crate) fn name(host: &str) -> anyhow::Result<ServerName<'static>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned());
    name.map_err(|_| anyhow::anyhow!("no certificate can be of the host {host}"))
}

/// Returns why a handshake failed, and what mends it.
pub(crate) fn complaint(error: &std::io::Error) -> Failed {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let remedy = match cause {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => Some("name it in --url as its certificate does"),
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Some("give it a new certificate: it is taken up without a restart"),
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
            if error.to_string().contains("CaUsedAsEndEntity") =>
        {
            Some(
                "its certificate is made to issue others: make one with basicConstraints CA:FALSE (docs/security.md)",
            )
        }
        Some(rustls::Error::InvalidCertificate(_)) => Some(
            "to trust it, set SSL_CERT_FILE to a file with its certificate, or with its issuer's, in PEM",
        ),
        Some(rustls::Error::InvalidMessage(_)) => Some("it does not speak TLS there: name it with http://"),
        _ => None,
    };
    Failed { reason: format!("no TLS came about: {error}"), remedy }
}
