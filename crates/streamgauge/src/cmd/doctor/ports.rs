//! Whether each address can be listened on, or who already does.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::Finding;
use super::process::{self, Holder};
use crate::client::{Connection, Server};
use crate::config::Settings;
use crate::config::settings::Listen;

const ABOUT: &str = "ports";
/// How long whoever listens may take to say who it is.
const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// Looks at every address.
pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for listen in &settings.listen {
        let resolved = listen.address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        findings.push(match resolved {
            Some(address) => of_address(listen, address, &settings.data_dir).await,
            None => {
                Finding::fail(ABOUT, format!("{} has no address", listen.address), "streamgauge config check")
            }
        });
    }
    findings
}

async fn of_address(listen: &Listen, address: SocketAddr, data_dir: &Path) -> Finding {
    let text = &listen.address;
    // Let go at once: nothing was accepted on it, so that it is free again.
    let error = match TcpListener::bind(address) {
        Ok(_) => return Finding::ok(ABOUT, format!("{text} is free")),
        Err(error) => error,
    };
    let elsewhere = "streamgauge serve --listen HOST:PORT with another port";
    if error.kind() != ErrorKind::AddrInUse {
        return Finding::fail(ABOUT, format!("{text} cannot be listened on: {error}"), elsewhere);
    }
    let by = process::listener(address);
    let by_whom = by.as_ref().map(|process| format!(", {process}")).unwrap_or_default();
    match version_of(listen, address).await {
        Ok(Some(version)) => {
            Finding::ok(ABOUT, format!("{text} is taken by a running Streamgauge {version}{by_whom}"))
        }
        // A certificate is seldom of an address, and trusted by few: who it is, its lock tells.
        _ if by.as_ref().is_some_and(|by| {
            process::lock_holder(&data_dir.join("lock")) == Holder::Process(by.clone())
        }) =>
        {
            let shown = data_dir.display();
            Finding::ok(ABOUT, format!("{text} is taken by the server that works in {shown}{by_whom}"))
        }
        Err(why) if listen.tls.is_some() => {
            let says = format!("{text} is taken{by_whom}, and who it is cannot be asked: {why}");
            Finding::warn(ABOUT, says, "name the server with --url, as its certificate does")
        }
        Ok(None) | Err(_) => {
            Finding::fail(ABOUT, format!("{text} is taken by another program{by_whom}"), elsewhere)
        }
    }
}

/// Returns the version of the server on an address, where it is one of us, or why it cannot be asked.
async fn version_of(listen: &Listen, address: SocketAddr) -> Result<Option<String>, String> {
    let mut here = address;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => here.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => here.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let scheme = listen.scheme();
    let server = Server::new(&format!("{scheme}://{here}"), None).map_err(|error| format!("{error:#}"))?;
    let mut connection = Connection::new(&server);
    let answered = timeout(ANSWER_WAIT, connection.get("/healthz")).await;
    let answered = answered.map_err(|_| "it does not answer".to_owned())?;
    let answer = answered.map_err(|unanswered| unanswered.to_string())?;
    Ok(answer.version())
}
