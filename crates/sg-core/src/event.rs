//! Reading one event as clients send it: all spellings, borrowed from the request's bytes; `names` says what they mean.
//! Decides nothing about streams or rollups; that is `plan`'s.

mod names;

use std::borrow::Cow;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{self, Name};
use crate::limits::{EVENT_BYTES_MAX, JSON_DEPTH_MAX, MEMBERS_MAX};
use crate::reason::{Code, Refusal};
use crate::scan;
use crate::time::{TimeError, Timestamp};

pub use names::{OwnNames, SHARED};

/// The white space of JSON.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// The fields that every event may have, whatever its sender calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Canonical {
    /// The id under which a resend is the same event.
    EventId,
    /// What happened.
    EventType,
    /// When it happened.
    Timestamp,
    /// Who did it.
    UserId,
    /// In which session.
    SessionId,
    /// Everything else that was sent with it.
    Properties,
}

const CANONICAL_COUNT: usize = 6;

/// The spellings of each canonical field; the first that is present wins.
pub const SPELLINGS: [(Canonical, &[&str]); CANONICAL_COUNT] = [
    (Canonical::EventId, &["event_id", "eventId", "messageId", "message_id", "uuid", "$insert_id", "id"]),
    (Canonical::EventType, &["event_type", "eventType", "event_name", "eventName", "event", "type", "name"]),
    (
        Canonical::Timestamp,
        &["timestamp", "ts", "time", "event_time", "event_ts", "originalTimestamp", "created_at"],
    ),
    (Canonical::UserId, &["user_id", "userId", "distinct_id", "anonymousId", "anonymous_id"]),
    (Canonical::SessionId, &["session_id", "sessionId", "$session_id"]),
    (Canonical::Properties, &["properties", "metadata", "payload", "props", "data"]),
];

impl Canonical {
    /// All of them.
    pub const ALL: [Canonical; CANONICAL_COUNT] = [
        Canonical::EventId,
        Canonical::EventType,
        Canonical::Timestamp,
        Canonical::UserId,
        Canonical::SessionId,
        Canonical::Properties,
    ];

    /// Returns the canonical name, the first spelling.
    pub fn name(self) -> &'static str {
        SPELLINGS[self as usize].1[0]
    }

    /// Returns the canonical field of a spelling, with the spelling's rank.
    pub fn of_spelling(spelling: &str) -> Option<(Canonical, u8)> {
        let same_length = BY_LENGTH.get(spelling.len())?;
        let (first, last) = (spelling.as_bytes().first()?, spelling.as_bytes().last()?);
        for place in same_length.iter().map_while(|place| *place) {
            let known = SPELLINGS[place.0].1[place.1].as_bytes();
            // Two bytes tell nearly all names apart; the rest is compared only to be sure.
            if known[0] == *first && known[known.len() - 1] == *last && known == spelling.as_bytes() {
                return Some((SPELLINGS[place.0].0, place.1 as u8));
            }
        }
        None
    }
}

/// Longest spelling, plus one.
const LENGTHS: usize = 18;
/// Most spellings of one length.
const OF_ONE_LENGTH: usize = 8;

/// The places of all spellings in [`SPELLINGS`], by length: every name of every event is looked up here.
const BY_LENGTH: [[Option<(usize, usize)>; OF_ONE_LENGTH]; LENGTHS] = {
    let mut by_length = [[None; OF_ONE_LENGTH]; LENGTHS];
    let mut field = 0;
    while field < SPELLINGS.len() {
        let mut rank = 0;
        while rank < SPELLINGS[field].1.len() {
            let same_length = &mut by_length[SPELLINGS[field].1[rank].len()];
            let mut at = 0;
            while same_length[at].is_some() {
                at += 1;
            }
            same_length[at] = Some((field, rank));
            rank += 1;
        }
        field += 1;
    }
    by_length
};

/// A member that is used under its canonical name.
#[derive(Debug, Clone, Copy)]
struct Chosen<'a> {
    rank: u8,
    value: &'a str,
}

/// The members of one event, borrowed from its text. `null` counts as absent.
pub struct Members<'a> {
    text: &'a str,
    names: &'a OwnNames,
    chosen: [Option<Chosen<'a>>; CANONICAL_COUNT],
    others: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Members<'a> {
    /// Reads the members of an event of a stream with these names and checks that every store can hold it.
    ///
    /// # Errors
    /// A [`Refusal`] when the text is not a JSON object within the limits.
    pub fn read(text: &'a str, names: &'a OwnNames) -> Result<Members<'a>, Refusal> {
        let text = text.trim_matches(BLANKS);
        if text.len() > EVENT_BYTES_MAX {
            return Err(Refusal::new(
                Code::EventTooLarge,
                "",
                format!("an event has at most {EVENT_BYTES_MAX} bytes, this one {}", text.len()),
            ));
        }
        Members::within(JSON_DEPTH_MAX, text, names)
    }

    /// Reads the members of an event that a door let in. A raw table has what its sender wrote at the top among the
    /// properties, one level deeper, and in more bytes.
    ///
    /// # Errors
    /// A [`Refusal`] when the text is not a JSON object that a store can hold.
    pub fn read_again(text: &'a str, names: &'a OwnNames) -> Result<Members<'a>, Refusal> {
        Members::within(JSON_DEPTH_MAX + 1, text.trim_matches(BLANKS), names)
    }

    fn within(depth_max: usize, text: &'a str, names: &'a OwnNames) -> Result<Members<'a>, Refusal> {
        let mut gathered = Gathered::under(names);
        // The fast way finds nothing that a store could not hold: no escapes, no exponents, no depth.
        let is_plain = scan::members(text, |name, value| gathered.take(Cow::Borrowed(name), value)).is_some();
        if !is_plain {
            gathered = Gathered::read(text, names).map_err(|error| not_json(text, &error))?;
            json::check_storable(text, depth_max)?;
        }
        if let Some(refusal) = gathered.refusal {
            return Err(refusal);
        }
        Ok(Members { text, names, chosen: gathered.chosen, others: gathered.others })
    }

    /// Returns the event as it was sent, without the white space around it.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Returns the JSON of a canonical field, if it was sent.
    pub fn raw(&self, field: Canonical) -> Option<&'a str> {
        self.chosen[field as usize].map(|chosen| chosen.value)
    }

    /// Returns the name under which a canonical field was sent, or the one by which it is asked for.
    pub fn spelling(&self, field: Canonical) -> &'a str {
        let rank = self.chosen[field as usize].map_or(0, |chosen| chosen.rank);
        self.names.spelling(field, rank)
    }

    /// Returns whether the stream has a name of its own for a field.
    pub fn is_named_by_stream(&self, field: Canonical) -> bool {
        self.names.own(field).is_some()
    }

    /// Returns a canonical field that must be a string, number or boolean, as text.
    ///
    /// # Errors
    /// [`Code::BadField`] for an object or array, [`Code::BlankField`] for a text of white space.
    pub fn text_of(&self, field: Canonical) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(raw) = self.raw(field) else { return Ok(None) };
        let text = scalar_text(raw).ok_or_else(|| {
            let name = self.spelling(field);
            Refusal::new(Code::BadField, name, format!("{name} is a string, not an object or an array"))
        })?;
        if text.trim().is_empty() {
            let name = self.spelling(field);
            return Err(Refusal::new(
                Code::BlankField,
                name,
                format!("{name} is blank: leave it out or name something"),
            ));
        }
        Ok(Some(text))
    }

    /// Returns the event's timestamp; `None` when none was sent.
    ///
    /// # Errors
    /// [`Code::BadTimestamp`] or [`Code::TimestampOutOfRange`].
    pub fn timestamp(&self) -> Result<Option<Timestamp>, Refusal> {
        let Some(raw) = self.raw(Canonical::Timestamp) else { return Ok(None) };
        let read = match json::string(raw) {
            Some(text) => match Timestamp::from_text(&text) {
                // Some senders quote their epoch numbers.
                Err(TimeError::Unreadable) => Timestamp::from_number(text.trim()),
                read => read,
            },
            None => Timestamp::from_number(raw),
        };
        read.map(Some).map_err(|error| {
            let name = self.spelling(Canonical::Timestamp);
            match error {
                TimeError::Unreadable => Refusal::new(Code::BadTimestamp, name, self.no_time(name)),
                TimeError::OutOfRange => Refusal::new(
                    Code::TimestampOutOfRange,
                    name,
                    format!("{name} lies in the years 0001 to 9999"),
                ),
            }
        })
    }

    /// Says what a time is, and where a stream says which field has it: one of another meaning may have been taken for it.
    fn no_time(&self, name: &str) -> String {
        let time = "a time in RFC 3339, such as 2025-01-31T12:00:00Z, or a number since 1970";
        if self.is_named_by_stream(Canonical::Timestamp) {
            return format!("{name}, the timestamp by [stream.fields], is {time}");
        }
        let code = Code::BadTimestamp;
        format!(
            "{name} is {time}; a stream can name another field in [stream.fields]: see /docs/errors/{code}"
        )
    }

    /// Returns the text of the properties object; one that came inside a string is unpacked, anything else is `None`.
    pub fn properties(&self) -> Option<Cow<'a, str>> {
        let raw = self.raw(Canonical::Properties)?;
        if raw.starts_with('{') {
            return Some(Cow::Borrowed(raw));
        }
        let inner = json::string(raw)?;
        let is_object = inner.trim_start().starts_with('{')
            && serde_json::from_str::<&RawValue>(&inner).is_ok()
            && json::check_storable(&inner, JSON_DEPTH_MAX).is_ok();
        is_object.then_some(inner)
    }

    /// Returns the members that are no canonical field, in the order sent.
    pub fn others(&self) -> &[(Cow<'a, str>, &'a str)] {
        &self.others
    }
}

/// Returns a JSON scalar as text (numbers as sent, booleans as words); `None` for `null`, objects and arrays.
pub fn scalar_text(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first()? {
        b'"' => json::string(raw),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(raw)),
    }
}

fn not_json(text: &str, error: &serde_json::Error) -> Refusal {
    let is_object = text.starts_with('{');
    if !is_object && serde_json::from_str::<&RawValue>(text).is_ok() {
        return Refusal::new(Code::NotAnObject, "", "an event is a JSON object");
    }
    Refusal::new(Code::InvalidJson, "", format!("the event is not JSON: {error}"))
}

struct Gathered<'a> {
    names: &'a OwnNames,
    chosen: [Option<Chosen<'a>>; CANONICAL_COUNT],
    others: Vec<(Cow<'a, str>, &'a str)>,
    /// The first fault; what follows it is still read: text that is not JSON at all is the graver one.
    refusal: Option<Refusal>,
}

impl<'a> Gathered<'a> {
    fn under(names: &'a OwnNames) -> Gathered<'a> {
        Gathered { names, chosen: [None; CANONICAL_COUNT], others: Vec::new(), refusal: None }
    }

    /// Reads any JSON object.
    fn read(text: &'a str, names: &'a OwnNames) -> Result<Gathered<'a>, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let gathered = deserializer.deserialize_map(GatherMembers { names })?;
        deserializer.end().map(|()| gathered)
    }

    fn take(&mut self, name: Cow<'a, str>, value: &'a str) {
        if value == "null" || self.refusal.is_some() {
            return;
        }
        let Some((canonical, rank)) = self.names.field_of(&name) else {
            return self.keep(name, value);
        };
        let slot = &mut self.chosen[canonical as usize];
        let new = Chosen { rank, value };
        match *slot {
            None => *slot = Some(new),
            Some(old) if old.rank == rank => self.refusal = Some(duplicate(&name)),
            // The better spelling wins; the other stays a property, so that nothing vanishes.
            Some(old) if rank < old.rank => {
                *slot = Some(new);
                let old_name = SPELLINGS[canonical as usize].1[usize::from(old.rank)];
                self.keep(Cow::Borrowed(old_name), old.value);
            }
            Some(_) => self.keep(name, value),
        }
    }

    fn keep(&mut self, name: Cow<'a, str>, value: &'a str) {
        if self.others.iter().any(|(known, _)| *known == name) {
            self.refusal = Some(duplicate(&name));
        } else if self.others.len() == MEMBERS_MAX {
            self.refusal = Some(Refusal::new(
                Code::TooManyMembers,
                "",
                format!("an event has at most {MEMBERS_MAX} members"),
            ));
        } else {
            self.others.push((name, value));
        }
    }
}

fn duplicate(name: &str) -> Refusal {
    Refusal::new(Code::DuplicateMember, name, format!("{name} stands twice in the event"))
}

struct GatherMembers<'a> {
    names: &'a OwnNames,
}

impl<'de: 'a, 'a> Visitor<'de> for GatherMembers<'a> {
    type Value = Gathered<'a>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Gathered<'a>, A::Error> {
        let mut gathered = Gathered::under(self.names);
        while let Some(Name(name)) = map.next_key()? {
            gathered.take(name, map.next_value::<&'de RawValue>()?.get());
        }
        Ok(gathered)
    }
}

#[cfg(test)]
mod tests;
