//! Ready, not ready, away.

use super::*;
use crate::client::flaky::{Flaky, serve};

async fn check(address: String) -> ExitCode {
    let target = Target { url: format!("http://{address}"), is_typed: true };
    run(Args { target }).await
}

#[tokio::test]
async fn only_a_ready_server_is_healthy() {
    let ready =
        serve(|asked| if asked.path == "/readyz" { Flaky::Answer(200, String::new()) } else { Flaky::Drop })
            .await;
    assert_eq!(check(ready.to_string()).await, ExitCode::SUCCESS);
    let starting = serve(|_| Flaky::Answer(503, String::new())).await;
    assert_eq!(check(starting.to_string()).await, ExitCode::FAILURE);
    assert_eq!(check("127.0.0.1:1".to_owned()).await, ExitCode::FAILURE);
}
