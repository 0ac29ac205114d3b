//! The span of a cut that holds records of traced requests: from the first of them that is gathered to the manifest's commit,
//! with links to the appends. A cut without one, or of records that were read from files, has none.

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, Tracer as _};
use sg_core::batch::LogBatch;
use sg_core::ports::CutFile;

use crate::spans::{self, Linked, Tracer};

use super::partition::Left;

/// What is gathered of traced requests.
#[derive(Default)]
pub(super) struct Traced(Linked);

impl Traced {
    /// Takes note of the traced requests among a batch's records from an index on, up to another.
    pub(super) fn note(
        &mut self,
        tracer: &Tracer,
        batch: &LogBatch,
        (from, until): (usize, usize),
        number: u32,
    ) {
        if batch.events.traces.is_empty() || from >= until {
            return;
        }
        let offsets = batch.place(from).0..batch.place(until - 1).0 + 1;
        let stream = &batch.events.stream;
        self.0.note(tracer, (batch, offsets), |tracer, below| {
            let builder = tracer.span_builder(format!("archive {stream}")).with_kind(SpanKind::Consumer);
            let builder = builder.with_attributes([
                KeyValue::new("messaging.operation.name", "archive"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.destination.name", stream.to_string()),
                KeyValue::new("messaging.destination.partition.id", number.to_string()),
            ]);
            builder.start_with_context(tracer, below)
        });
    }

    /// Waits for the upload of the cut that begins at an offset, then ends its span.
    pub(super) async fn ended(
        self,
        (base, files): (u64, (u64, u64, u64)),
        upload: impl Future<Output = Result<(), Left>>,
    ) -> Result<(), Left> {
        let Some(mut span) = self.0.into_span() else { return upload.await };
        let (count, rows, bytes) = files;
        let numbers = [
            ("streamgauge.offset.first", base),
            ("messaging.batch.message_count", rows),
            ("streamgauge.archive.files", count),
            ("streamgauge.archive.bytes", bytes),
        ];
        for (name, number) in numbers {
            span.set_attribute(KeyValue::new(name, i64::try_from(number).unwrap_or(i64::MAX)));
        }
        let done = upload.await;
        let fault = match &done {
            Ok(()) => None,
            Err(Left::Stopped) => Some("stopped"),
            Err(Left::Missed) => Some("missed"),
            Err(Left::Overtaken) => Some("overtaken"),
            Err(Left::Port(_)) => Some("failed"),
        };
        spans::end(&mut span, fault);
        done
    }
}

/// Returns how many files a cut has, how many rows and how many bytes.
pub(super) fn size_of(files: &[CutFile]) -> (u64, u64, u64) {
    let (rows, bytes) =
        files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
    (files.len() as u64, rows, bytes)
}
