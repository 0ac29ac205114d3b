//! The ways in: who is let in, and the addresses that are listened on.

use std::sync::Arc;

use sg_http::server::Server;
use sg_http::{App, Auth, Guard, draw_key};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::config::settings::unguarded;
use crate::exit;
use crate::wire::{Failure, Parts, patiently};

/// Makes the guard, and refuses to serve other machines while nobody has a key.
pub(crate) async fn guard(settings: &Settings, parts: &Parts) -> Result<Arc<Guard>, Failure> {
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

/// Listens on every address; returns their URLs.
pub(crate) async fn listen(
    settings: &Settings,
    app: &Arc<App>,
    stop: &CancellationToken,
    servers: &TaskTracker,
) -> anyhow::Result<Vec<String>> {
    let places = Arc::new(Semaphore::new(settings.connections_max as usize));
    let mut urls = Vec::new();
    for listen in &settings.listen {
        let router = sg_http::router(app.clone(), listen.metrics);
        let bound = Server::bind(&listen.address, router, app.metrics.clone(), places.clone()).await;
        let server = bound.map_err(|error| {
            anyhow::anyhow!("listening on {}: {error}; choose another with --listen", listen.address)
        })?;
        urls.push(format!("http://{}", server.local_address()?));
        servers.spawn(server.run(stop.clone()));
    }
    servers.close();
    Ok(urls)
}

/// Returns where the process sends events to itself, and by which key.
pub(crate) fn own(urls: &[String], app: &App) -> (String, String) {
    (urls[0].clone(), app.guard.own_key().to_owned())
}
