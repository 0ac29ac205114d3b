//! Why an event is refused at the door or dead-lettered behind it: a closed set, one page each in `docs/errors`.

use std::fmt;

/// A reason code; its text form is part of the API, the metrics and the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The bytes are not JSON.
    InvalidJson,
    /// The JSON is not an object.
    NotAnObject,
    /// The event is larger than `EVENT_BYTES_MAX`.
    EventTooLarge,
    /// Objects and arrays are nested deeper than `JSON_DEPTH_MAX`.
    TooDeep,
    /// The event has more than `MEMBERS_MAX` members.
    TooManyMembers,
    /// One member name stands twice in the event.
    DuplicateMember,
    /// A text holds a NUL character or half of a surrogate pair.
    InvalidText,
    /// No event type was sent and the stream has no default.
    MissingEventType,
    /// A field that the stream requires is missing.
    MissingField,
    /// A field that names something is blank.
    BlankField,
    /// A field has a JSON type that it cannot have.
    BadField,
    /// The timestamp is not a time.
    BadTimestamp,
    /// The timestamp lies outside the years 0001 to 9999.
    TimestampOutOfRange,
    /// The timestamp lies further ahead of the time of arrival than `max_future`.
    FutureTimestamp,
    /// The event id is longer than `EVENT_ID_BYTES_MAX`.
    IdTooLong,
    /// A dimension, event type, user or session is longer than `DIMENSION_BYTES_MAX`.
    DimensionTooLong,
    /// A field that a measure sums is not a number.
    BadNumber,
    /// A number is too large for the stores.
    NumberOutOfRange,
    /// The store refused the event as bad data.
    StoreRefused,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Code; 19] = [
        Code::InvalidJson,
        Code::NotAnObject,
        Code::EventTooLarge,
        Code::TooDeep,
        Code::TooManyMembers,
        Code::DuplicateMember,
        Code::InvalidText,
        Code::MissingEventType,
        Code::MissingField,
        Code::BlankField,
        Code::BadField,
        Code::BadTimestamp,
        Code::TimestampOutOfRange,
        Code::FutureTimestamp,
        Code::IdTooLong,
        Code::DimensionTooLong,
        Code::BadNumber,
        Code::NumberOutOfRange,
        Code::StoreRefused,
    ];

    /// Returns the code as it stands in answers, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidJson => "invalid_json",
            Code::NotAnObject => "not_an_object",
            Code::EventTooLarge => "event_too_large",
            Code::TooDeep => "too_deep",
            Code::TooManyMembers => "too_many_members",
            Code::DuplicateMember => "duplicate_member",
            Code::InvalidText => "invalid_text",
            Code::MissingEventType => "missing_event_type",
            Code::MissingField => "missing_field",
            Code::BlankField => "blank_field",
            Code::BadField => "bad_field",
            Code::BadTimestamp => "bad_timestamp",
            Code::TimestampOutOfRange => "timestamp_out_of_range",
            Code::FutureTimestamp => "future_timestamp",
            Code::IdTooLong => "id_too_long",
            Code::DimensionTooLong => "dimension_too_long",
            Code::BadNumber => "bad_number",
            Code::NumberOutOfRange => "number_out_of_range",
            Code::StoreRefused => "store_refused",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A code with the field it concerns and a sentence for the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// The reason.
    pub code: Code,
    /// The member that caused it, as the sender spelled it; empty when it is the whole event.
    pub field: String,
    /// One sentence: what is wrong and what would be right.
    pub detail: String,
}

impl Refusal {
    /// Makes a refusal; `field` is empty when it concerns the whole event.
    pub fn new(code: Code, field: impl Into<String>, detail: impl Into<String>) -> Refusal {
        Refusal { code, field: field.into(), detail: detail.into() }
    }
}
