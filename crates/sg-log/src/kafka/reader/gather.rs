//! From messages to one batch: values beside each other, what headers say beside them, the rest left to the plan.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::Timestamp as BrokerTime;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use sg_core::batch::{Entry, EventBatch, LetterPlace, LogBatch, Span, content_hash};
use sg_core::plan::Plan;
use sg_core::ports::ErrorKind;
use sg_core::time::Timestamp;
use sg_core::trace::{TRACEPARENT, TraceContext};

use crate::kafka::header::{self, Decided, Unreadable};

/// Records on their way into a batch.
pub(super) struct Gather {
    topic: Arc<str>,
    partition: u32,
    main: Vec<u8>,
    /// Takes the texts of headers; its entries are filled in last.
    batch: EventBatch,
    rows: Vec<Row>,
    places: Vec<(u64, Timestamp)>,
}

/// A record's value in `main`, and what the door decided if it was ours.
struct Row {
    at: usize,
    len: usize,
    entry: Option<(Entry, Option<LetterPlace>)>,
    /// The key of a record of others, for the dead letter that it may become.
    key: Span,
}

impl Gather {
    pub(super) fn new(topic: Arc<str>, partition: u32) -> Gather {
        let batch = EventBatch::new(topic.clone(), Bytes::new());
        Gather { topic, partition, main: Vec::new(), batch, rows: Vec::new(), places: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.main.len() + self.batch.side.len()
    }

    /// Returns the offset behind the last record.
    pub(super) fn next_offset(&self) -> Option<u64> {
        self.places.last().map(|(offset, _)| offset + 1)
    }

    /// Adds a record, whose offset is at least the given one. On an error nothing was added.
    pub(super) fn add(
        &mut self,
        message: &BorrowedMessage<'_>,
        least: u64,
    ) -> Result<(), (ErrorKind, String)> {
        let offset = match u64::try_from(message.offset()) {
            Ok(offset) if offset >= least => offset,
            _ => {
                let offset = message.offset();
                return Err((
                    ErrorKind::Retry,
                    format!("a record of offset {offset} came where {least} was next"),
                ));
            }
        };
        let BrokerTime::LogAppendTime(appended_at) = message.timestamp() else {
            let why = format!(
                "the record at offset {offset} has no time of the broker's (message.timestamp.type is not \
                 LogAppendTime); `streamgauge topics ensure` sets it for new records, and older ones can then be \
                 read only by writing them again"
            );
            return Err((ErrorKind::Corrupt, why));
        };
        let value = message.payload().unwrap_or_default();
        let entry = match header_of(message, header::NAME) {
            None => None,
            Some(header) => match header::decode(header) {
                Ok(decided) => Some((self.entry(&decided, value), decided.replay_of)),
                // No door of ours wrote it: a record of others, whose header happens to have our name.
                Err(Unreadable::Malformed(why)) => {
                    tracing::debug!(offset, why, "a header of our name is not ours");
                    None
                }
                Err(error @ Unreadable::Version(_)) => {
                    let why = format!("the record at offset {offset} cannot be understood: {error}");
                    return Err((ErrorKind::Corrupt, why));
                }
            },
        };
        let key = match (&entry, message.key()) {
            (None, Some(key)) => self.batch.push_side(key),
            _ => Span::NONE,
        };
        let index = self.rows.len() as u32;
        self.batch.traces.extend(trace_of(message, entry.is_some()).map(|context| (index, context)));
        self.rows.push(Row { at: self.main.len(), len: value.len(), entry, key });
        self.main.extend_from_slice(value);
        self.places.push((offset, Timestamp(appended_at)));
        Ok(())
    }

    fn entry(&mut self, decided: &Decided<'_>, value: &[u8]) -> Entry {
        Entry {
            raw: Span::main(self.main.len(), value.len()),
            id: self.batch.push_side(decided.id.as_bytes()),
            kind: self.batch.push_side(decided.kind.as_bytes()),
            key_hash: decided.key_hash,
            key: Span::NONE,
            event_time: decided.event_time,
            received_at: Some(decided.received_at),
            content: content_hash(value),
        }
    }

    /// Makes the batch; `None` without records.
    pub(super) fn into_batch(self, plan: &Plan) -> Option<LogBatch> {
        let Gather { topic, partition, main, mut batch, rows, places } = self;
        let (first_offset, appended_at) = *places.first()?;
        let main = Bytes::from(main);
        batch.stream = plan.name.clone();
        batch.main = main.clone();
        batch.entries.reserve_exact(rows.len());
        let (mut own, mut foreign) = (0, 0);
        for (row, (offset, _)) in rows.iter().zip(&places) {
            match row.entry {
                Some((entry, replay_of)) => {
                    own += 1;
                    let index = batch.entries.len() as u32;
                    batch.replays.extend(replay_of.map(|letter| (index, letter)));
                    batch.entries.push(entry);
                }
                None => {
                    foreign += 1;
                    let place = || format!("{topic}-{partition}-{offset}");
                    plan.take_foreign(&main[row.at..row.at + row.len], &place, &mut batch);
                    let last = batch.entries.len() - 1;
                    if batch.refusal(last).is_some() {
                        batch.entries[last].key = row.key;
                    }
                }
            }
        }
        if own > 0 && foreign > 0 {
            // Rows of ours have no fields: the fold reads those of all.
            batch.fields = None;
        }
        let events = Arc::new(batch);
        Some(LogBatch { events, first_offset, appended_at, places: Some(places) })
    }
}

/// Returns the value of a header, if there is one.
fn header_of<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a [u8]> {
    let headers = message.headers()?;
    let find = || headers.iter().find(|header| header.key == name).and_then(|header| header.value);
    // rdkafka panics at a header whose name is not UTF-8. Ours are: such a record is another's.
    catch_unwind(AssertUnwindSafe(find)).unwrap_or_default()
}

/// Returns the span that wrote a record, whoever wrote it, where that is traced.
fn trace_of(message: &BorrowedMessage<'_>, is_own: bool) -> Option<TraceContext> {
    // A record of ours that is not traced has one header.
    if is_own && message.headers()?.count() < 2 {
        return None;
    }
    let value = std::str::from_utf8(header_of(message, TRACEPARENT)?).ok()?;
    TraceContext::parse(value).filter(|context| context.is_sampled)
}
