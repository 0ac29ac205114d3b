//! Counted events as Parquet: the columns of an export, typed, in the order in which they come.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sg_core::query::StoredEvent;
use sg_core::time::Timestamp;

/// Rows turned into columns at once.
const ROWS_AT_ONCE: usize = 4 << 10;
/// Rows of a group: what is in memory before it is written.
const ROWS_PER_GROUP: usize = 64 << 10;
const LEVEL: i32 = 1;

/// An event and the stream it is of, and as it was sent where that is known.
pub type ExportedEvent = (String, StoredEvent, Option<String>);

/// A file of exported events while it grows.
pub struct ExportedEvents<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: Arc<Schema>,
    rows: Vec<ExportedEvent>,
}

impl<W: Write + Send> ExportedEvents<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn new(writer: W) -> io::Result<ExportedEvents<W>> {
        let level = ZstdLevel::try_new(LEVEL).map_err(io::Error::other)?;
        let properties = WriterProperties::builder()
            .set_created_by("streamgauge".to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
            .build();
        let schema = schema();
        let writer =
            ArrowWriter::try_new(writer, schema.clone(), Some(properties)).map_err(io::Error::other)?;
        Ok(ExportedEvents { writer, schema, rows: Vec::new() })
    }

    /// Adds an event.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn push(&mut self, event: ExportedEvent) -> io::Result<()> {
        self.rows.push(event);
        if self.rows.len() < ROWS_AT_ONCE { Ok(()) } else { self.write() }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<()> {
        self.write()?;
        self.writer.close().map_err(io::Error::other)?;
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let batch = batch(&self.schema, &rows).map_err(io::Error::other)?;
        self.writer.write(&batch).map_err(io::Error::other)
    }
}

fn schema() -> Arc<Schema> {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let field = |name: &str, kind| Field::new(name, kind, matches!(name, "user_id" | "session_id" | "raw"));
    Arc::new(Schema::new(vec![
        field("stream", DataType::Utf8),
        field("partition", DataType::Int32),
        field("offset", DataType::Int64),
        field("event_id", DataType::Utf8),
        field("event_type", DataType::Utf8),
        field("timestamp", time()),
        field("user_id", DataType::Utf8),
        field("session_id", DataType::Utf8),
        field("received_at", time()),
        field("properties", DataType::Utf8),
        field("raw", DataType::Utf8),
    ]))
}

fn batch(schema: &Arc<Schema>, rows: &[ExportedEvent]) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let texts = |which: fn(&ExportedEvent) -> Option<&str>| -> ArrayRef {
        let mut column = StringBuilder::new();
        rows.iter().for_each(|row| column.append_option(which(row)));
        Arc::new(column.finish())
    };
    let times = |which: fn(&StoredEvent) -> Timestamp| -> ArrayRef {
        let times = rows.iter().map(|(_, event, _)| which(event).0);
        Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    let partitions = rows.iter().map(|(_, event, _)| event.partition.cast_signed());
    let offsets = rows.iter().map(|(_, event, _)| i64::try_from(event.offset).unwrap_or(i64::MAX));
    let columns = vec![
        texts(|(stream, ..)| Some(stream)),
        Arc::new(Int32Array::from_iter_values(partitions)),
        Arc::new(Int64Array::from_iter_values(offsets)),
        texts(|(_, event, _)| Some(&event.event_id)),
        texts(|(_, event, _)| Some(&event.event_type)),
        times(|event| event.event_time),
        texts(|(_, event, _)| event.user_id.as_deref()),
        texts(|(_, event, _)| event.session_id.as_deref()),
        times(|event| event.received_at),
        texts(|(_, event, _)| Some(&event.properties)),
        texts(|(_, _, sent)| sent.as_deref()),
    ];
    RecordBatch::try_new(schema.clone(), columns)
}
