//! What the door and the fold read from each event of a stream: compiled once from the stream and its rollups.
//! `accept` decides everything that can be decided about an event alone; what depends on its neighbours is `fold`'s.

mod checks;
mod read;
mod replay;
mod stored;

use std::borrow::Cow;
use std::sync::Arc;

use crate::batch::{Entry, EventBatch, Fields, MISSING, Span, content_hash, key_hash};
use crate::definition::{Condition, FieldType, Function, NumberField, Rollup, Stream};
use crate::event::{Canonical, Members, scalar_text};
use crate::limits::EVENT_ID_BYTES_MAX;
use crate::reason::{Code, Refusal};
use crate::time::Timestamp;

pub use replay::{Edit, Letter};

use read::{Read, Source, check_length, field_of, joined_properties, number_of, push_raw};

/// A stream with everything its rollups need, as slots of [`Fields`].
#[derive(Debug)]
pub struct Plan {
    /// The stream's definition.
    pub stream: Stream,
    /// The stream's name, shared with its batches.
    pub name: Arc<str>,
    /// The stream's rollups.
    pub rollups: Vec<RollupPlan>,
    /// Slots of the raw table's columns.
    pub raw: Option<RawSlots>,
    texts: Vec<Source>,
    numbers: Vec<(Source, NumberField)>,
    key_by: Vec<Source>,
    require: Vec<(String, Source)>,
    types: Vec<(String, Source, FieldType)>,
}

/// A rollup whose fields are slots.
#[derive(Debug)]
pub struct RollupPlan {
    /// The definition.
    pub rollup: Rollup,
    /// Text slots of the dimensions.
    pub dimensions: Vec<usize>,
    /// The measures.
    pub measures: Vec<MeasurePlan>,
}

/// A measure whose fields are slots.
#[derive(Debug)]
pub struct MeasurePlan {
    /// What is computed.
    pub function: Function,
    /// What it takes from an event.
    pub takes: Takes,
    /// Which events it takes.
    pub filter: Filter,
}

/// Text slots and the values one of which they must have.
pub type Filter = Vec<(usize, Vec<Vec<u8>>)>;

/// What a measure takes from an event.
#[derive(Debug)]
pub enum Takes {
    /// That it happened.
    Event,
    /// A number slot.
    Number(usize),
    /// A text slot.
    Text(usize),
    /// A step up or down; an event that meets both conditions steps nowhere.
    Step {
        /// Up.
        up: Filter,
        /// Down.
        down: Filter,
    },
}

/// Text slots of the raw table's columns.
#[derive(Debug, Clone, Copy)]
pub struct RawSlots {
    /// The user's id.
    pub user: usize,
    /// The session's id.
    pub session: usize,
    /// Properties and unknown members as one JSON object.
    pub properties: usize,
}

/// What is known of how an event came.
pub struct Arrival<'a> {
    /// When the door received it; `None` for a record that others wrote to the log, whose time of arrival is the
    /// log's and whose date is judged behind the door.
    pub received_at: Option<Timestamp>,
    /// Gives an id to an event that has none.
    pub new_id: &'a mut dyn FnMut() -> String,
}

impl Plan {
    /// Compiles a stream and those of the given rollups that read it.
    pub fn new(stream: Stream, rollups: &[Rollup]) -> Plan {
        let typed = |(name, kind): &(String, FieldType)| {
            let (shown, source) = field_of(name, &stream.fields);
            (shown, source, *kind)
        };
        let mut plan = Plan {
            name: Arc::from(stream.name.as_str()),
            rollups: Vec::new(),
            raw: None,
            texts: Vec::new(),
            numbers: Vec::new(),
            key_by: stream.partition_by.iter().map(|name| Source::of(name, &stream.fields)).collect(),
            require: stream.require.iter().map(|name| field_of(name, &stream.fields)).collect(),
            types: stream.types.iter().map(typed).collect(),
            stream,
        };
        let name = plan.name.clone();
        for rollup in rollups.iter().filter(|rollup| *rollup.stream == *name) {
            let planned = plan.rollup(rollup);
            plan.rollups.push(planned);
        }
        if plan.stream.raw_table.is_some() {
            plan.raw = Some(RawSlots {
                user: plan.text_slot(Source::Canonical(Canonical::UserId)),
                session: plan.text_slot(Source::Canonical(Canonical::SessionId)),
                properties: plan.text_slot(Source::Properties),
            });
        }
        plan
    }

    fn rollup(&mut self, rollup: &Rollup) -> RollupPlan {
        let dimensions = rollup.by.iter().map(|name| self.text_slot(self.source(name))).collect();
        let measures = rollup
            .measures
            .iter()
            .map(|measure| MeasurePlan {
                function: measure.function.clone(),
                takes: self.takes(&measure.function),
                filter: self.filter(&measure.filter),
            })
            .collect();
        RollupPlan { rollup: rollup.clone(), dimensions, measures }
    }

    fn takes(&mut self, function: &Function) -> Takes {
        if let Function::Level { up, down } = function {
            return Takes::Step { up: self.filter(up), down: self.filter(down) };
        }
        match (function.number(), function.text()) {
            (Some(field), _) => Takes::Number(self.number_slot(field)),
            (None, Some(name)) => Takes::Text(self.text_slot(self.source(name))),
            (None, None) => Takes::Event,
        }
    }

    fn filter(&mut self, condition: &Condition) -> Filter {
        let slot_of = |(name, values): &(String, Vec<String>)| {
            let values = values.iter().map(|value| value.clone().into_bytes()).collect();
            (self.text_slot(self.source(name)), values)
        };
        condition.0.iter().map(slot_of).collect()
    }

    fn source(&self, name: &str) -> Source {
        Source::of(name, &self.stream.fields)
    }

    fn text_slot(&mut self, source: Source) -> usize {
        self.texts.iter().position(|known| *known == source).unwrap_or_else(|| {
            self.texts.push(source);
            self.texts.len() - 1
        })
    }

    fn number_slot(&mut self, field: &NumberField) -> usize {
        self.numbers.iter().position(|(_, known)| known == field).unwrap_or_else(|| {
            self.numbers.push((self.source(&field.name), field.clone()));
            self.numbers.len() - 1
        })
    }

    /// Returns the number of text slots of a row.
    pub fn text_slots(&self) -> usize {
        self.texts.len()
    }

    /// Returns the number of number slots of a row.
    pub fn number_slots(&self) -> usize {
        self.numbers.len()
    }

    /// Reads, checks and adds one event, as the door does.
    ///
    /// # Errors
    /// The [`Refusal`] for its sender; the batch is then as it was, but for spare side bytes.
    pub fn accept(
        &self,
        text: &str,
        arrival: &mut Arrival<'_>,
        batch: &mut EventBatch,
    ) -> Result<(), Refusal> {
        let event = self.read(text)?;
        let event_time = event.members.timestamp()?;
        if let Some(received_at) = arrival.received_at {
            self.check_future(&event, event_time, received_at)?;
        }
        let kind = self.kind(&event)?;
        self.check_required(&event)?;
        self.check_types(&event)?;
        let id = self.id(&event, event_time, arrival)?;
        let mut fields = batch.fields.take().unwrap_or_default();
        let (kind_span, id_span) = (batch.span_of(kind.as_bytes()), batch.span_of(id.as_bytes()));
        let read = self.read_fields(&event, (kind_span, id_span), batch, &mut fields);
        batch.fields = Some(fields);
        read?;
        let raw = push_raw(event.members.text(), batch);
        let key = self.key(&event);
        let key_span = key.as_ref().map_or(id_span, |key| batch.span_of(key.as_bytes()));
        let entry = Entry {
            raw,
            id: id_span,
            kind: kind_span,
            key_hash: key_hash(batch.bytes(key_span)),
            key: key_span,
            event_time,
            received_at: arrival.received_at,
            content: content_hash(batch.bytes(raw)),
        };
        batch.entries.push(entry);
        Ok(())
    }

    /// Adds a record that others wrote to a log, whatever it holds: what the door would have refused its sender is
    /// added as refused. `place` names the record's place in the log, the id of an event that has none.
    pub fn take_foreign(&self, value: &[u8], place: &dyn Fn() -> String, batch: &mut EventBatch) {
        let text = std::str::from_utf8(value).ok();
        let mut arrival = Arrival { received_at: None, new_id: &mut || place() };
        let taken = match text {
            Some(text) => self.accept(text, &mut arrival, batch),
            None => Err(Refusal::new(Code::InvalidJson, "", "the record is not UTF-8")),
        };
        let Err(refusal) = taken else { return };
        let members = text.and_then(|text| Members::read(text, &self.stream.fields).ok());
        let text_of = |member| members.as_ref().and_then(|members| members.text_of(member).ok().flatten());
        let raw = batch.span_of(value);
        let id = text_of(Canonical::EventId).filter(|id| id.len() <= EVENT_ID_BYTES_MAX);
        let id = batch.span_of(id.map_or_else(place, Cow::into_owned).as_bytes());
        let kind = batch.span_of(text_of(Canonical::EventType).unwrap_or_default().as_bytes());
        let entry = Entry {
            raw,
            id,
            kind,
            key_hash: key_hash(batch.bytes(id)),
            key: id,
            event_time: members.as_ref().and_then(|members| members.timestamp().ok().flatten()),
            received_at: None,
            content: content_hash(value),
        };
        batch.refused.push((batch.entries.len() as u32, refusal));
        batch.entries.push(entry);
        self.fill_row(batch.entries.len(), batch.fields.get_or_insert_default());
    }

    /// Returns the name by which a field is asked for in this stream.
    pub fn name_of(&self, field: Canonical) -> &str {
        self.stream.fields.name(field)
    }

    fn read<'e>(&'e self, text: &'e str) -> Result<Read<'e>, Refusal> {
        Read::of(Members::read(text, &self.stream.fields)?)
    }

    fn read_again<'e>(&'e self, text: &'e str) -> Result<Read<'e>, Refusal> {
        Read::of(Members::read_again(text, &self.stream.fields)?)
    }

    /// Returns the partition key of an event that stands in a log without it.
    pub fn key_of(&self, text: &str, id: &str) -> String {
        let key = self.read(text).ok().and_then(|event| self.key(&event).map(Cow::into_owned));
        key.unwrap_or_else(|| id.to_owned())
    }

    /// Fills the fields up to so many rows with rows of nothing.
    fn fill_row(&self, rows: usize, fields: &mut Fields) {
        fields.texts.resize(rows * self.texts.len(), Span::NONE);
        fields.numbers.resize(rows * self.numbers.len(), MISSING);
    }

    /// Reads the fields of a batch that came back from a log. What the door decided stands in the entries and is
    /// not decided again; an event that does not fit today's rollups is marked as refused.
    pub fn read_back(&self, batch: &mut EventBatch) {
        if batch.fields.is_some() {
            return;
        }
        let mut fields = Fields::default();
        fields.texts.reserve(batch.entries.len() * self.texts.len());
        fields.numbers.reserve(batch.entries.len() * self.numbers.len());
        let main = batch.main.clone();
        let mut refused = Vec::new();
        for index in 0..batch.entries.len() {
            let entry = batch.entries[index];
            let already = batch.refusal(index).cloned();
            let read = match already {
                Some(refusal) => Err(refusal),
                None => {
                    let text = match entry.raw.main_at() {
                        None => Cow::Owned(batch.text(entry.raw).to_owned()),
                        Some(at) => {
                            let bytes = &main[at..at + entry.raw.len()];
                            std::str::from_utf8(bytes)
                                .map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
                        }
                    };
                    let decided = (entry.kind, entry.id);
                    let event = self.read_again(&text);
                    event.and_then(|event| self.read_fields(&event, decided, batch, &mut fields))
                }
            };
            if let Err(refusal) = read {
                self.fill_row(index + 1, &mut fields);
                refused.push((index as u32, refusal));
            }
        }
        batch.refused = refused;
        batch.fields = Some(fields);
    }

    /// Fills the fields of events that are known to have been counted, where the door has decided all that is asked for,
    /// so that nothing need be read; returns whether it has.
    pub(crate) fn take_decided(&self, batch: &mut EventBatch) -> bool {
        if !self.numbers.is_empty() || !self.texts.iter().all(Source::is_decided) {
            return false;
        }
        let rows = batch.entries.iter();
        let texts = rows.flat_map(|entry| self.texts.iter().map(|source| source.decided(entry)));
        batch.fields = Some(Fields { texts: texts.collect(), numbers: Vec::new() });
        true
    }

    /// Returns the partition key; `None` when it is the event id.
    fn key<'e>(&self, event: &'e Read<'_>) -> Option<Cow<'e, str>> {
        let present =
            |source: &Source| source.raw(event).and_then(scalar_text).filter(|text| !text.is_empty());
        self.key_by.iter().find_map(present)
    }

    /// Appends one row of fields, of an event whose type and id are decided; on an error the row is taken back.
    fn read_fields<'e>(
        &'e self,
        event: &Read<'e>,
        decided: (Span, Span),
        batch: &mut EventBatch,
        fields: &mut Fields,
    ) -> Result<(), Refusal> {
        let (texts_before, numbers_before) = (fields.texts.len(), fields.numbers.len());
        let read =
            self.read_texts(event, decided, batch, fields).and_then(|()| self.read_numbers(event, fields));
        if read.is_err() {
            fields.texts.truncate(texts_before);
            fields.numbers.truncate(numbers_before);
        }
        read
    }

    fn read_texts(
        &self,
        event: &Read<'_>,
        (kind, id): (Span, Span),
        batch: &mut EventBatch,
        fields: &mut Fields,
    ) -> Result<(), Refusal> {
        for source in &self.texts {
            let span = match source {
                Source::Canonical(Canonical::EventType) => kind,
                Source::Canonical(Canonical::EventId) => id,
                Source::Canonical(canonical) => match event.members.text_of(*canonical)? {
                    None => Span::NONE,
                    Some(text) => {
                        check_length(|| event.members.spelling(*canonical), &text)?;
                        batch.span_of(text.as_bytes())
                    }
                },
                Source::Properties => joined_properties(event, batch),
                Source::Property { name, .. } => match source.raw(event) {
                    None => Span::NONE,
                    Some(raw) => {
                        let text = scalar_text(raw).unwrap_or(Cow::Borrowed(raw));
                        check_length(|| name, &text)?;
                        batch.span_of(text.as_bytes())
                    }
                },
            };
            fields.texts.push(span);
        }
        Ok(())
    }

    fn read_numbers<'e>(&'e self, event: &Read<'e>, fields: &mut Fields) -> Result<(), Refusal> {
        for (source, field) in &self.numbers {
            let number = match source.raw(event) {
                None => MISSING,
                Some(raw) => number_of(raw, source.spelling(event, &field.name), field.scale)?,
            };
            fields.numbers.push(number);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
