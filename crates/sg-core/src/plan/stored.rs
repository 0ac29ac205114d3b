//! Counted events that are read again: from a log as they were stored, and from a store as they were sent, so that what
//! each gave to its rollups can be read from it once more.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::batch::{Entry, EventBatch, LogBatch, Span, content_hash};
use crate::definition::{RawTable, Stream};
use crate::event::{Canonical, OwnNames};
use crate::flush::{RawRow, RawRows};
use crate::query::StoredEvent;

use super::Plan;

impl Plan {
    /// Returns a plan that reads what a raw table keeps of a stream's events, and nothing for rollups.
    pub fn of_raw(stream: &Stream) -> Plan {
        let raw_table = RawTable { name: String::new(), keep: std::time::Duration::ZERO, rows_max: None };
        Plan::new(Stream { raw_table: Some(raw_table), ..stream.clone() }, &[])
    }

    /// Returns a counted event as a raw table keeps it; `None` under a plan that reads nothing for one.
    pub fn stored(&self, partition: u32, rows: &RawRows, row: &RawRow) -> Option<StoredEvent> {
        let (slots, fields) = self.raw.zip(rows.batch.fields.as_ref())?;
        let (batch, index) = (&rows.batch, row.index as usize);
        let texts = &fields.texts[index * self.text_slots()..];
        let text = |span: Span| (!span.is_none()).then(|| batch.text(span).to_owned());
        Some(StoredEvent {
            partition,
            offset: row.offset,
            event_id: batch.text(batch.entries[index].id).to_owned(),
            user_id: text(texts[slots.user]),
            session_id: text(texts[slots.session]),
            event_type: batch.text(batch.entries[index].kind).to_owned(),
            properties: text(texts[slots.properties]).unwrap_or_else(|| "{}".to_owned()),
            event_time: row.event_time,
            received_at: row.received_at,
        })
    }

    /// Returns stored events of one partition, by offset ascending, as a log would hand them out. Only their fields may be
    /// read of them: their keys are not known.
    pub fn as_records(&self, events: &[StoredEvent]) -> LogBatch {
        let mut batch = EventBatch::new(self.name.clone(), Bytes::new());
        let mut places = Vec::with_capacity(events.len());
        for event in events {
            let raw = batch.push_side(sent(event, &self.stream.fields).as_bytes());
            let entry = Entry {
                raw,
                id: batch.push_side(event.event_id.as_bytes()),
                kind: batch.push_side(event.event_type.as_bytes()),
                key_hash: 0,
                key: Span::NONE,
                event_time: Some(event.event_time),
                received_at: Some(event.received_at),
                content: content_hash(batch.bytes(raw)),
            };
            batch.entries.push(entry);
            places.push((event.offset, event.received_at));
        }
        LogBatch {
            events: Arc::new(batch),
            first_offset: places.first().map_or(0, |(offset, _)| *offset),
            appended_at: crate::time::Timestamp::NEVER,
            places: Some(places),
        }
    }
}

/// Returns an event of a stream with these names as somebody could have sent it.
pub(super) fn sent(event: &StoredEvent, names: &OwnNames) -> String {
    let decided = [
        (Canonical::EventId, event.event_id.clone()),
        (Canonical::EventType, event.event_type.clone()),
        (Canonical::Timestamp, event.event_time.to_string()),
    ];
    let known = [(Canonical::UserId, &event.user_id), (Canonical::SessionId, &event.session_id)];
    let known = known.into_iter().filter_map(|(field, text)| Some((field, text.clone()?)));
    let texts =
        decided.into_iter().chain(known).map(|(field, text)| (names.name(field).to_owned(), text.into()));
    let mut text = Value::Object(texts.collect()).to_string();
    // Not read and written again: numbers keep all their digits.
    text.truncate(text.len() - 1);
    text + "," + &Value::from(names.name(Canonical::Properties)).to_string() + ":" + &event.properties + "}"
}
