//! Metrics under the names that dashboards of other systems ask for, beside our own. What is counted at the door is
//! this process's; what the store knows is the same from whichever process it is asked.

use sg_core::metrics::{head, line};
use sg_core::ports::StoreStatus;

use crate::App;

/// Writes what this process has counted.
pub(crate) fn render_process(out: &mut String, app: &App) {
    for name in ["events_produced_total", "events_ingested_total"] {
        head(out, name, "counter", "Events accepted by this process: durable in the log.");
        for door in &app.doors {
            let accepted = door.taken_singly.get() + door.taken_in_batches.get();
            line(out, format_args!("{name}{{stream=\"{}\"}} {accepted}", door.plan.stream.name));
        }
    }
    let name = "aggregation_windows_flushed_total";
    head(out, name, "counter", "Cells written by flushes of this process.");
    line(out, format_args!("{name} {}", app.metrics.cells_flushed.get()));
}

/// Writes what the store knows.
pub(crate) fn render_store(out: &mut String, status: &StoreStatus) {
    for name in ["events_consumed_total", "events_processed_total"] {
        head(out, name, "counter", "Records folded, whatever became of them.");
        for partition in &status.partitions {
            let labels = format!("stream=\"{}\",partition=\"{}\"", partition.stream, partition.partition);
            line(out, format_args!("{name}{{{labels}}} {}", partition.ledger.processed));
        }
    }
}
