//! Takes a dead letter in again, mended or not. What the letter was known by stays: its id, and the time of arrival as
//! that of an event without a timestamp. Knows nothing of where letters lie.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::batch::{EventBatch, LetterPlace, key_hash};
use crate::event::{Canonical, OwnNames};
use crate::json;
use crate::reason::{Code, Refusal};
use crate::time::Timestamp;

use super::read::Source;
use super::{Arrival, Plan};

/// What is known of a dead letter.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// Where it stands.
    pub place: LetterPlace,
    /// Its event id.
    pub id: &'a str,
    /// When it was received.
    pub received_at: Timestamp,
    /// The event as sent.
    pub raw: &'a [u8],
}

/// Members that are set in every letter before it is taken in, each as JSON; `null` takes a member out.
#[derive(Debug, Clone, Default)]
pub struct Edit(Vec<(String, Box<RawValue>)>);

impl Edit {
    /// Makes an edit of members by name.
    pub fn new(members: Vec<(String, Box<RawValue>)>) -> Edit {
        Edit(members)
    }

    /// Returns whether an event gets another id.
    fn sets_id(&self, names: &OwnNames) -> bool {
        let is_id = |name: &str| matches!(names.field_of(name), Some((Canonical::EventId, _)));
        self.0.iter().any(|(name, _)| is_id(name))
    }

    /// Returns an event of a stream with these names with the members set at its top, where they win over properties of the
    /// same name. What is no JSON object stays as it is.
    fn apply<'a>(&self, event: &'a str, names: &OwnNames) -> Cow<'a, str> {
        let mut members = json::members(event);
        if self.0.is_empty() || members.is_empty() {
            return Cow::Borrowed(event);
        }
        for (name, value) in &self.0 {
            let used = spelled(&members, name, names);
            members.retain(|(known, _)| known != name && used != Some(known.as_ref()));
            if value.get() != "null" {
                members.push((Cow::Borrowed(name), value));
            }
        }
        let written = members
            .iter()
            .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_ref()), value.get()));
        Cow::Owned(format!("{{{}}}", written.collect::<Vec<_>>().join(",")))
    }
}

/// Returns the spelling under which an event has the field that a name spells, if it is a canonical one.
fn spelled<'n>(members: &[(Cow<'_, str>, &RawValue)], name: &str, names: &'n OwnNames) -> Option<&'n str> {
    let (field, _) = names.field_of(name)?;
    let is_sent =
        |spelling: &str| members.iter().any(|(known, value)| known == spelling && value.get() != "null");
    names.spellings(field).into_iter().find(|spelling| is_sent(spelling))
}

impl Plan {
    /// Reads, checks and adds a dead letter as an event that stands for it and arrives now.
    ///
    /// # Errors
    /// The [`Refusal`] for which it would be dead again; the batch is then as it was, but for spare side bytes.
    pub fn accept_again(
        &self,
        letter: &Letter<'_>,
        (edit, now): (&Edit, Timestamp),
        batch: &mut EventBatch,
    ) -> Result<(), Refusal> {
        let sent = std::str::from_utf8(letter.raw)
            .map_err(|_| Refusal::new(Code::InvalidJson, "", "the record is not UTF-8"))?;
        let text = edit.apply(sent, &self.stream.fields);
        let mut arrival = Arrival { received_at: Some(now), new_id: &mut || letter.id.to_owned() };
        self.accept(&text, &mut arrival, batch)?;
        let index = batch.len() - 1;
        batch.entries[index].event_time.get_or_insert(letter.received_at);
        if !edit.sets_id(&self.stream.fields) && batch.text(batch.entries[index].id) != letter.id {
            self.keep_id(letter.id, index, batch);
        }
        batch.replays.push((index as u32, letter.place));
        Ok(())
    }

    /// Gives an event of a batch another id, wherever the event shows it.
    fn keep_id(&self, id: &str, index: usize, batch: &mut EventBatch) {
        let span = batch.push_side(id.as_bytes());
        let is_key = self.key_is_id(batch, index);
        let entry = &mut batch.entries[index];
        entry.id = span;
        if is_key {
            entry.key = span;
            entry.key_hash = key_hash(id.as_bytes());
        }
        if let Some(fields) = &mut batch.fields {
            let row = &mut fields.texts[index * self.texts.len()..];
            for (slot, source) in self.texts.iter().enumerate() {
                if *source == Source::Canonical(Canonical::EventId) {
                    row[slot] = span;
                }
            }
        }
    }

    /// Returns whether an event of a batch has no key but its id.
    fn key_is_id(&self, batch: &EventBatch, index: usize) -> bool {
        let raw = batch.text(batch.entries[index].raw).to_owned();
        // Any other id would do: it comes back only where there is no key.
        self.key_of(&raw, "\u{0}") == "\u{0}"
    }
}

#[cfg(test)]
mod tests;
