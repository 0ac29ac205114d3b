//! Health and metrics. `/livez` asks nobody; `/readyz` says whether events would be taken and answered now.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sg_core::metrics::{head, line};
use sg_core::ports::{MAIN_LANE, OutboxStatus, Pending, StatusDetail, StoreStatus};
use sg_core::time::Timestamp;

use crate::error::ApiError;
use crate::params::Params;
use crate::status::resident_bytes;
use crate::systems::metric_names;
use crate::{App, Roles, archive, headroom};

/// `GET /livez`.
pub(crate) async fn live() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{\"ok\":true}").into_response()
}

/// `GET /readyz[?role=R]`: 503 while stopping, and while what the role needs does not answer; without a role, what any
/// role of this process needs. Taking events needs the log, queries the store, and processing both, with no partition
/// standing still.
pub(crate) async fn ready(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::parse(uri.query().unwrap_or_default());
    params.only(&["role"])?;
    let roles = match params.get("role") {
        None => app.roles,
        Some("ingest") => Roles { process: false, query: false, ..app.roles },
        Some("process") => Roles { ingest: false, query: false, ..app.roles },
        Some("query") => Roles { ingest: false, process: false, ..app.roles },
        Some(other) => {
            return Err(ApiError::BadQuery(format!("role is ingest, process or query, not {other}")));
        }
    };
    let mut faults = faults(&app, roles).await;
    if roles == Roles::NONE {
        faults.push("this process does not have the role".to_owned());
    }
    Ok(answer(&app, roles, &faults).await)
}

/// `GET /healthz`: the same body as `/readyz`.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    let faults = faults(&app, app.roles).await;
    answer(&app, app.roles, &faults).await
}

/// What is wrong, part by part; nothing where there is nothing to say.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) is_stopping: bool,
    pub(crate) store: Option<String>,
    pub(crate) log: Option<String>,
    pub(crate) partitions: Vec<String>,
}

impl Standing {
    /// Returns everything that is wrong, one sentence each.
    pub(crate) fn faults(self) -> Vec<String> {
        let stopping = self.is_stopping.then(|| "the server is stopping".to_owned());
        stopping.into_iter().chain(self.store).chain(self.log).chain(self.partitions).collect()
    }
}

async fn faults(app: &App, roles: Roles) -> Vec<String> {
    standing(app, roles).await.faults()
}

/// Asks the parts that these roles need.
pub(crate) async fn standing(app: &App, roles: Roles) -> Standing {
    let store = match roles.process || roles.query {
        true => Some(app.store.status(StatusDetail::Marks).await),
        false => None,
    };
    let log = match roles.ingest || roles.process {
        true => Some(app.pipeline.pending().await),
        false => None,
    };
    judge(app, roles, store.as_ref(), log.as_ref())
}

/// Says what is wrong, by what the parts have answered; those that the roles do not need may be silent.
pub(crate) fn judge<E: Display>(
    app: &App,
    roles: Roles,
    store: Option<&Result<StoreStatus, E>>,
    log: Option<&Result<Vec<Pending>, E>>,
) -> Standing {
    let mut standing = Standing { is_stopping: app.draining.is_cancelled(), ..Standing::default() };
    if (roles.process || roles.query)
        && let Some(Err(error)) = store
    {
        standing.store = Some(format!("the store does not answer: {error}"));
    }
    match log.filter(|_| roles.ingest || roles.process) {
        None => {}
        Some(Err(error)) => standing.log = Some(format!("the log does not answer: {error}")),
        Some(Ok(pending)) => {
            if pending.iter().any(|pending| pending.extent.is_none()) {
                standing.log = Some("the log does not answer".to_owned());
            }
            let stopped = |pending: &Pending| {
                let why = pending.owned.as_ref()?.stopped.as_ref()?;
                Some(format!("partition {} of {} stands still: {why}", pending.partition, pending.stream))
            };
            standing.partitions = pending.iter().filter(|_| roles.process).filter_map(stopped).collect();
        }
    }
    standing
}

/// Warnings say what will be wrong if nobody acts; nothing is less ready for them. They take the store: who does not need
/// it is not held up by it.
async fn answer(app: &App, roles: Roles, faults: &[String]) -> Response {
    let is_asked = faults.is_empty() && (roles.process || roles.query);
    let warnings = if is_asked { headroom::warnings(app).await } else { Vec::new() };
    let (status, word) =
        if faults.is_empty() { (StatusCode::OK, "UP") } else { (StatusCode::SERVICE_UNAVAILABLE, "DOWN") };
    let mut body = format!("{{\"ok\":{},\"status\":\"{word}\"", faults.is_empty());
    if !faults.is_empty() {
        body += &format!(",\"error\":{}", Value::from(faults.join("; ")));
    }
    if !warnings.is_empty() {
        body += &format!(",\"warnings\":{}", Value::from(warnings));
    }
    body += &format!(
        ",\"version\":{},\"backends\":{},\"roles\":{}}}",
        json!(app.version),
        json!({"log": app.backends.0, "store": app.backends.1}),
        json!(app.roles.names())
    );
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `GET /metrics`: Prometheus text.
pub(crate) async fn metrics(app: &App) -> Response {
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
    let status = app.store.status(StatusDetail::Marks).await;
    let pending = app.pipeline.pending().await;
    if let Ok(status) = &status {
        render_store(&mut out, status);
        render_outboxes(&mut out, app, status);
        archive::render_lines(&mut out, app, &status.lines);
        metric_names::render_store(&mut out, status);
        if let Ok(pending) = &pending {
            render_lag(&mut out, status, pending);
            headroom::render(&mut out, &headroom::look(app, status, pending).await.unwrap_or_default());
        }
    }
    metric_names::render_process(&mut out, app);
    archive::render(&mut out, app, pending.as_ref().ok().map(Vec::as_slice)).await;
    if let Ok(pending) = &pending {
        render_stopped(&mut out, pending);
    }
    head(&mut out, "streamgauge_live_streams", "gauge", "Open streams of those who watch.");
    line(&mut out, format_args!("streamgauge_live_streams {}", app.watchers.taken()));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response()
}

/// The same from whichever process it is asked: the log's end beside the store's offset.
fn render_lag(out: &mut String, status: &StoreStatus, pending: &[Pending]) {
    let help = "Records in the log that the store does not have yet; every process says the same.";
    head(out, "streamgauge_consumer_lag_records", "gauge", help);
    for pending in pending {
        let Some(extent) = pending.extent else { continue };
        let (stream, partition) = (&pending.stream, pending.partition);
        let stored =
            status.partitions.iter().find(|stored| stored.stream == *stream && stored.partition == partition);
        let lag = extent.end.saturating_sub(stored.map_or(extent.start, |stored| stored.next_offset));
        let labels = format!("stream=\"{stream}\",partition=\"{partition}\"");
        line(out, format_args!("streamgauge_consumer_lag_records{{{labels}}} {lag}"));
    }
}

fn render_outboxes(out: &mut String, app: &App, status: &StoreStatus) {
    let rows = "Rows that wait to be told; those with a topic wait for that one, which refuses them.";
    head(out, "streamgauge_outbox_rows", "gauge", rows);
    let lanes = app.doors.iter().flat_map(|door| {
        let stream = door.plan.stream.name.as_str();
        let mut lanes: Vec<(&str, &str, Option<&OutboxStatus>)> = status
            .outboxes
            .iter()
            .filter(|of| of.stream == stream)
            .map(|of| (stream, &*of.lane, Some(of)))
            .collect();
        if lanes.iter().all(|(_, lane, _)| *lane != MAIN_LANE) {
            lanes.push((stream, MAIN_LANE, None));
        }
        lanes
    });
    let lanes: Vec<_> = lanes.collect();
    for (stream, topic, of) in &lanes {
        let rows = of.map_or(0, |of| of.rows);
        line(out, format_args!("streamgauge_outbox_rows{{stream=\"{stream}\",topic=\"{topic}\"}} {rows}"));
    }
    let name = "streamgauge_outbox_oldest_age_seconds";
    head(out, name, "gauge", "How long the first of them has waited; zero where none does.");
    let now = app.clock.now();
    for (stream, topic, of) in &lanes {
        let age = of.map_or(0, |of| (now.0 - of.oldest.0).max(0)) as f64 / 1e3;
        line(out, format_args!("{name}{{stream=\"{stream}\",topic=\"{topic}\"}} {age}"));
    }
}

fn render_stopped(out: &mut String, pending: &[Pending]) {
    let help = "1 where a partition of this process stands still until somebody looks at it.";
    head(out, "streamgauge_partition_stopped", "gauge", help);
    for pending in pending {
        let Some(owned) = &pending.owned else { continue };
        let (stream, partition) = (&pending.stream, pending.partition);
        let is_stopped = u8::from(owned.stopped.is_some());
        let labels = format!("stream=\"{stream}\",partition=\"{partition}\"");
        line(out, format_args!("streamgauge_partition_stopped{{{labels}}} {is_stopped}"));
    }
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
    let help = "Offsets whose records the embedded log has lost and was told to go on without.";
    head(out, "streamgauge_offsets_skipped_total", "counter", help);
    for partition in &status.partitions {
        let (stream, number, skipped) = (&partition.stream, partition.partition, partition.ledger.skipped);
        let labels = format!("stream=\"{stream}\",partition=\"{number}\"");
        line(out, format_args!("streamgauge_offsets_skipped_total{{{labels}}} {skipped}"));
    }
    render_partitions(out, status);
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

fn render_partitions(out: &mut String, status: &StoreStatus) {
    let help =
        "Records folded less those that have a fate; anything but zero is a fault of the store or of ours.";
    head(out, "streamgauge_ledger_difference_records", "gauge", help);
    for partition in &status.partitions {
        let (stream, number, ledger) = (&partition.stream, partition.partition, &partition.ledger);
        let fates = ledger.counted + ledger.duplicate + ledger.dead_lettered + ledger.deleted;
        let difference = i128::from(ledger.processed) - i128::from(fates);
        let labels = format!("stream=\"{stream}\",partition=\"{number}\"");
        line(out, format_args!("streamgauge_ledger_difference_records{{{labels}}} {difference}"));
    }
    let help = "1 where a partition has no records to wait for, and holds up no watermark.";
    head(out, "streamgauge_partition_idle", "gauge", help);
    for partition in &status.partitions {
        let (stream, number, is_idle) = (&partition.stream, partition.partition, u8::from(partition.is_idle));
        let labels = format!("stream=\"{stream}\",partition=\"{number}\"");
        line(out, format_args!("streamgauge_partition_idle{{{labels}}} {is_idle}"));
    }
}
