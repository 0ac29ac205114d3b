//! Whether each address can be listened on, or who already does.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::time::Duration;

use tokio::time::timeout;

use super::{Finding, process};
use crate::client::{Connection, Server};
use crate::config::Settings;

const ABOUT: &str = "ports";
/// How long whoever listens may take to say who it is.
const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// Looks at every address.
pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for listen in &settings.listen {
        let resolved = listen.address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        findings.push(match resolved {
            Some(address) => of_address(&listen.address, address).await,
            None => {
                Finding::fail(ABOUT, format!("{} has no address", listen.address), "streamgauge config check")
            }
        });
    }
    findings
}

async fn of_address(text: &str, address: SocketAddr) -> Finding {
    // Let go at once: nothing was accepted on it, so that it is free again.
    let error = match TcpListener::bind(address) {
        Ok(_) => return Finding::ok(ABOUT, format!("{text} is free")),
        Err(error) => error,
    };
    let elsewhere = "streamgauge serve --listen HOST:PORT with another port";
    if error.kind() != ErrorKind::AddrInUse {
        return Finding::fail(ABOUT, format!("{text} cannot be listened on: {error}"), elsewhere);
    }
    let by = process::listener(address).map(|process| format!(", {process}")).unwrap_or_default();
    match version_of(address).await {
        Some(version) => {
            Finding::ok(ABOUT, format!("{text} is taken by a running Streamgauge {version}{by}"))
        }
        None => Finding::fail(ABOUT, format!("{text} is taken by another program{by}"), elsewhere),
    }
}

/// Returns the version of the server on an address, where it is one of us.
async fn version_of(address: SocketAddr) -> Option<String> {
    let mut here = address;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => here.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => here.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let server = Server::new(&format!("http://{here}"), None).ok()?;
    let mut connection = Connection::new(&server);
    let answer = timeout(ANSWER_WAIT, connection.get("/healthz")).await.ok()?.ok()?;
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    // What only we say of ourselves.
    body.get("backends")?.get("log")?;
    body.get("version")?.as_str().map(str::to_owned)
}
