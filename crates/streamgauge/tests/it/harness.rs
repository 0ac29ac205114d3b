//! The real server as a child process: started on a folder and a free port, talked to over HTTP, stopped in every way a
//! process can stop. Checks nothing by itself; a test that ends takes its server and its folder with it.

pub(crate) mod collector;
pub(crate) mod consumer;
pub(crate) mod dice;
pub(crate) mod http;
pub(crate) mod receiver;
pub(crate) mod services;
pub(crate) mod tmpfs;
pub(crate) mod watching;
pub(crate) mod witness;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use http::{Answer, Client};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_streamgauge");
/// Longer than any start should take on a busy machine, recovery and traced system calls included.
pub(crate) const START: Duration = Duration::from_secs(60);
/// Longer than anything should take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// The built-in rollup over events, so that a file may add others.
pub(crate) const HOURLY: &str = r#"
[[rollup]]
name = "hourly_aggregations"
stream = "events"
window = "1h"
pane = "15m"
grace = "30s"
by = ["event_type"]
[[rollup.measure]]
name = "event_count"
fn = "count"
"#;

/// Waits until a condition holds; panics naming it when it does not within the deadline.
pub(crate) fn until(deadline: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < deadline, "not within {deadline:?}: {what}");
        pause(LOOK);
    }
}

/// Lets time pass: the one place where a test does so. May return early.
pub(crate) fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

/// Tells whoever watches the tests run something that no assertion holds: a seed, a skipped test.
pub(crate) fn say(text: &str) {
    // Nothing can be done about a stderr that is gone.
    writeln!(std::io::stderr(), "{text}").ok();
}

/// Runs a command of the binary to its end, with nothing of the caller's environment but the path.
pub(crate) fn run(args: &[&str]) -> Output {
    run_with(&[], args)
}

/// Runs a command with these variables and no others but the path.
pub(crate) fn run_with(variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(args).env_clear().envs(path_variable()).envs(variables.iter().copied());
    command.output().expect("the binary can be run")
}

fn path_variable() -> Option<(&'static str, std::ffi::OsString)> {
    std::env::var_os("PATH").map(|path| ("PATH", path))
}

/// How a server is to be started.
#[derive(Debug, Default, Clone)]
pub(crate) struct Launch {
    data_dir: Option<PathBuf>,
    config: Option<String>,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    wrapper: Vec<String>,
    port: u16,
    listen: Option<String>,
}

impl Launch {
    /// A server with a folder of its own and the built-in configuration.
    pub(crate) fn new() -> Launch {
        Launch::default()
    }

    /// On this data directory, which stays when the server goes.
    pub(crate) fn data_dir(mut self, data_dir: &Path) -> Launch {
        self.data_dir = Some(data_dir.to_owned());
        self
    }

    /// With this configuration file.
    pub(crate) fn config(mut self, toml: &str) -> Launch {
        self.config = Some(toml.to_owned());
        self
    }

    /// With more arguments of `serve`.
    pub(crate) fn args(mut self, args: &[&str]) -> Launch {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// With these variables in its environment.
    pub(crate) fn variables(mut self, variables: &[(&str, &str)]) -> Launch {
        let owned = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        self.variables.extend(owned);
        self
    }

    /// On the port of an earlier server instead of a free one.
    pub(crate) fn port(mut self, port: u16) -> Launch {
        self.port = port;
        self
    }

    /// With this as its `--listen` instead of the port alone.
    pub(crate) fn listening(mut self, listen: &str) -> Launch {
        self.listen = Some(listen.to_owned());
        self
    }

    /// By this command, which must become the server itself rather than its parent.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Launch {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it and waits for the line that says it is ready; how it ended when it did before that.
    pub(crate) fn start(&self) -> Result<Server, Exited> {
        let (mut server, ready) = self.spawn();
        match ready.recv_timeout(START) {
            Ok(line) => {
                let urls = line.split_whitespace().filter(|word| word.starts_with("http"));
                let port = |url: &str| url.rsplit_once(':')?.1.parse().ok();
                server.ports = urls.filter_map(port).collect();
                assert!(!server.ports.is_empty(), "no port in the first line {line:?}");
                Ok(server)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = server.wait(PATIENCE);
                Err(Exited { status, stderr: server.stderr() })
            }
            Err(RecvTimeoutError::Timeout) => panic!("not ready within {START:?}:\n{}", server.stderr()),
        }
    }

    /// Starts it and kills it after a while, ready or not.
    pub(crate) fn start_and_kill(&self, after: Duration) {
        let (mut server, _ready) = self.spawn();
        pause(after);
        server.kill9();
    }

    /// Starts it; its first line follows.
    fn spawn(&self) -> (Server, Receiver<String>) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let data_dir = self.data_dir.clone().unwrap_or_else(|| folder.path().join("data"));
        let listen = self.listen.clone().unwrap_or_else(|| format!("127.0.0.1:{}", self.port));
        let mut words = self.wrapper.iter().map(String::as_str).chain([BINARY, "serve", "--listen", &listen]);
        let mut command = Command::new(words.next().unwrap_or(BINARY));
        command.args(words).arg("--data-dir").arg(&data_dir).args(&self.args);
        if let Some(toml) = &self.config {
            let path = folder.path().join("test.toml");
            std::fs::write(&path, toml).expect("the configuration can be written");
            command.arg("--config").arg(path);
        }
        let log = File::create(folder.path().join("stderr")).expect("a file for stderr can be made");
        command.env_clear().envs(path_variable()).envs(self.variables.clone()).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let ready = first_line(child.stdout.take().expect("stdout is piped"));
        (Server { child, ports: Vec::new(), data_dir, folder }, ready)
    }
}

/// A server that ended before it was ready.
#[derive(Debug)]
pub(crate) struct Exited {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

/// Hands over the first line of a child's stdout, and reads the rest away; nothing comes when it ends without one.
fn first_line(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        if stdout.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            sender.send(line).ok();
        }
        drop(sender);
        stdout.read_to_end(&mut Vec::new()).ok();
    });
    receiver
}

/// A running server. Dropping it kills it and removes its folder, unless the data directory was given.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// In the order of the addresses.
    ports: Vec<u16>,
    data_dir: PathBuf,
    /// Holds stderr and, unless one was given, the data directory.
    folder: TempDir,
}

impl Server {
    /// Starts a server on a folder of its own; panics when it does not become ready.
    pub(crate) fn start(args: &[&str]) -> Server {
        Server::ready(&Launch::new().args(args))
    }

    /// Starts a server on a data directory that stays.
    pub(crate) fn start_in(data_dir: &Path, args: &[&str]) -> Server {
        Server::ready(&Launch::new().data_dir(data_dir).args(args))
    }

    /// Starts a server with a configuration file.
    pub(crate) fn start_with(toml: &str, args: &[&str]) -> Server {
        Server::ready(&Launch::new().config(toml).args(args))
    }

    /// Starts a server that must become ready.
    pub(crate) fn ready(launch: &Launch) -> Server {
        let started = launch.start();
        started.unwrap_or_else(|Exited { status, stderr }| panic!("not ready: {status}\n{stderr}"))
    }

    /// Returns the address without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Returns the port that it listens on, the first of several.
    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Returns every port that it listens on.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Returns the address to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()))
    }

    /// Returns the data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Returns the number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns a connection that is kept between requests.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// Asks for a path over a connection of its own; panics without an answer.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.client().get(path).unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.stderr()))
    }

    /// Posts a body over a connection of its own; panics without an answer.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let answer = self.client().post(path, headers, body.as_ref());
        answer.unwrap_or_else(|error| panic!("POST {path}: {error}\n{}", self.stderr()))
    }

    /// Runs a command of the binary against this server: its name, then arguments.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        let mut words = args.to_vec();
        let url = self.url();
        words.extend(["--url", &url]);
        run(&words)
    }

    /// Returns what the server has written to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a signal; one that comes too late is no failure.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).ok();
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let mut status = None;
        until(deadline, "the server leaves", || {
            status = self.child.try_wait().expect("the child can be waited for");
            status.is_some()
        });
        status.expect("the condition was that there is one")
    }

    /// Returns whether the process is there.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_none()
    }

    /// Ends the process as a crash would, with nothing written or answered any more.
    pub(crate) fn kill9(&mut self) {
        self.signal(Signal::KILL);
        let status = self.wait(PATIENCE);
        assert!(status.signal() == Some(9), "it had left by itself: {status}\n{}", self.stderr());
    }

    /// Asks the process to stop, as a supervisor does, and returns how it ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(PATIENCE)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
