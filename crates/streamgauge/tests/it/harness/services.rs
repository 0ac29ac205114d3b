//! Real servers beside the one under test: Kafka and PostgreSQL, shared by tests that leave them alone, or started for one
//! test that stops and breaks them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::say;

/// Addresses of real servers; those that were started for this value end with it.
#[derive(Debug)]
pub(crate) struct Services {
    kafka: String,
    postgres: String,
    own: Option<TempDir>,
}

/// A server that can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Kafka,
    Postgres,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Service::Kafka => "kafka",
            Service::Postgres => "postgres",
        }
    }
}

impl Services {
    /// Returns the servers that all tests share; `None` where there are none and need not be.
    pub(crate) fn shared() -> Option<Services> {
        let kafka = variable("STREAMGAUGE_TEST_KAFKA")?;
        let postgres = variable("STREAMGAUGE_TEST_POSTGRES")?;
        Some(Services { kafka, postgres, own: None })
    }

    /// Starts servers of a test's own, which it may stop; `None` where they cannot be and need not be.
    pub(crate) fn own() -> Option<Services> {
        Services::shared()?;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let dir = folder.path().join("servers");
        let started = tool(&["start", &dir.display().to_string(), "kafka", "postgres"]);
        let kafka = found(&started, "STREAMGAUGE_TEST_KAFKA");
        let postgres = found(&started, "STREAMGAUGE_TEST_POSTGRES");
        Some(Services { kafka, postgres, own: Some(folder) })
    }

    /// Returns the broker's address.
    pub(crate) fn kafka(&self) -> &str {
        &self.kafka
    }

    /// Returns the URL of a database on the server, which need not be there.
    pub(crate) fn database(&self, name: &str) -> String {
        let (base, _) = self.postgres.rsplit_once('/').expect("a URL with a database");
        format!("{base}/{name}")
    }

    fn dir(&self) -> String {
        let own = self.own.as_ref().expect("only servers of a test's own can be stopped");
        own.path().join("servers").display().to_string()
    }

    /// Stops a server as a crash would.
    pub(crate) fn crash(&self, service: Service) {
        tool(&["stop", &self.dir(), service.name(), "--now"]);
    }

    /// Starts a server again over its data.
    pub(crate) fn resume(&self, service: Service) {
        tool(&["resume", &self.dir(), service.name()]);
    }

    /// Runs SQL and returns its first column, line by line; `None` while the server does not answer.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> Option<Vec<String>> {
        let url = self.database(database);
        let output =
            Command::new("psql").args([url.as_str(), "-XAtqc", sql]).output().expect("psql can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then(|| text.lines().map(str::to_owned).collect())
    }

    /// Runs one of Kafka's own tools to its end; returns what it printed.
    pub(crate) fn kafka_tool(&self, class: &str, args: &[&str]) -> String {
        self.kafka_tool_fed(class, args, "")
    }

    /// The same with something to read.
    pub(crate) fn kafka_tool_fed(&self, class: &str, args: &[&str], input: &str) -> String {
        let jars = tool(&["jars"]);
        let mut child = Command::new("java")
            .args(["-cp", &format!("{}/*", jars.trim()), class, "--bootstrap-server", &self.kafka])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("java can be run");
        // One that needs no input may be gone before it is written; the end of the pipe is the end of the input.
        child.stdin.take().expect("stdin is piped").write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().expect("java can be waited for");
        assert!(output.status.success(), "{class} {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns the parts of the servers' addresses: host and port of PostgreSQL, and its user.
    pub(crate) fn postgres_parts(&self) -> (String, String, String) {
        let rest = self.postgres.split_once("://").map_or("", |(_, rest)| rest);
        let (user, place) = rest.split_once('@').expect("a URL with a user");
        let (host, port) =
            place.split(['/', '?']).next().unwrap_or_default().split_once(':').expect("a port");
        let user = user.split(':').next().unwrap_or_default();
        (host.to_owned(), port.to_owned(), user.to_owned())
    }

    /// Writes records to a topic as others do, one a line.
    pub(crate) fn produce(&self, topic: &str, lines: &[String]) {
        let jars = tool(&["jars"]);
        let mut child = Command::new("java")
            .args(["-cp", &format!("{}/*", jars.trim()), "org.apache.kafka.tools.ConsoleProducer"])
            .args(["--bootstrap-server", &self.kafka, "--topic", topic])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("java can be run");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(lines.join("\n").as_bytes()).expect("the producer reads its lines");
        drop(stdin);
        assert!(child.wait().expect("the producer can be waited for").success());
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if self.own.is_some() {
            tool(&["end", &self.dir()]);
        }
    }
}

/// An S3 server of a test's own, which the test may stop.
#[derive(Debug)]
pub(crate) struct Store {
    url: String,
    data: PathBuf,
    own: TempDir,
}

impl Store {
    /// Starts one; `None` where it cannot be and need not be.
    pub(crate) fn own() -> Option<Store> {
        variable("STREAMGAUGE_TEST_S3")?;
        let own = tempfile::tempdir().expect("a temporary folder can be made");
        let started = tool(&["start", &own.path().join("servers").display().to_string(), "s3"]);
        let (url, data) =
            (found(&started, "STREAMGAUGE_TEST_S3"), found(&started, "STREAMGAUGE_TEST_S3_FOLDER"));
        Some(Store { url, data: data.into(), own })
    }

    /// Returns the server's URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns where the server keeps the objects, a folder for each bucket.
    pub(crate) fn folder(&self) -> &Path {
        &self.data
    }

    fn dir(&self) -> String {
        self.own.path().join("servers").display().to_string()
    }

    /// Stops the server as a crash would.
    pub(crate) fn crash(&self) {
        tool(&["stop", &self.dir(), "s3", "--now"]);
    }

    /// Starts it again over its objects.
    pub(crate) fn resume(&self) {
        tool(&["resume", &self.dir(), "s3"]);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        tool(&["end", &self.dir()]);
    }
}

/// Returns the value of a variable among lines of NAME=value.
fn found(lines: &str, name: &str) -> String {
    let prefix = format!("{name}=");
    let found = lines.lines().find_map(|line| line.strip_prefix(&prefix));
    found.unwrap_or_else(|| panic!("no {name} in {lines:?}")).to_owned()
}

/// Returns a variable that names a real server; `None` where it need not be there.
pub(crate) fn variable(name: &str) -> Option<String> {
    let found = std::env::var(name).ok().filter(|address| !address.is_empty());
    if found.is_none() {
        assert!(std::env::var("CI").is_err(), "{name} is not set: in CI every server is there");
        say(&format!("skipped: {name} is not set"));
    }
    found
}

/// Runs the script that starts and stops servers; returns what it printed.
fn tool(args: &[&str]) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tools/services");
    let output = Command::new(script).args(args).output().expect("the script can be run");
    assert!(output.status.success(), "services {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
