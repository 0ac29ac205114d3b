//! Reads single fields of one event: where a field's value stands, and what it must keep to.

use std::borrow::Cow;

use crate::batch::{Entry, EventBatch, Span};
use crate::decimal::{self, NumberError};
use crate::event::{Canonical, Members, OwnNames, scalar_text};
use crate::json;
use crate::limits::DIMENSION_BYTES_MAX;
use crate::reason::{Code, Refusal};

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Canonical(Canonical),
    Property { name: String, path: Vec<String> },
    Properties,
}

impl Source {
    /// Returns what a name means in the definitions of a stream with these names.
    pub(super) fn of(name: &str, names: &OwnNames) -> Source {
        match (names.meaning(name), names.field_of(name)) {
            (Some(Canonical::Properties), _) | (None, Some((Canonical::Properties, _))) => Source::Properties,
            (Some(canonical), _) => Source::Canonical(canonical),
            (None, _) => {
                Source::Property { name: name.to_owned(), path: name.split('.').map(str::to_owned).collect() }
            }
        }
    }

    /// Returns the name under which `event` has the value that a definition calls `name`.
    #[inline]
    pub(super) fn spelling<'e>(&self, event: &Read<'e>, name: &'e str) -> &'e str {
        match self {
            Source::Canonical(canonical) => event.members.spelling(*canonical),
            Source::Property { .. } | Source::Properties => name,
        }
    }

    /// Returns whether the door has decided the value, and an entry has it.
    pub(super) fn is_decided(&self) -> bool {
        matches!(self, Source::Canonical(Canonical::EventType | Canonical::EventId))
    }

    /// Returns what the door has decided of an event; nothing of what it has not.
    pub(super) fn decided(&self, entry: &Entry) -> Span {
        match self {
            Source::Canonical(Canonical::EventType) => entry.kind,
            Source::Canonical(Canonical::EventId) => entry.id,
            _ => Span::NONE,
        }
    }

    /// Returns the JSON of the value in `event`; `null` and absence are the same.
    pub(super) fn raw<'e>(&self, event: &'e Read<'_>) -> Option<&'e str> {
        let found = match self {
            Source::Canonical(canonical) => event.members.raw(*canonical),
            Source::Property { name, path } => event.property(name, path),
            Source::Properties => event.properties.as_deref(),
        };
        found.filter(|raw| *raw != "null")
    }
}

/// Returns a field that a stream's definition asks for, with the name under which its events have it.
pub(super) fn field_of(name: &str, names: &OwnNames) -> (String, Source) {
    let source = Source::of(name, names);
    let shown = match source {
        Source::Canonical(canonical) => names.name(canonical),
        Source::Properties => names.name(Canonical::Properties),
        Source::Property { .. } => name,
    };
    (shown.to_owned(), source)
}

/// An event's members with its properties unpacked.
pub(super) struct Read<'a> {
    pub(super) members: Members<'a>,
    pub(super) properties: Option<Cow<'a, str>>,
}

impl<'a> Read<'a> {
    pub(super) fn of(members: Members<'a>) -> Result<Read<'a>, Refusal> {
        let properties = members.properties();
        // A blank session is a fault of its sender even where no rollup looks at sessions.
        members.text_of(Canonical::SessionId)?;
        members.text_of(Canonical::UserId)?;
        Ok(Read { members, properties })
    }

    /// Returns a member of that whole name, or else what lies on the path: the same whether it is looked for in the event
    /// as it was sent or in a raw table, which keeps other members among the properties, where they hide those of their name.
    fn property(&self, name: &str, path: &[String]) -> Option<&str> {
        let other = |wanted: &str| {
            self.members.others().iter().find(|(known, _)| known == wanted).map(|(_, value)| *value)
        };
        let properties = self.properties.as_deref();
        let within = |path: &[String]| properties.and_then(|object| json::find(object, path));
        if let Some(value) = other(name) {
            return Some(value);
        }
        let (first, rest) = path.split_first()?;
        if rest.is_empty() {
            return within(path);
        }
        within(&[name.to_owned()]).or_else(|| match other(first) {
            Some(object) => json::find(object, rest),
            None => within(path),
        })
    }
}

/// Reads a number at a field's scale; refusals call it by the name under which it was sent.
pub(super) fn number_of(raw: &str, name: &str, scale: u32) -> Result<i128, Refusal> {
    let text = scalar_text(raw).filter(|_| !matches!(raw, "true" | "false"));
    let bad = || Refusal::new(Code::BadNumber, name, format!("{name} is a number or a text that holds one"));
    let text = text.ok_or_else(bad)?;
    decimal::parse(text.trim(), scale).map_err(|error| match error {
        NumberError::Unreadable => bad(),
        NumberError::OutOfRange => {
            Refusal::new(Code::NumberOutOfRange, name, format!("{name} is too large to be summed"))
        }
    })
}

/// Checks the length of a dimension; its name is asked for only where it is told.
pub(super) fn check_length<'n>(name: impl FnOnce() -> &'n str, text: &str) -> Result<(), Refusal> {
    if text.len() <= DIMENSION_BYTES_MAX {
        return Ok(());
    }
    let name = name();
    Err(Refusal::new(
        Code::DimensionTooLong,
        name,
        format!("{name} has at most {DIMENSION_BYTES_MAX} bytes, this one {}", text.len()),
    ))
}

/// JSON strings cannot hold raw line breaks, so every one stands between tokens and can go.
pub(super) fn push_raw(text: &str, batch: &mut EventBatch) -> Span {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none() {
        return batch.span_of(text.as_bytes());
    }
    let one_line: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    batch.push_side(&one_line)
}

/// Returns properties and unknown members as one object; a member at the top hides a property of its name.
pub(super) fn joined_properties(event: &Read<'_>, batch: &mut EventBatch) -> Span {
    let others = event.members.others();
    let loose = match &event.properties {
        None => event
            .members
            .raw(Canonical::Properties)
            .map(|raw| (event.members.spelling(Canonical::Properties), raw)),
        Some(properties) if others.is_empty() => return batch.span_of(properties.as_bytes()),
        Some(_) => None,
    };
    if others.is_empty() && loose.is_none() {
        return batch.push_side(b"{}");
    }
    let mut joined = String::from("{");
    let mut add = |name: &str, raw: &str| {
        if joined.len() > 1 {
            joined.push(',');
        }
        joined += &serde_json::to_string(name).unwrap_or_default();
        joined.push(':');
        joined += raw;
    };
    if let Some(properties) = &event.properties {
        for (name, value) in &json::members(properties) {
            if !others.iter().any(|(known, _)| known == name) {
                add(name, value.get());
            }
        }
    }
    if let Some((name, raw)) = loose {
        add(name, raw);
    }
    for (name, value) in others {
        add(name, value);
    }
    joined.push('}');
    joined.retain(|character| !matches!(character, '\n' | '\r'));
    batch.push_side(joined.as_bytes())
}
