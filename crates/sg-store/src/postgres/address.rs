//! From a URL to what connects: the server, the database, and how much of TLS is asked for. Connects nowhere.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use sg_core::ports::{ErrorKind, PortError};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long making a connection may take: a server that is up answers at once.
pub(crate) const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// After how long an answer that does not come means that the other side is gone.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Where Linux distributions keep the authorities that they trust: what `sslrootcert=system` means.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How the server is reached.
#[derive(Clone)]
pub(crate) struct Address {
    /// Server, user, password and database.
    pub(crate) config: Config,
    /// What makes a connection private.
    pub(crate) tls: MakeRustlsConnect,
    /// The database's name.
    pub(crate) database: String,
}

fn invalid(what: impl std::fmt::Display) -> PortError {
    PortError::new(ErrorKind::Invalid, format!("reading the store's URL: {what}"))
}

impl Address {
    /// Reads a URL `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…`; reads the certificates' file
    /// and waits for it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when anything in it cannot be used; never says the password.
    pub(crate) fn read(url: &str) -> Result<Address, PortError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(invalid("it begins neither with postgres:// nor with postgresql://"));
        }
        let (bare, security) = Security::split(url)?;
        let mut config = Config::from_str(&bare).map_err(|error| {
            invalid(std::error::Error::source(&error).map_or(error.to_string(), <_>::to_string))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(invalid("it names no host, write postgres://user@host/database"));
        }
        let Some(database) = config.get_dbname().or(config.get_user()).map(str::to_owned) else {
            return Err(invalid("it names no database, write postgres://user@host/database"));
        };
        config.dbname(&database);
        if config.get_application_name().is_none() {
            config.application_name("streamgauge");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIME_MAX);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE_MAX);
        }
        config.keepalives_idle(SILENCE_MAX.min(config.get_keepalives_idle()));
        let is_socket = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        // TLS has no meaning on a socket of this machine, as in PostgreSQL's own library.
        config.ssl_mode(if is_socket { SslMode::Disable } else { security.mode });
        let tls = MakeRustlsConnect::new(security.client_config()?);
        Ok(Address { config, tls, database })
    }
}

/// What the URL asks of TLS.
struct Security {
    mode: SslMode,
    verifies: bool,
    roots: Option<String>,
}

impl Security {
    /// Takes `sslmode` and `sslrootcert` out of a URL: the driver does not know all of their values.
    fn split(url: &str) -> Result<(String, Security), PortError> {
        let mut security = Security { mode: SslMode::Prefer, verifies: false, roots: None };
        let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), security)) };
        let mut rest: Vec<&str> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=').unwrap_or((part, "")) {
                ("sslmode", mode) => (security.mode, security.verifies) = mode_of(mode)?,
                ("sslrootcert", path) => security.roots = Some(unescaped(path)?),
                _ => rest.push(part),
            }
        }
        if security.roots.is_some() && !security.verifies {
            return Err(invalid("sslrootcert has no effect without sslmode=verify-full, add it"));
        }
        let bare = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        Ok((bare, security))
    }

    fn client_config(&self) -> Result<ClientConfig, PortError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| PortError::from_source(ErrorKind::Closed, "setting up TLS", error))?;
        if !self.verifies {
            let anyone = Arc::new(Anyone(provider));
            return Ok(builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth());
        }
        let roots = match self.roots.as_deref() {
            None => return Err(invalid("sslmode=verify-full needs sslrootcert=FILE, or sslrootcert=system")),
            Some("system") => SYSTEM_ROOTS
                .into_iter()
                .find(|path| std::path::Path::new(path).try_exists().unwrap_or(false))
                .ok_or_else(|| {
                    invalid("sslrootcert=system: this system has no list of authorities, name a file")
                })?,
            Some(path) => path,
        };
        let fault = |error: &dyn std::fmt::Display| {
            invalid(format!("the certificates of sslrootcert={roots}: {error}"))
        };
        let mut store = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(roots).map_err(|error| fault(&error))? {
            let certificate = certificate.map_err(|error| fault(&error))?;
            store.add(certificate).map_err(|error| fault(&error))?;
        }
        if store.is_empty() {
            return Err(fault(&"there is none in it"));
        }
        Ok(builder.with_root_certificates(store).with_no_client_auth())
    }
}

fn mode_of(mode: &str) -> Result<(SslMode, bool), PortError> {
    match mode {
        "disable" => Ok((SslMode::Disable, false)),
        "prefer" => Ok((SslMode::Prefer, false)),
        "require" => Ok((SslMode::Require, false)),
        "verify-full" => Ok((SslMode::Require, true)),
        other => Err(invalid(format!("sslmode={other} is none of disable, prefer, require, verify-full"))),
    }
}

/// Returns a part of a URL with its `%xx` resolved.
fn unescaped(text: &str) -> Result<String, PortError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let mut byte = *first;
        if byte == b'%' {
            let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            byte = value
                .ok_or_else(|| invalid(format!("{text:?} has a % that no two hexadecimal digits follow")))?;
            rest = &tail[2..];
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).map_err(|_| invalid(format!("{text:?} is no text")))
}

/// Accepts every certificate, as `prefer` and `require` do in PostgreSQL's own library: they keep out who listens, not
/// who stands between. Signatures are checked all the same, so that whoever shows a certificate has its key.
#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
