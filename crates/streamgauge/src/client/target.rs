//! The `--url` of the commands that talk to a running server, and whether it was typed: what somebody typed goes before
//! the environment, a default does not.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::Server;

const URL: &str = "url";
const DEFAULT: &str = "http://127.0.0.1:8080";

/// Which server a command talks to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Its address.
    pub(crate) url: String,
    /// Whether that was typed.
    pub(crate) is_typed: bool,
}

impl Target {
    /// Returns the server, with the key from the environment.
    ///
    /// # Errors
    /// When the URL is none of http or https, or the key cannot stand in a header.
    pub(crate) fn server(&self) -> anyhow::Result<Server> {
        let key = std::env::var("STREAMGAUGE_KEY").ok().filter(|key| !key.is_empty());
        Server::new(&self.url, key.as_deref())
    }

    /// Returns the target that is meant when none was typed and another than the usual one is the default.
    pub(crate) fn or_default(&self, url: &str) -> Target {
        if self.is_typed { self.clone() } else { Target { url: url.to_owned(), is_typed: false } }
    }
}

impl clap::Args for Target {
    fn augment_args(command: Command) -> Command {
        command.arg(
            Arg::new(URL)
                .long(URL)
                .value_name("URL")
                .default_value(DEFAULT)
                .value_parser(checked_url)
                .help("The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and for https:// a file of certificates to trust from SSL_CERT_FILE"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Target::augment_args(command)
    }
}

impl clap::FromArgMatches for Target {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Target, clap::Error> {
        let url = matches.get_one::<String>(URL).cloned().unwrap_or_else(|| DEFAULT.to_owned());
        Ok(Target { url, is_typed: matches.value_source(URL) == Some(ValueSource::CommandLine) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Target::from_arg_matches(matches)?;
        Ok(())
    }
}

fn checked_url(url: &str) -> Result<String, String> {
    Server::new(url, None).map(|_| url.to_owned()).map_err(|error| format!("{error:#}"))
}
