//! The flags that say what a server is made of, laid over file and environment: those of `serve`, and of who looks at what
//! `serve` would do.

use std::path::{Path, PathBuf};

use toml::Value;

use crate::cmd::config as config_cmd;
use crate::config::settings::listen_value;
use crate::config::{Layers, Origin, Settings};

/// What a server is made of.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The configuration file; streamgauge.toml where it exists.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A file of variables, NAME=value by line, that counts as part of the environment.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Where the log and the database live.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// An address to listen on, HOST:PORT; port 0 takes a free one. May be given several times. With `,metrics=rows`
    /// behind it a bare /metrics answers rows there instead of Prometheus text; port 8000 does so by default.
    #[arg(long, value_name = "ADDR[,metrics=rows]")]
    listen: Vec<String>,
    /// A certificate in PEM, the server's own first: every address speaks TLS, but for one with `,tls=off` behind it.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM. Both files are looked at every few seconds, and a renewed pair is served.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The log: embedded:, embedded:PATH or kafka://HOST:PORT.
    #[arg(long, value_name = "URL")]
    log: Option<String>,
    /// The store: sqlite:, sqlite:PATH or postgres://USER@HOST/DATABASE.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// The archive of raw events: off, file:FOLDER or s3://BUCKET[/PREFIX].
    #[arg(long, value_name = "URL")]
    archive: Option<String>,
    /// What this process does: ingest,process,query,archive. Several processes share the work on Kafka and PostgreSQL.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<String>,
    /// Also sends made-up events, so that there is something to see, and archives into the data directory.
    #[arg(long)]
    pub(crate) demo: bool,
}

impl Flags {
    /// Returns everything that was set, with the flags on top, and what is wrong with the environment.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn layers(&self) -> anyhow::Result<(Layers, Vec<String>)> {
        let (mut layers, errors) = config_cmd::layers(self.config.as_deref(), self.env_file.as_deref())?;
        let texts = [
            ("log", &self.log, "--log"),
            ("store", &self.store, "--store"),
            ("archive", &self.archive, "--archive"),
        ];
        for (key, value, flag) in texts {
            if let Some(value) = value {
                layers.flag(key, Value::String(value.clone()), flag);
            }
        }
        if let Some(dir) = &self.data_dir {
            layers.flag("data_dir", Value::String(dir.display().to_string()), "--data-dir");
        }
        if !self.listen.is_empty() {
            layers.flag("listen", listen_value(&self.listen), "--listen");
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            lay_tls(&mut layers, cert, key);
        }
        if !self.roles.is_empty() {
            let roles = self.roles.iter().cloned().map(Value::String).collect();
            layers.flag("roles", Value::Array(roles), "--roles");
        }
        if self.demo && layers.origin("archive") == Origin::Default {
            let dir = layers.table.get("data_dir").and_then(Value::as_str).unwrap_or(".");
            layers.flag("archive", Value::String(format!("file:{dir}/archive")), "--demo");
        }
        layers.complete_store();
        Ok((layers, errors))
    }
}

/// Returns the settings that the layers make, or everything that is wrong with them.
pub(crate) fn resolve((layers, errors): &(Layers, Vec<String>)) -> Result<Settings, Vec<String>> {
    match Settings::resolve(layers) {
        Ok(settings) if errors.is_empty() => Ok(settings),
        Ok(_) => Err(errors.clone()),
        Err(more) => Err([errors.clone(), more].concat()),
    }
}

/// Lays `--tls-cert` and `--tls-key` over every address that does not say otherwise.
fn lay_tls(layers: &mut Layers, cert: &Path, key: &Path) {
    let text = |path: &Path| Value::String(path.display().to_string());
    let pair = [("cert".to_owned(), text(cert)), ("key".to_owned(), text(key))];
    let pair = Value::Table(pair.into_iter().collect());
    let listen = layers.table.get_mut("listen").and_then(Value::as_array_mut);
    for item in listen.into_iter().flatten().filter_map(Value::as_table_mut) {
        item.entry("tls").or_insert_with(|| pair.clone());
    }
}
