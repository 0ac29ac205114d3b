//! What an event must keep to, whatever its neighbours: its date, its type, the fields that its stream asks for, its id.

use std::borrow::Cow;

use crate::event::{Canonical, scalar_text};
use crate::identity;
use crate::limits::EVENT_ID_BYTES_MAX;
use crate::reason::{Code, Refusal};
use crate::time::Timestamp;

use super::read::{Read, check_length};
use super::{Arrival, Plan};

impl Plan {
    pub(super) fn check_future(
        &self,
        event: &Read<'_>,
        time: Option<Timestamp>,
        received_at: Timestamp,
    ) -> Result<(), Refusal> {
        let latest = received_at.plus(self.stream.max_future);
        match time {
            Some(time) if time > latest => Err(Refusal::new(
                Code::FutureTimestamp,
                event.members.spelling(Canonical::Timestamp),
                format!(
                    "{time} lies more than {} s ahead of the time of arrival",
                    self.stream.max_future.as_secs()
                ),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn kind<'e>(&'e self, event: &Read<'e>) -> Result<Cow<'e, str>, Refusal> {
        if let Some(kind) = event.members.text_of(Canonical::EventType)? {
            check_length(|| event.members.spelling(Canonical::EventType), &kind)?;
            return Ok(kind);
        }
        if self.stream.default_type.is_empty() {
            return Err(self.no_type());
        }
        Ok(Cow::Borrowed(&self.stream.default_type))
    }

    /// Says under which names a type was looked for, and what else a stream could have instead of one.
    fn no_type(&self) -> Refusal {
        let code = Code::MissingEventType;
        let looked_for = self.stream.fields.spellings(Canonical::EventType).join(", ");
        let detail = if self.stream.fields.own(Canonical::EventType).is_some() {
            format!(
                "the event has no {looked_for}, its event_type by [stream.fields]: send it, or set the stream's \
                 default_type; see /docs/errors/{code}"
            )
        } else {
            format!(
                "the event has none of {looked_for}: send one, or name another field in [stream.fields], or set the \
                 stream's default_type; see /docs/errors/{code}"
            )
        };
        Refusal::new(code, self.name_of(Canonical::EventType), detail)
    }

    pub(super) fn check_required(&self, event: &Read<'_>) -> Result<(), Refusal> {
        for (name, source) in &self.require {
            let text = source.raw(event).and_then(scalar_text);
            match text {
                None => {
                    return Err(Refusal::new(
                        Code::MissingField,
                        name.as_str(),
                        format!("events of this stream need {name}"),
                    ));
                }
                Some(text) if text.trim().is_empty() => {
                    return Err(Refusal::new(
                        Code::BlankField,
                        name.as_str(),
                        format!("{name} is blank: name something"),
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn check_types(&self, event: &Read<'_>) -> Result<(), Refusal> {
        for (name, source, kind) in &self.types {
            if source.raw(event).is_some_and(|raw| !kind.holds(raw)) {
                let detail = format!("{name} is {}", kind.name());
                return Err(Refusal::new(Code::BadField, name.as_str(), detail));
            }
        }
        Ok(())
    }

    pub(super) fn id<'e>(
        &self,
        event: &Read<'e>,
        time: Option<Timestamp>,
        arrival: &mut Arrival<'_>,
    ) -> Result<Cow<'e, str>, Refusal> {
        if let Some(id) = event.members.text_of(Canonical::EventId)? {
            if id.len() > EVENT_ID_BYTES_MAX {
                let name = event.members.spelling(Canonical::EventId);
                return Err(Refusal::new(
                    Code::IdTooLong,
                    name,
                    format!("an event id has at most {EVENT_ID_BYTES_MAX} bytes"),
                ));
            }
            return Ok(id);
        }
        let derived = if self.stream.derive_id {
            identity::derive(&event.members, event.properties.as_deref(), time)
        } else {
            None
        };
        Ok(Cow::Owned(derived.unwrap_or_else(|| (arrival.new_id)())))
    }
}
