//! The ways in: who is let in, and the addresses that are listened on.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use sg_http::server::{Reserved, Server};
use sg_http::{App, Auth, Each, Guard, Limits, Places, Stopwatch, Tls, Turns, draw_key};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::config::auth::unguarded;
use crate::config::settings::Listen;
use crate::exit;
use crate::wire::{Failure, Parts, patiently};

/// What of the ways in is had before anything is made on disk: a port that is taken and a certificate that is bad leave
/// nothing behind.
pub(crate) struct Addresses {
    taken: Vec<Reserved>,
    /// One for each address; `None` where it speaks plainly.
    pairs: Vec<Option<Arc<Tls>>>,
}

/// The ways in, before anything is listened on.
pub(crate) struct Entry {
    pub(crate) guard: Arc<Guard>,
    pub(crate) addresses: Addresses,
}

/// Takes every address and reads every certificate.
pub(crate) async fn take(settings: &Settings) -> Result<Addresses, Failure> {
    let pairs = open_pairs(settings);
    let pairs = pairs.map_err(|error| Failure { code: exit::CONFIGURATION, error })?;
    let mut taken = Vec::new();
    for Listen { address, .. } in &settings.listen {
        let reserved = Reserved::take(address).await;
        taken.push(reserved.map_err(|error| not_to_be_had(address, &error))?);
    }
    Ok(Addresses { taken, pairs })
}

fn not_to_be_had(address: &str, error: &std::io::Error) -> Failure {
    let mend = match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there, maybe another streamgauge: stop it, or choose another port with --listen, or port 0 for a free one"
        }
        ErrorKind::PermissionDenied => {
            "choose a port from 1024 on with --listen, or allow this one to the process"
        }
        _ => "choose another with --listen",
    };
    let error = anyhow::anyhow!("listening on {address}: {error}; {mend}");
    Failure { code: exit::UNAVAILABLE, error }
}

/// Reads the keys.
pub(crate) async fn open(settings: &Settings, parts: &Parts, addresses: Addresses) -> Result<Entry, Failure> {
    Ok(Entry { guard: guard(settings, parts).await?, addresses })
}

/// Makes the guard, and refuses to serve other machines while nobody has a key.
async fn guard(settings: &Settings, parts: &Parts) -> Result<Arc<Guard>, Failure> {
    let own = draw_key().map_err(|error| Failure { code: exit::INTERNAL, error: error.into() })?;
    let (_, own) = own;
    let auth = settings.auth.clone();
    let (store, clock) = (parts.keys.clone(), parts.clock.clone());
    let guard = Arc::new(Guard::new(auth, settings.is_metrics_open, own, store, clock));
    let reached = settings.listen.iter().find(|listen| !listen.is_loopback());
    match (&settings.auth, reached) {
        (Auth::Off, _) => {}
        (Auth::Keys { given: None }, Some(listen)) => {
            patiently("reading the keys", || guard.refresh()).await?;
            if guard.is_open() {
                let error = anyhow::anyhow!("{}", unguarded(&listen.address));
                return Err(Failure { code: exit::CONFIGURATION, error });
            }
        }
        // Nobody is let in by mistake while the store is away: it is asked again every few seconds.
        _ => {
            if let Err(error) = guard.refresh().await {
                tracing::warn!("reading the keys: {error}; trying again");
            }
        }
    }
    Ok(guard)
}

/// Makes the limits of senders.
pub(crate) fn limits(settings: &Settings) -> Limits {
    let limits = &settings.limits;
    let began = Instant::now();
    let stopwatch: Stopwatch = Box::new(move || began.elapsed());
    Limits::new(limits.key, limits.address, limits.trusted_proxies.clone(), stopwatch)
}

/// Makes the turns of questions.
pub(crate) fn questions(settings: &Settings) -> Turns {
    Turns::new(settings.limits.questions as usize, settings.limits.questions_waiting as usize)
}

fn places(settings: &Settings) -> Places {
    let all = settings.connections_max as usize;
    let given = settings.limits.address_connections;
    let each = Each {
        // One address cannot take all places.
        max: given.map_or(all.div_ceil(2), |given| given as usize),
        spares_loopback: given.is_none(),
        spared: settings.limits.trusted_proxies.clone(),
    };
    Places::new(all, each)
}

/// Listens on every address; returns their URLs.
pub(crate) fn listen(
    settings: &Settings,
    (app, addresses): (&Arc<App>, Addresses),
    stop: &CancellationToken,
    servers: &TaskTracker,
) -> Result<Vec<String>, Failure> {
    let places = places(settings);
    let mut urls = Vec::new();
    let ways = addresses.taken.into_iter().zip(addresses.pairs);
    for (listen, (taken, tls)) in settings.listen.iter().zip(ways) {
        let router = sg_http::router(app.clone(), listen.metrics);
        let bound = Server::listen(taken, router, app.metrics.clone(), places.clone());
        let server = bound.map_err(|error| not_to_be_had(&listen.address, &error))?;
        let local = server.local_address().map_err(|error| not_to_be_had(&listen.address, &error))?;
        urls.push(format!("{}://{local}", listen.scheme()));
        if let Some(tls) = &tls {
            servers.spawn(tls.clone().run(stop.clone()));
        }
        servers.spawn(server.with_tls(tls).run(stop.clone()));
    }
    servers.close();
    Ok(urls)
}

/// Reads the certificates of all addresses.
fn open_pairs(settings: &Settings) -> anyhow::Result<Vec<Option<Arc<Tls>>>> {
    let open = |listen: &Listen| {
        let Some((cert, key)) = &listen.tls else { return Ok(None) };
        let tls = Tls::open(cert, key);
        Ok(Some(Arc::new(tls.map_err(|error| anyhow::anyhow!("TLS on {}: {error}", listen.address))?)))
    };
    settings.listen.iter().map(open).collect()
}

/// Returns where the process sends events to itself, and by which key: in plain HTTP, where it has such an address.
pub(crate) fn own(urls: &[String], app: &App) -> (String, String) {
    let plain = urls.iter().find(|url| url.starts_with("http://"));
    (plain.unwrap_or(&urls[0]).clone(), app.guard.own_key().to_owned())
}
