//! Health and metrics. `/livez` asks nobody; `/readyz` says whether events would be taken and answered now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sg_core::metrics::{head, line};
use sg_core::ports::{StatusDetail, StoreStatus};
use sg_core::time::Timestamp;

use crate::App;
use crate::status::resident_bytes;

/// `GET /livez`.
pub(crate) async fn live() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{\"ok\":true}").into_response()
}

/// `GET /readyz`: 503 while stopping, while the store does not answer, or when a partition stands still.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let faults = faults(&app).await;
    answer(&app, &faults)
}

/// `GET /healthz`: the same body as `/readyz`.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    let faults = faults(&app).await;
    answer(&app, &faults)
}

async fn faults(app: &App) -> Vec<String> {
    let mut faults = Vec::new();
    if app.is_draining.load(Ordering::Relaxed) {
        faults.push("the server is stopping".to_owned());
    }
    if let Err(error) = app.store.status(StatusDetail::Marks).await {
        faults.push(format!("the store does not answer: {error}"));
    }
    match app.pipeline.pending().await {
        Err(error) => faults.push(format!("the log does not answer: {error}")),
        Ok(pending) => faults.extend(pending.iter().filter_map(|pending| {
            let why = pending.stopped.as_ref()?;
            Some(format!("partition {} of {} stands still: {why}", pending.partition, pending.stream))
        })),
    }
    faults
}

fn answer(app: &App, faults: &[String]) -> Response {
    let (status, word) =
        if faults.is_empty() { (StatusCode::OK, "UP") } else { (StatusCode::SERVICE_UNAVAILABLE, "DOWN") };
    let mut body = format!("{{\"ok\":{},\"status\":\"{word}\"", faults.is_empty());
    if !faults.is_empty() {
        body += &format!(",\"error\":{}", Value::from(faults.join("; ")));
    }
    body += &format!(
        ",\"version\":{},\"backends\":{}}}",
        json!(app.version),
        json!({"log": app.backends.0, "store": app.backends.1})
    );
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `GET /metrics`: Prometheus text.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut out = String::with_capacity(16 << 10);
    head(&mut out, "streamgauge_build_info", "gauge", "The running version.");
    line(&mut out, format_args!("streamgauge_build_info{{version=\"{}\"}} 1", app.version));
    app.metrics.render(&mut out);
    (app.more_metrics)(&mut out);
    head(&mut out, "process_resident_memory_bytes", "gauge", "Resident memory of the process.");
    line(&mut out, format_args!("process_resident_memory_bytes {}", resident_bytes()));
    head(&mut out, "streamgauge_body_bytes_in_flight", "gauge", "Bytes of event bodies in memory.");
    line(
        &mut out,
        format_args!(
            "streamgauge_body_bytes_in_flight {}",
            app.budget_bytes - app.budget.available_permits()
        ),
    );
    if let Ok(status) = app.store.status(StatusDetail::Marks).await {
        render_store(&mut out, &status);
    }
    if let Ok(pending) = app.pipeline.pending().await {
        head(
            &mut out,
            "streamgauge_consumer_lag_records",
            "gauge",
            "Records in the log that the store does not have yet.",
        );
        for pending in &pending {
            let lag = pending.log_end.saturating_sub(pending.flushed);
            line(
                &mut out,
                format_args!(
                    "streamgauge_consumer_lag_records{{stream=\"{}\",partition=\"{}\"}} {lag}",
                    pending.stream, pending.partition
                ),
            );
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response()
}

/// The promises: read from the store, so that a restart does not forget them.
fn render_store(out: &mut String, status: &StoreStatus) {
    head(out, "streamgauge_events_processed_total", "counter", "Records folded, by what became of them.");
    for partition in &status.partitions {
        let ledger = &partition.ledger;
        for (fate, count) in [
            ("counted", ledger.counted),
            ("duplicate", ledger.duplicate),
            ("dead_lettered", ledger.dead_lettered),
            ("deleted", ledger.deleted),
        ] {
            let (stream, number) = (&partition.stream, partition.partition);
            line(
                out,
                format_args!(
                    "streamgauge_events_processed_total{{stream=\"{stream}\",partition=\"{number}\",fate=\"{fate}\"}} {count}"
                ),
            );
        }
    }
    head(
        out,
        "streamgauge_id_conflicts_total",
        "counter",
        "Duplicates whose content differed from the copy before.",
    );
    for partition in &status.partitions {
        let (stream, number) = (&partition.stream, partition.partition);
        line(
            out,
            format_args!(
                "streamgauge_id_conflicts_total{{stream=\"{stream}\",partition=\"{number}\"}} {}",
                partition.ledger.id_conflict
            ),
        );
    }
    head(out, "streamgauge_events_late_total", "counter", "Events that a rollup diverted to its late lane.");
    for rollup in &status.rollups {
        line(
            out,
            format_args!("streamgauge_events_late_total{{rollup=\"{}\"}} {}", rollup.name, rollup.diverted),
        );
    }
    head(
        out,
        "streamgauge_watermark_timestamp_seconds",
        "gauge",
        "Event time up to which windows are shown as complete.",
    );
    for (stream, at) in status.watermarks.iter().filter(|(_, at)| *at != Timestamp::NEVER) {
        line(
            out,
            format_args!(
                "streamgauge_watermark_timestamp_seconds{{stream=\"{stream}\"}} {}",
                at.0 as f64 / 1e3
            ),
        );
    }
}
