//! Several processes on a real broker and a real PostgreSQL: whatever happens to them, every accepted event is counted
//! once, and no partition stands still for ever.

mod archiving;
mod chaos;
mod deletes;
mod equal;
mod keys;
mod letters;
mod live;
mod moving;
mod outages;
mod outputs;
mod own_names;
mod rebuilds;
mod roles;
mod topics;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::harness::dice;
use crate::harness::services::Services;
use crate::harness::{HOURLY, Launch, Server};

/// A broker, a database and a topic for one test, and how its processes are configured.
pub(crate) struct Cluster {
    services: Services,
    name: String,
    toml: String,
}

/// These tests keep both cores busy: one at a time.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    pub(crate) fn new(services: Services) -> Cluster {
        let name = format!("c{}_{:x}", std::process::id(), dice::seed("cluster"));
        let toml = format!(
            r#"
            log = "kafka://{}"
            store = "{}"
            [kafka]
            group = "{name}"
            session_timeout = "2s"
            [[stream]]
            name = "events"
            topic = "{name}"
            paths = ["/events"]
            partition_by = ["session_id", "user_id"]
            raw_table = {{ name = "events", keep = "7d" }}
            dedup = {{ records = 5_000_000, horizon = "24h" }}
            idle_timeout = "2s"
            {HOURLY}"#,
            services.kafka(),
            services.database(&name),
        );
        Cluster { services, name, toml }
    }

    /// Returns how a process with these roles is started.
    fn launch(&self, roles: &str) -> Launch {
        Launch::new().config(&self.toml).args(&["--roles", roles])
    }

    /// The same as a member of another group: two deployments on one store.
    fn launch_as(&self, roles: &str, group: &str) -> Launch {
        let toml = self
            .toml
            .replace(&format!("group = \"{}\"", self.name), &format!("group = \"{group}_{}\"", self.name));
        Launch::new().config(&toml).args(&["--roles", roles])
    }

    /// Configures the processes otherwise: with these settings at the head, and the streams and rollups of a topic.
    pub(crate) fn redefine(&mut self, head: &str, definitions: &dyn Fn(&str) -> String) {
        let (known, _) = self.toml.split_once("[[stream]]").expect("there is a stream");
        self.toml = format!("{head}\n{known}{}", definitions(&self.name));
    }

    pub(crate) fn start(&self, roles: &str) -> Server {
        Server::ready(&self.launch(roles))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // On servers that outlive the test nothing of it is left; both fail only where the server is gone.
        self.services.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name));
    }
}

/// Returns the sum of a counter over processes.
fn counted(servers: &[Server], metric: &str) -> u64 {
    let value = |server: &Server| {
        let text = String::from_utf8_lossy(&server.get("/metrics").body).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse::<u64>().ok());
        line.unwrap_or_else(|| panic!("no {metric} in\n{text}"))
    };
    servers.iter().map(value).sum()
}
