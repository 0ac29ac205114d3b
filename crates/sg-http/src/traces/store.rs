//! A span for each question that a traced request asks the store: which, of what, how long, and how many rows came back.
//! What nobody asked for by a request, such as the look of the live streams, has none. Changes no answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use sg_core::definition::Rollup;
use sg_core::flush::LevelBases;
use sg_core::ports::{PortError, RollupReader, StatusDetail, StoreStatus};
use sg_core::query::{
    CellQuery, CellRow, DeadLetterQuery, DeletedEvent, EventQuery, EventScan, LateQuery, LetterCount,
    StoredDeadLetter, StoredEvent, StoredLate, Tally, TallyQuery, Totals,
};
use sg_core::time::Timestamp;

use super::Tracer;

/// Returns the store with spans around its questions; as it is where nothing is traced. `name` is the backend's.
pub fn with_spans(
    store: Arc<dyn RollupReader>,
    tracer: &Tracer,
    name: &'static str,
) -> Arc<dyn RollupReader> {
    let Some(tracer) = tracer.clone() else { return store };
    let system = if name == "postgres" { "postgresql" } else { name };
    Arc::new(TracedStore { store, tracer, system })
}

struct TracedStore {
    store: Arc<dyn RollupReader>,
    tracer: Arc<BoxedTracer>,
    system: &'static str,
}

impl TracedStore {
    /// Asks below the span of the request that is served, if that is kept.
    async fn ask<T>(
        &self,
        (what, of): (&'static str, &str),
        count: impl FnOnce(&T) -> usize,
        asking: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let context = Context::current();
        if !context.span().is_recording() {
            return asking.await;
        }
        let name = if of.is_empty() { what.to_owned() } else { format!("{what} {of}") };
        let builder = self.tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes([
            KeyValue::new("db.system.name", self.system),
            KeyValue::new("db.operation.name", what),
        ]);
        let mut span = builder.start_with_context(&*self.tracer, &context);
        if !of.is_empty() {
            span.set_attribute(KeyValue::new("db.collection.name", of.to_owned()));
        }
        let answer = asking.await;
        match &answer {
            Ok(found) => {
                span.set_attribute(KeyValue::new("db.response.returned_rows", count(found) as i64));
            }
            Err(error) => {
                let fault = if error.is_overdue() { "overdue" } else { "failed" };
                span.set_attribute(KeyValue::new("error.type", fault));
                span.set_status(Status::error(fault));
            }
        }
        span.end();
        answer
    }
}

/// Of an answer of one row.
fn one<T>(_: &T) -> usize {
    1
}

/// What a question is of that is of no single stream or rollup, or whose name may be a client's text.
const ANY: &str = "";

#[async_trait]
impl RollupReader for TracedStore {
    async fn cells(&self, query: &CellQuery) -> Result<Vec<CellRow>, PortError> {
        self.ask(("cells", &query.rollup.name), Vec::len, self.store.cells(query)).await
    }

    async fn level_bases(&self, rollup: &Rollup) -> Result<LevelBases, PortError> {
        self.ask(("level_bases", &rollup.name), Vec::len, self.store.level_bases(rollup)).await
    }

    async fn totals(&self, query: &TallyQuery) -> Result<Totals, PortError> {
        self.ask(("totals", &query.rollup.name), one, self.store.totals(query)).await
    }

    async fn tally(&self, query: &TallyQuery) -> Result<Tally, PortError> {
        self.ask(("tally", &query.rollup.name), |found| found.events.len(), self.store.tally(query)).await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, PortError> {
        self.ask(("events", &query.stream), Vec::len, self.store.events(query)).await
    }

    async fn scan_events(&self, scan: &EventScan) -> Result<Vec<StoredEvent>, PortError> {
        self.ask(("scan_events", &scan.stream), Vec::len, self.store.scan_events(scan)).await
    }

    async fn deleted_events(&self, event_id: &str) -> Result<Vec<DeletedEvent>, PortError> {
        self.ask(("deleted_events", ANY), Vec::len, self.store.deleted_events(event_id)).await
    }

    async fn count_events(&self, query: &EventQuery) -> Result<u64, PortError> {
        self.ask(("count_events", &query.stream), one, self.store.count_events(query)).await
    }

    async fn active_users(&self, stream: &str, from: Timestamp, to: Timestamp) -> Result<u64, PortError> {
        self.ask(("active_users", stream), one, self.store.active_users(stream, from, to)).await
    }

    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, PortError> {
        self.ask(("dead_letters", ANY), Vec::len, self.store.dead_letters(query)).await
    }

    async fn letter_counts(&self, stream: Option<&str>) -> Result<Vec<LetterCount>, PortError> {
        self.ask(("letter_counts", ANY), Vec::len, self.store.letter_counts(stream)).await
    }

    async fn late(&self, query: &LateQuery) -> Result<Vec<StoredLate>, PortError> {
        self.ask(("late", ANY), Vec::len, self.store.late(query)).await
    }

    async fn diverted(&self, rollup: &str, places: &[(u32, u64)]) -> Result<BTreeSet<(u32, u64)>, PortError> {
        self.ask(("diverted", rollup), BTreeSet::len, self.store.diverted(rollup, places)).await
    }

    async fn status(&self, detail: StatusDetail) -> Result<StoreStatus, PortError> {
        self.ask(("status", ANY), |found| found.partitions.len(), self.store.status(detail)).await
    }
}
