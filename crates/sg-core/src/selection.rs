//! Which events are meant, as people write it: conditions over an event's members, joined by `and`. The same text selects
//! the same events on every backend, for it is judged here. There is no `or`, no arithmetic and no function.

mod number;
mod parse;

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::event::{OwnNames, SHARED, scalar_text};
use crate::json;
use crate::query::StoredEvent;
use crate::time::Timestamp;

pub use parse::SyntaxError;

/// Conditions, all of which an event must meet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    terms: Vec<Term>,
    /// As written, and when: names mean what each stream says.
    text: String,
    now: Timestamp,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: Field,
    /// How the member's value may stand to one of the values.
    test: Test,
    values: Vec<Literal>,
}

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Stream,
    Partition,
    Offset,
    EventId,
    EventType,
    UserId,
    SessionId,
    Timestamp,
    ReceivedAt,
    /// A member of the properties; each step into an object is one name.
    Property {
        name: String,
        path: Vec<String>,
    },
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    /// It is one of the values.
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    StartsWith,
}

/// A value as written, read for its field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Literal {
    Text(String),
    /// Digits as written.
    Number(String),
    Bool(bool),
    Time(Timestamp),
}

impl Selection {
    /// Reads conditions; none select every event. Times may be relative to `now`.
    ///
    /// # Errors
    /// [`SyntaxError`] with the place where the text cannot be understood.
    pub fn parse(text: &str, now: Timestamp) -> Result<Selection, SyntaxError> {
        Selection::under(text, now, &SHARED)
    }

    /// Returns the same conditions as a stream with these names means them.
    ///
    /// # Errors
    /// [`SyntaxError`] where a name of the stream's own means a field that cannot be compared like this.
    pub fn of_stream(&self, names: &OwnNames) -> Result<Selection, SyntaxError> {
        Selection::under(&self.text, self.now, names)
    }

    fn under(text: &str, now: Timestamp, names: &OwnNames) -> Result<Selection, SyntaxError> {
        Ok(Selection { terms: parse::terms(text, now, names)?, text: text.to_owned(), now })
    }

    /// Returns whether there is no condition.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Returns whether events of a stream can be meant.
    pub fn may_be_in(&self, stream: &str) -> bool {
        self.of(&Field::Stream).all(|term| term.is_met_by(&Found::Text(stream.into())))
    }

    /// Returns whether events of a partition can be meant.
    pub fn may_be_in_partition(&self, partition: u32) -> bool {
        self.of(&Field::Partition).all(|term| term.is_met_by(&Found::Number(partition.to_string().into())))
    }

    /// Returns from when on to before when an event can be meant to have happened.
    pub fn times(&self) -> (Timestamp, Timestamp) {
        let mut times = Timestamp::ALWAYS;
        for term in self.of(&Field::Timestamp) {
            let (from, to) = term.times();
            times = (times.0.max(from), times.1.min(to));
        }
        times
    }

    fn of<'s>(&'s self, field: &'s Field) -> impl Iterator<Item = &'s Term> {
        self.terms.iter().filter(move |term| term.field == *field)
    }

    /// Returns whether an event of a stream is meant.
    pub fn selects(&self, stream: &str, event: &StoredEvent) -> bool {
        self.terms.iter().all(|term| term.field.of(stream, event).is_some_and(|found| term.is_met_by(&found)))
    }
}

/// A member's value.
enum Found<'a> {
    Text(Cow<'a, str>),
    Number(Cow<'a, str>),
    Bool(bool),
    Time(Timestamp),
}

impl Field {
    /// Returns the member of an event; `None` where it has none, or one that is no single value.
    fn of<'a>(&self, stream: &'a str, event: &'a StoredEvent) -> Option<Found<'a>> {
        let text = |text: &'a str| Found::Text(text.into());
        Some(match self {
            Field::Stream => text(stream),
            Field::Partition => Found::Number(event.partition.to_string().into()),
            Field::Offset => Found::Number(event.offset.to_string().into()),
            Field::EventId => text(&event.event_id),
            Field::EventType => text(&event.event_type),
            Field::UserId => text(event.user_id.as_deref()?),
            Field::SessionId => text(event.session_id.as_deref()?),
            Field::Timestamp => Found::Time(event.event_time),
            Field::ReceivedAt => Found::Time(event.received_at),
            Field::Property { name, path } => {
                let whole = std::slice::from_ref(name);
                let raw = json::find(&event.properties, whole)
                    .or_else(|| json::find(&event.properties, path))
                    .filter(|raw| *raw != "null")?;
                match raw {
                    "true" => Found::Bool(true),
                    "false" => Found::Bool(false),
                    _ if raw.starts_with('"') => Found::Text(scalar_text(raw)?),
                    _ => Found::Number(scalar_text(raw)?),
                }
            }
        })
    }
}

impl Term {
    fn is_met_by(&self, found: &Found<'_>) -> bool {
        let stands = |wanted: Ordering, also: Option<Ordering>| {
            self.values.iter().any(|value| {
                let order = value.order(found);
                order.is_some() && (order == Some(wanted) || (also.is_some() && order == also))
            })
        };
        match self.test {
            Test::Equal => stands(Ordering::Equal, None),
            Test::NotEqual => !stands(Ordering::Equal, None),
            Test::Less => stands(Ordering::Less, None),
            Test::LessOrEqual => stands(Ordering::Less, Some(Ordering::Equal)),
            Test::Greater => stands(Ordering::Greater, None),
            Test::GreaterOrEqual => stands(Ordering::Greater, Some(Ordering::Equal)),
            Test::StartsWith => match found {
                Found::Text(text) | Found::Number(text) => self
                    .values
                    .iter()
                    .any(|value| matches!(value, Literal::Text(prefix) if text.starts_with(prefix.as_str()))),
                Found::Bool(_) | Found::Time(_) => false,
            },
        }
    }
}

impl Term {
    /// Returns from when on to before when a time can meet the condition.
    fn times(&self) -> (Timestamp, Timestamp) {
        let times = || self.values.iter().filter_map(Literal::time);
        let (always, after) = (Timestamp::ALWAYS, |time: Timestamp| Timestamp(time.0.saturating_add(1)));
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return always };
        match self.test {
            Test::Equal => (first, after(last)),
            Test::Less => (always.0, last),
            Test::LessOrEqual => (always.0, after(last)),
            Test::Greater => (after(first), always.1),
            Test::GreaterOrEqual => (first, always.1),
            Test::NotEqual | Test::StartsWith => always,
        }
    }
}

impl Literal {
    fn time(&self) -> Option<Timestamp> {
        if let Literal::Time(time) = self { Some(*time) } else { None }
    }

    /// Returns how a member's value stands to this one; `None` where they cannot be compared. A text that holds a number is
    /// one beside a number, as for measures.
    fn order(&self, found: &Found<'_>) -> Option<Ordering> {
        match (found, self) {
            (Found::Text(text), Literal::Text(wanted)) => Some(text.as_ref().cmp(wanted)),
            (Found::Text(number) | Found::Number(number), Literal::Number(wanted)) => {
                number::compare(number.trim(), wanted)
            }
            (Found::Number(number), Literal::Text(wanted)) => number::compare(number, wanted.trim()),
            (Found::Bool(found), Literal::Bool(wanted)) => Some(found.cmp(wanted)),
            (Found::Time(time), Literal::Time(wanted)) => Some(time.cmp(wanted)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
