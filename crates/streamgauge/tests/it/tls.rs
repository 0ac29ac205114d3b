//! TLS at the doors: a client that checks certificates is served, a renewed certificate is taken up without a restart, and a
//! bad one neither starts a server nor harms one that runs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Exited, Launch, PATIENCE, Server, run_with, until};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Writes a new pair into a folder and returns the certificate.
fn put_pair(folder: &Path) -> CertificateDer<'static> {
    let made = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
    let CertifiedKey { cert, signing_key } = made;
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).expect("it can be written");
    std::fs::write(folder.join("cert.pem"), cert.pem()).expect("it can be written");
    cert.der().clone()
}

fn launch(folder: &Path) -> Launch {
    let path = |name: &str| folder.join(name).to_str().expect("a path of letters").to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    Launch::new().args(&["--tls-cert", &cert, "--tls-key", &key])
}

/// Connects as a client that trusts one certificate and nothing else.
fn connect(address: SocketAddr, trusted: &CertificateDer<'static>) -> std::io::Result<Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        versions.expect("the usual versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, socket);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

/// Asks over a connection, and reads what comes until the body's last byte.
fn ask(stream: &mut Stream, request: &str, ends: &str) -> String {
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut text = String::new();
    while !text.contains(ends) {
        let mut piece = [0; 4_096];
        let count = stream.read(&mut piece).expect("the server answers");
        assert!(count > 0, "it ended with {text}");
        text += &String::from_utf8_lossy(&piece[..count]);
    }
    text
}

const LIVE: &str = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[test]
fn a_client_that_checks_certificates_is_served() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let cert = put_pair(folder.path());
    let server = Server::ready(&launch(folder.path()));
    let mut stream = connect(server.address(), &cert).expect("the certificate is trusted");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]), "what the client offers alone");
    assert!(ask(&mut stream, LIVE, "\r\n\r\n").starts_with("HTTP/1.1 200"));
    let event = r#"{"event_id":"t1","event_type":"a"}"#;
    let head =
        format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", event.len());
    assert!(ask(&mut stream, &format!("{head}{event}"), "\"t1\"").starts_with("HTTP/1.1 202"));
    // The cookie of a session goes nowhere but over TLS.
    let login = r#"{"key":"anything"}"#;
    let head =
        format!("POST /v1/session HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", login.len());
    let begun = ask(&mut stream, &format!("{head}{login}"), "\r\n\r\n");
    assert!(begun.contains("SameSite=Strict; Path=/; Secure\r\n"), "{begun}");
    let other = tempfile::tempdir().expect("a temporary folder can be made");
    assert!(connect(server.address(), &put_pair(other.path())).is_err(), "it is not the one that is trusted");
    // Who does not speak TLS is let go, and others are served meanwhile.
    let mut plain = TcpStream::connect(server.address()).expect("the server listens");
    plain.write_all(LIVE.as_bytes()).expect("the server reads");
    let mut said = Vec::new();
    plain.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    plain.read_to_end(&mut said).ok();
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    assert!(ask(&mut stream, LIVE, "\r\n\r\n").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_renewed_certificate_is_served_without_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let first = put_pair(folder.path());
    let server = Server::ready(&launch(folder.path()));
    let mut kept = connect(server.address(), &first).expect("the certificate is trusted");
    let second = put_pair(folder.path());
    until(PATIENCE, "the new certificate is served", || {
        // Who asks nothing for long is let go, whatever is served.
        assert!(ask(&mut kept, LIVE, "\r\n\r\n").starts_with("HTTP/1.1 200"), "who was there goes on");
        connect(server.address(), &second).is_ok()
    });
    assert!(connect(server.address(), &first).is_err(), "the old one is not served any more");
    assert!(ask(&mut kept, LIVE, "\r\n\r\n").starts_with("HTTP/1.1 200"), "who was there goes on");
    std::fs::write(folder.path().join("cert.pem"), "nonsense").expect("it can be written");
    until(PATIENCE, "the bad one is told", || server.stderr().contains("holds no certificate"));
    assert!(connect(server.address(), &second).is_ok(), "the one before is served on");
}

#[test]
fn a_bad_pair_starts_no_server() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    put_pair(folder.path());
    std::fs::write(folder.path().join("key.pem"), "nonsense").expect("it can be written");
    let Err(Exited { status, stderr }) = launch(folder.path()).start() else { panic!("it serves nonsense") };
    assert_eq!(status.code(), Some(78), "{stderr}");
    assert!(stderr.contains("key.pem holds no private key in PEM"), "{stderr}");
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every command that asks a server asks one with TLS, too.
#[test]
fn commands_speak_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    put_pair(folder.path());
    let server = Server::ready(&launch(folder.path()));
    let url = format!("https://localhost:{}", server.port());
    let path = |name: &str| folder.path().join(name).to_str().expect("a path of letters").to_owned();
    let (cert, expected, backup) = (path("cert.pem"), path("expected.json"), path("backup.ndjson"));
    let nowhere = path("nowhere");
    for args in [
        &["healthcheck"][..],
        &["simulate", "--events", "200", "--expect", &expected],
        &["flush"],
        &["audit", "--expect", &expected],
        &["events", "export", "--where", "event_type != 'none'", "--output", &backup],
        &["dead-letters", "list"],
        &["rebuild", "--dry-run"],
        &["keys", "list"],
        &["smoke"],
        &["load", "--duration", "200ms", "--connections", "2"],
        &["doctor", "--data-dir", &nowhere, "--listen", "127.0.0.1:0"],
    ] {
        let output = run_with(&[("SSL_CERT_FILE", &cert)], &[args, &["--url", &url]].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", told(&output));
    }
}

#[test]
fn a_server_that_is_not_trusted_is_told_with_what_mends_it() {
    let [folder, other] = [0; 2].map(|_| tempfile::tempdir().expect("a temporary folder can be made"));
    put_pair(folder.path());
    put_pair(other.path());
    let secured = Server::ready(&launch(folder.path()));
    let plain = Server::start(&[]);
    let cert = |folder: &Path| folder.join("cert.pem").to_str().expect("a path of letters").to_owned();
    let (own, another) = (cert(folder.path()), cert(other.path()));
    let of = |scheme: &str, host: &str, server: &Server| format!("{scheme}://{host}:{}", server.port());
    for (url, trusted, says) in [
        (of("https", "localhost", &secured), &another, "set SSL_CERT_FILE to a file with its certificate"),
        (of("https", "127.0.0.1", &secured), &own, "name it in --url as its certificate does"),
        (of("https", "localhost", &plain), &own, "it does not speak TLS there: name it with http://"),
        (
            of("https", "localhost", &secured),
            &"/nowhere.pem".to_owned(),
            "name a file of them in SSL_CERT_FILE",
        ),
        (of("http", "localhost", &secured), &own, "if it speaks TLS, name it with https://"),
    ] {
        let variables = [("SSL_CERT_FILE", trusted.as_str())];
        for (command, code) in [("healthcheck", 1), ("flush", 69), ("load", 69), ("simulate", 69)] {
            let output = run_with(&variables, &[command, "--url", &url]);
            assert_eq!(output.status.code(), Some(code), "{command} {url}: {}", told(&output));
            assert!(told(&output).contains(says), "{command} {url}: {}", told(&output));
        }
    }
}

/// A certificate is of a name, and an address has none: the doctor knows the server of a directory by its lock.
#[test]
fn the_doctor_knows_a_server_whose_certificate_is_not_of_its_address() {
    let [folder, other] = [0; 2].map(|_| tempfile::tempdir().expect("a temporary folder can be made"));
    put_pair(folder.path());
    put_pair(other.path());
    let server = Server::ready(&launch(folder.path()));
    let path = |folder: &Path, name: &str| folder.join(name).to_str().expect("a path of letters").to_owned();
    let (cert, key) = (path(folder.path(), "cert.pem"), path(folder.path(), "key.pem"));
    let (dir, address) = (path(server.data_dir(), ""), server.address().to_string());
    let url = format!("https://localhost:{}", server.port());
    let asked = ["doctor", "--data-dir", &dir, "--listen", &address, "--url", &url];
    let doctor = |trusted: &str, flags: &[&str]| {
        let output = run_with(&[("SSL_CERT_FILE", trusted)], &[&asked[..], flags].concat());
        (output.status.code(), told(&output))
    };
    let taken =
        format!("✓ ports: {address} is taken by the server that works in {dir}, process {} (", server.pid());
    for flags in [&[][..], &["--tls-cert", &cert, "--tls-key", &key]] {
        let (code, says) = doctor(&cert, flags);
        assert_eq!(code, Some(0), "{flags:?}: {says}");
        assert!(says.contains(&taken), "{flags:?}: {says}");
    }
    // Nobody is told to name a server with --url who did.
    let (code, says) = doctor(&path(other.path(), "cert.pem"), &[]);
    assert_eq!(code, Some(1), "{says}");
    let lock = format!("! lock: process {} (", server.pid());
    let mut lines = says.lines().skip_while(|line| !line.starts_with(&lock)).skip(1);
    assert!(lines.next().is_some_and(|mend| mend.contains("set SSL_CERT_FILE")), "{says}");
    assert!(says.contains(&taken) && !says.contains("--url"), "{says}");
}

/// One address may speak TLS and another plainly, for commands on the same machine.
#[test]
fn an_address_may_stay_plain() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let cert = put_pair(folder.path());
    let plain = ["--listen", "127.0.0.1:0,tls=off", "--demo"];
    let server = Server::ready(&launch(folder.path()).args(&plain));
    assert!(connect(server.address(), &cert).is_ok());
    let url = format!("http://127.0.0.1:{}", server.ports()[1]);
    let healthy = || crate::harness::run(&["healthcheck", "--url", &url]).status.success();
    until(PATIENCE, "the plain address is well", healthy);
    // The made-up events come in by it.
    let received = || {
        let status = crate::harness::http::Client::new(SocketAddr::from(([127, 0, 0, 1], server.ports()[1])));
        let mut client = status;
        let answer = client.get("/v1/status").expect("an answer").json();
        answer["streams"][0]["partitions"][0]["log_end"].as_u64().is_some_and(|end| end > 0)
    };
    until(PATIENCE, "the demo sends", received);
}

/// Asks with curl over HTTP/2; returns the version that was spoken, the status and the body.
fn curl(folder: &Path, port: u16, path: &str, more: &[&str]) -> (String, u16, String) {
    let asking = Command::new("curl")
        .args(["--http2", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*"])
        .args(["--write-out", "\n%{http_version} %{http_code}"])
        .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
        .arg("--cacert")
        .arg(folder.join("cert.pem"))
        .args(more)
        .arg(format!("https://localhost:{port}{path}"))
        .output()
        .expect("curl runs");
    let text = String::from_utf8(asking.stdout).expect("text");
    let (body, last) = text.rsplit_once('\n').expect("the last line is curl's");
    let (version, status) = last.split_once(' ').expect("two words");
    let told = String::from_utf8_lossy(&asking.stderr);
    (version.to_owned(), status.parse().unwrap_or_else(|_| panic!("{told}")), body.to_owned())
}

#[test]
fn a_client_may_speak_http_2() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    put_pair(folder.path());
    let server = Server::ready(&launch(folder.path()));
    let port = server.address().port();
    // More than a window of the connection, so that the server must say that it read.
    let events: Vec<String> = (0..20_000)
        .map(|number| {
            format!(r#"{{"event_id":"{number}","event_type":"a","properties":{{"of":"{number:0>100}"}}}}"#)
        })
        .collect();
    let body = folder.path().join("events.ndjson");
    std::fs::write(&body, events.join("\n")).expect("it can be written");
    let body = format!("@{}", body.to_str().expect("a path of letters"));
    let sent = ["--header", "content-type: application/x-ndjson", "--data-binary", &body];
    let (version, status, answer) = curl(folder.path(), port, "/v1/events?wait=true", &sent);
    assert_eq!((version.as_str(), status), ("2", 202), "{answer}");
    assert!(answer.contains("\"accepted\":20000"), "{answer}");
    let (version, status, answer) = curl(folder.path(), port, "/v1/events?limit=1000", &[]);
    assert_eq!((version.as_str(), status), ("2", 200), "{answer}");
    // Whose page asks is told by the address that was asked.
    let from = |origin: String| {
        curl(
            folder.path(),
            port,
            "/v1/flush",
            &["--request", "POST", "--header", &format!("origin: {origin}")],
        )
        .1
    };
    assert_eq!(from(format!("https://localhost:{port}")), 200);
    assert_eq!(from("https://elsewhere.example".to_owned()), 403);
    let long = format!("x-long: {}", "a".repeat(64 << 10));
    // Who sends too much in headers gets no answer at all; others go on.
    assert_eq!(curl(folder.path(), port, "/livez", &["--header", &long]).1, 0);
    assert_eq!(curl(folder.path(), port, "/livez", &[]).1, 200);
}

/// A stream that lasts does not keep a server from stopping, and ends in order.
#[test]
fn a_live_stream_over_http_2_ends_with_the_server() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    put_pair(folder.path());
    let mut server = Server::ready(&launch(folder.path()));
    let port = server.address().port();
    let seen = folder.path().join("seen");
    let stream = std::thread::spawn({
        let (folder, seen) = (folder.path().to_owned(), seen.to_str().expect("a path of letters").to_owned());
        move || curl(&folder, port, "/v1/stream", &["--no-buffer", "--output", &seen])
    });
    until(PATIENCE, "the stream has begun", || {
        std::fs::read_to_string(&seen).is_ok_and(|text| text.contains("event: "))
    });
    assert!(server.terminate().success());
    let (version, status, _) = stream.join().expect("it ends");
    assert_eq!((version.as_str(), status), ("2", 200));
}
