//! Metrics as Prometheus reads them: what the process has counted, then what store and log say of all processes. Counts
//! nothing itself; while the store does not answer, what it knows is missing.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use sg_core::metrics::{head, line};
use sg_core::ports::{MAIN_LANE, OutboxStatus, Pending, StatusDetail, StoreStatus};
use sg_core::time::Timestamp;

use crate::status::resident_bytes;
use crate::systems::metric_names;
use crate::{App, archive, headroom};

/// `GET /metrics`: Prometheus text.
pub(crate) async fn answer(app: &App) -> Response {
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
