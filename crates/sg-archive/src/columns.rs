//! The records of a file as Parquet: typed columns and the event as sent, ordered by time.

use std::io;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use sg_core::batch::{Entry, EventBatch, Times};
use sg_core::time::Timestamp;

use crate::chunks::{Chunks, Found};

/// Rows turned into columns at once.
const ROWS_AT_ONCE: usize = 16 << 10;
/// Rows of a group: what a reader skips or reads as a whole.
const ROWS_PER_GROUP: usize = 256 << 10;
const LEVEL: i32 = 1;

/// Rows while they are gathered.
#[derive(Debug)]
pub(crate) struct Columns {
    partition: i32,
    texts: Chunks,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    event_time: Timestamp,
    received_at: Timestamp,
    offset: u64,
    id: Found,
    kind: Found,
    raw: Found,
}

impl Columns {
    /// Makes the columns of a partition, without rows.
    pub(crate) fn new(partition: u32) -> Columns {
        Columns { partition: partition.cast_signed(), texts: Chunks::default(), rows: Vec::new() }
    }

    /// Adds a record, with its event as a line.
    pub(crate) fn add(
        &mut self,
        events: &EventBatch,
        entry: &Entry,
        (offset, appended_at): (u64, Timestamp),
        line: &[u8],
    ) {
        let raw = self.texts.push(line);
        let id = self.texts.push(events.text(entry.id).as_bytes());
        let kind = self.texts.push(events.text(entry.kind).as_bytes());
        let Times { received_at, event_time, .. } = entry.times(appended_at);
        self.rows.push(Row { event_time, received_at, offset, id, kind, raw });
    }

    /// Returns the bytes gathered.
    pub(crate) fn bytes(&self) -> u64 {
        self.texts.bytes()
    }

    /// Returns the bytes gathered, with what tells where they lie, and as many again: so much stands beside them while the
    /// file is made.
    pub(crate) fn held(&self) -> u64 {
        2 * (self.texts.bytes() + (self.rows.len() * size_of::<Row>()) as u64)
    }

    /// Makes the file.
    pub(crate) fn finish(mut self) -> io::Result<Vec<Bytes>> {
        self.rows.sort_unstable_by_key(|row| (row.event_time, row.offset));
        let schema = schema();
        let mut writer = ArrowWriter::try_new(Chunks::default(), schema.clone(), Some(properties()?))
            .map_err(io::Error::other)?;
        for rows in self.rows.chunks(ROWS_AT_ONCE) {
            let batch = self.batch(&schema, rows).map_err(io::Error::other)?;
            writer.write(&batch).map_err(io::Error::other)?;
        }
        Ok(writer.into_inner().map_err(io::Error::other)?.into_pieces())
    }

    fn batch(&self, schema: &Arc<Schema>, rows: &[Row]) -> Result<RecordBatch, arrow_schema::ArrowError> {
        let texts = |which: fn(&Row) -> Found| -> ArrayRef {
            let bytes = rows.iter().map(|row| which(row).2 as usize).sum();
            let mut column = StringBuilder::with_capacity(rows.len(), bytes);
            for row in rows {
                // Invariant: only text was added.
                column.append_value(std::str::from_utf8(self.texts.get(which(row))).unwrap_or_default());
            }
            Arc::new(column.finish())
        };
        let times = |which: fn(&Row) -> Timestamp| -> ArrayRef {
            let times = rows.iter().map(|row| which(row).0);
            Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
        };
        let offsets = rows.iter().map(|row| i64::try_from(row.offset).unwrap_or(i64::MAX));
        let columns = vec![
            texts(|row| row.id),
            texts(|row| row.kind),
            times(|row| row.event_time),
            times(|row| row.received_at),
            Arc::new(Int32Array::from_value(self.partition, rows.len())),
            Arc::new(Int64Array::from_iter_values(offsets)),
            texts(|row| row.raw),
        ];
        RecordBatch::try_new(schema.clone(), columns)
    }
}

fn schema() -> Arc<Schema> {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let field = |name: &str, kind| Field::new(name, kind, false);
    Arc::new(Schema::new(vec![
        field("event_id", DataType::Utf8),
        field("event_type", DataType::Utf8),
        field("event_time", time()),
        field("received_at", time()),
        field("partition", DataType::Int32),
        field("offset", DataType::Int64),
        field("raw", DataType::Utf8),
    ]))
}

fn properties() -> io::Result<WriterProperties> {
    let level = ZstdLevel::try_new(LEVEL).map_err(io::Error::other)?;
    let column = |name: &str| ColumnPath::from(name);
    // No two ids or events are the same: a dictionary would only be built to be thrown away.
    let mut properties = WriterProperties::builder()
        .set_created_by("streamgauge".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_statistics_enabled(column("raw"), EnabledStatistics::None);
    for name in ["event_id", "event_time", "received_at", "offset", "raw"] {
        properties = properties.set_column_dictionary_enabled(column(name), false);
    }
    for name in ["event_time", "received_at", "offset"] {
        properties = properties.set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

/// Reads the events of a file back, with their offsets.
pub(crate) fn read(content: Bytes) -> io::Result<Vec<(u64, String)>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(content).map_err(io::Error::other)?;
    let missing = || io::Error::other("it has no columns offset and raw");
    let mut rows = Vec::new();
    for batch in reader.build().map_err(io::Error::other)? {
        let batch = batch.map_err(io::Error::other)?;
        let offsets = batch.column_by_name("offset").ok_or_else(missing)?;
        let events = batch.column_by_name("raw").ok_or_else(missing)?;
        let offsets = offsets.as_any().downcast_ref::<Int64Array>().ok_or_else(missing)?;
        let events = events.as_any().downcast_ref::<StringArray>().ok_or_else(missing)?;
        for index in 0..batch.num_rows() {
            rows.push((offsets.value(index).unsigned_abs(), events.value(index).to_owned()));
        }
    }
    Ok(rows)
}
