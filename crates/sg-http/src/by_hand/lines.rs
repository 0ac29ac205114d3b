//! How picked events and the progress of a delete are written.

use std::io;

use serde_json::{Map, Value, json};
use sg_core::definition::Rollup;
use sg_core::erase::{DeleteSaid, DeleteWish, Deleted};
use sg_core::query::StoredEvent;
use sg_core::time::Timestamp;
use sg_core::window;

use crate::answer;
use crate::events::event_json;

/// What is said of the archive, which holds events as they were sent.
const ARCHIVE: &str = "files of the archive are not rewritten: what was archived stays in them";

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Ndjson,
    Csv,
}

/// The columns of CSV, in order.
const COLUMNS: [&str; 11] = [
    "stream",
    "partition",
    "offset",
    "event_id",
    "event_type",
    "timestamp",
    "user_id",
    "session_id",
    "received_at",
    "properties",
    "raw",
];

impl Written {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Written::Ndjson => "application/x-ndjson",
            Written::Csv => "text/csv; charset=utf-8",
        }
    }

    /// Returns what stands before the first event.
    pub(super) fn heading(self) -> String {
        match self {
            Written::Ndjson => String::new(),
            Written::Csv => COLUMNS.join(",") + "\r\n",
        }
    }

    /// Appends an event. Texts are never changed, also where a spreadsheet would take one for a formula: what is exported can
    /// be sent again.
    pub(super) fn push(
        self,
        text: &mut String,
        stream: &str,
        event: &StoredEvent,
        sent: Option<&str>,
    ) -> io::Result<()> {
        if self == Written::Ndjson {
            let members = event_json(event);
            let raw = sent.map_or_else(|| "null".to_owned(), answer::quoted);
            let members = &members[1..members.len() - 1];
            *text += &format!("{{\"stream\":{},{members},\"raw\":{raw}}}\n", answer::quoted(stream));
            return Ok(());
        }
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let texts = [
            &event.partition.to_string(),
            &event.offset.to_string(),
            &event.event_id,
            &event.event_type,
            &event.event_time.to_string(),
            event.user_id.as_deref().unwrap_or_default(),
            event.session_id.as_deref().unwrap_or_default(),
            &event.received_at.to_string(),
            &event.properties,
            sent.unwrap_or_default(),
        ];
        writer.write_record(std::iter::once(stream).chain(texts)).map_err(io::Error::other)?;
        let line = writer.into_inner().map_err(io::Error::other)?;
        *text += std::str::from_utf8(&line).map_err(io::Error::other)?;
        Ok(())
    }
}

fn window_json(stream: &str, rollup: &Rollup, window: Timestamp) -> Value {
    json!({
        "stream": stream,
        "rollup": rollup.name,
        "window_start": window.to_string(),
        "window_end": Timestamp(window.0 + rollup.window_ms).to_string(),
    })
}

/// Returns a line of progress.
pub(super) fn said_json(said: &DeleteSaid) -> Value {
    match said {
        DeleteSaid::Day { stream, day, events } => {
            json!({"day": {"stream": stream, "day": &day.to_string()[..10], "events": events}})
        }
        DeleteSaid::Progress { stream, deleted } => {
            json!({"progress": {"stream": stream, "deleted": deleted}})
        }
        DeleteSaid::Refused { plan, refused } => {
            let rollup = &plan.rollups[refused.rollup].rollup;
            let mut line = window_json(&plan.name, rollup, refused.window);
            line["why"] = refused.obstacle.why().into();
            json!({ "refused": line })
        }
        DeleteSaid::Touched { plan, touched } => {
            let rollup = &plan.rollups[touched.rollup].rollup;
            let mut line = window_json(&plan.name, rollup, window::start_of(touched.pane, rollup.window_ms));
            let dimensions = rollup.by.iter().zip(&touched.dimensions);
            let dimensions: Map<String, Value> =
                dimensions.map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            line["pane"] = touched.pane.to_string().into();
            line["dimensions"] = Value::Object(dimensions);
            line["events"] = touched.before.into();
            line["deleted"] = touched.taken.into();
            json!({ "cell": line })
        }
    }
}

/// Returns the last line.
pub(super) fn deleted_json(wish: &DeleteWish, deleted: &Deleted) -> Value {
    let from_log = deleted.from_log.iter().map(
        |(stream, partition, offset)| json!({"stream": stream, "partition": partition, "offset": offset}),
    );
    json!({
        "dry_run": wish.is_dry,
        "matched": deleted.matched,
        "deleted": deleted.deleted,
        "cells": deleted.cells,
        "refused": deleted.refused,
        "from_log": from_log.collect::<Vec<_>>(),
        "archive": ARCHIVE,
    })
}
