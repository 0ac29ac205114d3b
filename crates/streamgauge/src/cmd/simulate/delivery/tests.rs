//! Which answers end a batch, which are tried again, which end the run.

use super::*;
use crate::client::flaky::{Flaky, serve};
use crate::client::{Server, Unanswered};

#[test]
fn verdicts() {
    let check = |status: u16, expect: Verdict| {
        assert_eq!(verdict(StatusCode::from_u16(status).expect("it is a status")), expect, "{status}");
    };
    check(202, Verdict::Done);
    check(422, Verdict::Done);
    for status in [408, 429, 500, 502, 503, 507] {
        check(status, Verdict::Again);
    }
    for status in [301, 400, 401, 403, 404, 413, 415] {
        check(status, Verdict::GiveUp);
    }
}

#[test]
fn servers_are_waited_for_as_they_ask_within_bounds() {
    let check = |asked: Option<u64>, expect: Duration| {
        let retry_after = asked.map(Duration::from_secs);
        let answer =
            Answer { status: StatusCode::SERVICE_UNAVAILABLE, retry_after, date: None, body: Bytes::new() };
        assert_eq!(wait_of(&answer, Duration::from_millis(400)), expect);
    };
    check(None, Duration::from_millis(400));
    check(Some(0), PAUSE_MIN);
    check(Some(2), Duration::from_secs(2));
    check(Some(3_600), RETRY_AFTER_MAX);
}

async fn delivered(answer: fn() -> Flaky) -> anyhow::Result<Delivered> {
    let address = serve(move |_| answer()).await;
    let server = Server::new(&format!("http://{address}"), None)?;
    let batch = Batch { index: 3, lines: 2, body: Bytes::from_static(b"{}\n{}\n") };
    deliver(Way::Http(Connection::new(&server), "/v1/events".to_owned()), batch, Duration::from_millis(120))
        .await
}

#[tokio::test]
async fn patience_ends_and_says_why() {
    let error = delivered(|| Flaky::Answer(503, r#"{"detail":"the log is away"}"#.to_owned()))
        .await
        .expect_err("it gave up");
    assert!(error.downcast_ref::<Unanswered>().is_some(), "so that the command ends with 69");
    assert!(format!("{error:#}").contains("the log is away"), "{error:#}");
    let error = delivered(|| Flaky::Drop).await.expect_err("it gave up");
    assert!(error.downcast_ref::<Unanswered>().is_some());
}

#[tokio::test]
async fn a_refusal_for_good_is_not_repeated() {
    let error = delivered(|| Flaky::Answer(404, r#"{"detail":"there is no stream x"}"#.to_owned()))
        .await
        .expect_err("404");
    assert!(error.downcast_ref::<Unanswered>().is_none());
    assert!(error.to_string().ends_with("there is no stream x"), "{error}");
}

#[tokio::test]
async fn events_that_were_all_refused_count_as_rejected() {
    let delivered =
        delivered(|| Flaky::Answer(422, r#"{"accepted":0,"rejected":2,"errors":[]}"#.to_owned())).await;
    let Delivered { index, accepted, rejected, resent, .. } = delivered.expect("it was answered");
    assert_eq!((index, accepted, rejected, resent), (3, 0, 2, 0));
}

#[tokio::test]
async fn an_answer_that_does_not_add_up_is_an_error() {
    let error = delivered(|| Flaky::Answer(202, r#"{"accepted":1,"rejected":0}"#.to_owned()))
        .await
        .expect_err("one is lost");
    assert_eq!(error.to_string(), "2 events were sent, but 1 + 0 answered");
}
