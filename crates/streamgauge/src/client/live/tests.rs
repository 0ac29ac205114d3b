//! Which event of a stream is read, however its bytes come.

use super::*;
use crate::client::flaky::{Flaky, serve};

#[test]
fn the_first_whole_event_of_the_name_is_read() {
    let check = |text: &str, expect: Option<&str>| assert_eq!(data_of(text).as_deref(), expect, "{text:?}");
    check("", None);
    check("event: metrics\ndata: {\"a\":1}\n", None);
    check("event: metrics\ndata: {\"a\":1}\n\n", Some("{\"a\":1}"));
    check("event: metrics\ndata: {\"a\":1}\n\nevent: metrics\ndata: {\"a\":2}\n\n", Some("{\"a\":1}"));
    check(": the store does not answer\n\nevent:metrics\ndata:{}\n\n", Some("{}"));
    check("event: other\ndata: {}\n\n", None);
}

#[tokio::test]
async fn what_is_no_such_stream_is_told() {
    let address = serve(|asked| match asked.path.as_str() {
        "/good/metrics/stream" => Flaky::Answer(
            200,
            "event: metrics\ndata: {\"receivedTotal\":5,\"writtenTotal\":3,\"avgProcessingMs\":0.5,\"lag\":1,\"ts\":1}\n\n"
                .to_owned(),
        ),
        "/full/metrics/stream" => Flaky::Answer(503, "{\"detail\":\"too many\"}".to_owned()),
        "/none/metrics/stream" => Flaky::Answer(200, "hello".to_owned()),
        _ => Flaky::Drop,
    })
    .await;
    let ask = async |prefix: &str| {
        let server = Server::new(&format!("http://{address}/{prefix}"), None).expect("the URL is good");
        Numbers::ask(&server).await.map_err(|error| format!("{error:#}"))
    };
    let numbers = Numbers { received_total: 5, written_total: 3, lag: 1 };
    assert_eq!(ask("good").await, Ok(numbers));
    assert!(ask("full").await.is_err_and(|error| error.ends_with("503 Service Unavailable: too many")));
    assert!(ask("none").await.is_err_and(|error| error.contains("without an event")));
    assert!(ask("gone").await.is_err());
}
