//! Addresses, complaints, and what becomes of connections that break.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::flaky::{Flaky, serve};
use super::*;

#[test]
fn addresses() {
    let check = |url: &str, expect: Option<(&str, &str)>| {
        let server = Server::new(url, None).ok();
        let found = server.as_ref().map(|server| (server.address.as_str(), server.prefix.as_str()));
        assert_eq!(found, expect, "{url}");
    };
    check("http://127.0.0.1:8080", Some(("127.0.0.1:8080", "")));
    check("http://127.0.0.1:8080/", Some(("127.0.0.1:8080", "")));
    check("http://gauge", Some(("gauge:80", "")));
    check("http://[::1]:9/base/", Some(("[::1]:9", "/base")));
    check("https://gauge", Some(("gauge:443", "")));
    check("https://[::1]:9/base", Some(("[::1]:9", "/base")));
    check("ftp://gauge", None);
    check("https://a_b..c", None);
    check("127.0.0.1:8080", None);
    check("not a url", None);
}

#[test]
fn keys_go_into_the_header() {
    let server = Server::new("http://a", Some("k1")).expect("the URL is good");
    assert_eq!(server.authorization(), Some("Bearer k1"));
    assert!(Server::new("http://a", Some("line\nbreak")).is_err());
}

#[test]
fn dates_of_answers_are_read() {
    let at = date("Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(at, Some(Timestamp(784_111_777_000)));
    assert_eq!(date("soon"), None);
}

#[test]
fn percent_encoding() {
    assert_eq!(percent_encoded("stream.events"), "stream.events");
    assert_eq!(percent_encoded("a b/ä+"), "a%20b%2F%C3%A4%2B");
}

#[test]
fn complaints_carry_the_detail() {
    let body = Bytes::from_static(b"{\"detail\":\"there is no stream x\"}");
    let answer = Answer { status: StatusCode::NOT_FOUND, retry_after: None, date: None, body };
    let error = answer.success("sending").expect_err("404 is no success");
    assert_eq!(error.to_string(), "sending: the server answered 404 Not Found: there is no stream x");
    let refused =
        Answer { status: StatusCode::UNAUTHORIZED, retry_after: None, date: None, body: Bytes::new() };
    assert!(refused.complaint().contains("STREAMGAUGE_KEY"));
}

#[tokio::test]
async fn a_server_that_is_away_is_named_and_ends_with_69() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let server = Server::new(&format!("http://{address}"), None).expect("the URL is good");
    let error = Connection::new(&server).get("/readyz").await.expect_err("nobody listens");
    assert!(!error.was_reached);
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot reach the server at http://{address}: ")), "{text}");
    assert!(text.ends_with("start it with `streamgauge serve`"), "{text}");
    let settled = settle(Err(anyhow::Error::from(error).context("sending")));
    assert_eq!(settled, ExitCode::from(69));
    assert_eq!(settle(Err(anyhow::anyhow!("refused"))), ExitCode::from(1));
    assert_eq!(
        settle(Err(anyhow::Error::from(Misused("no".to_owned())).context("asking"))),
        ExitCode::from(2)
    );
    let away = PortError::new(ErrorKind::Retry, "asking the broker");
    assert_eq!(settle(Err(anyhow::Error::from(away).context("gave up"))), ExitCode::from(69));
}

#[tokio::test]
async fn a_connection_is_kept_and_made_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let address = serve(move |_| {
        // Every third request is dropped without an answer.
        if counted.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            Flaky::Drop
        } else {
            Flaky::Answer(200, String::new())
        }
    })
    .await;
    let server = Server::new(&format!("http://{address}"), None).expect("the URL is good");
    let mut connection = Connection::new(&server);
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        outcomes.push(connection.get("/").await.map(|answer| answer.status.as_u16()).ok());
    }
    assert_eq!(outcomes, [Some(200), Some(200), None, Some(200), Some(200), None]);
    assert_eq!(requests.load(Ordering::Relaxed), 6, "nothing was sent twice");
}
