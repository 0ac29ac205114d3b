//! The header that carries what the door decided about an event, so that no reader decides it again.
//!
//! A record's value is the event's bytes as sent; its one header is named `streamgauge` and holds, parted by tabs:
//!
//! | field | |
//! |---|---|
//! | version | `1`, or `2` with the next field |
//! | letter | of a record that stands for a dead letter: its partition, `.`, its offset |
//! | received_at | milliseconds since 1970 |
//! | event_time | milliseconds since 1970, or `-` when none was sent |
//! | key hash | 16 hexadecimal digits |
//! | length of the type | bytes, decimal |
//! | type and id | the type's bytes, then the id's, to the end |
//!
//! Nothing is escaped: the type has its length and the id is the rest.

use std::fmt::Write as _;

use sg_core::batch::LetterPlace;
use sg_core::limits::{TIME_MAX_MS, TIME_MIN_MS};
use sg_core::time::Timestamp;

/// The header's name.
pub(super) const NAME: &str = "streamgauge";
const VERSION: &str = "1";
/// Of records that stand for dead letters: a program that knows version 1 only stops rather than count a letter twice.
const VERSION_REPLAY: &str = "2";

/// What the door decided about one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decided<'a> {
    /// The dead letter that the record stands for.
    pub(super) replay_of: Option<LetterPlace>,
    pub(super) received_at: Timestamp,
    pub(super) event_time: Option<Timestamp>,
    pub(super) key_hash: u64,
    pub(super) kind: &'a str,
    pub(super) id: &'a str,
}

/// Why a header cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A newer program wrote it.
    Version(String),
    /// It is not what any version writes.
    Malformed(&'static str),
}

/// Writes the header's value over what `out` holds.
pub(super) fn encode(decided: &Decided<'_>, out: &mut String) {
    out.clear();
    let written = match decided.replay_of {
        Some((partition, offset)) => write!(out, "{VERSION_REPLAY}\t{partition}.{offset}\t"),
        None => write!(out, "{VERSION}\t"),
    };
    let written = written.and_then(|()| match decided.event_time {
        Some(time) => write!(out, "{}\t{}\t", decided.received_at.0, time.0),
        None => write!(out, "{}\t-\t", decided.received_at.0),
    });
    let written = written.and_then(|()| write!(out, "{:016x}\t{}\t", decided.key_hash, decided.kind.len()));
    written.expect("writing to a String cannot fail");
    out.push_str(decided.kind);
    out.push_str(decided.id);
}

/// Reads the header's value.
pub(super) fn decode(value: &[u8]) -> Result<Decided<'_>, Unreadable> {
    let text = std::str::from_utf8(value).map_err(|_| Unreadable::Malformed("it is not UTF-8"))?;
    let short = Unreadable::Malformed("fields are missing");
    let (version, rest) = text.split_once('\t').ok_or(short.clone())?;
    if version.parse::<u32>().is_err() {
        return Err(Unreadable::Malformed("the version is no number"));
    }
    let (replay_of, rest) = match version {
        VERSION => (None, rest),
        VERSION_REPLAY => {
            let (letter, rest) = rest.split_once('\t').ok_or(short.clone())?;
            (Some(letter_place(letter)?), rest)
        }
        _ => return Err(Unreadable::Version(version.chars().take(20).collect())),
    };
    let (received_at, rest) = rest.split_once('\t').ok_or(short.clone())?;
    let (event_time, rest) = rest.split_once('\t').ok_or(short.clone())?;
    let (key_hash, rest) = rest.split_once('\t').ok_or(short.clone())?;
    let (length, rest) = rest.split_once('\t').ok_or(short)?;
    let time = |text: &str| {
        let ms: i64 = text.parse().map_err(|_| Unreadable::Malformed("a time is no number"))?;
        let is_kept = (TIME_MIN_MS..=TIME_MAX_MS).contains(&ms);
        if is_kept { Ok(Timestamp(ms)) } else { Err(Unreadable::Malformed("a time is out of range")) }
    };
    let length: usize =
        length.parse().map_err(|_| Unreadable::Malformed("the type's length is no number"))?;
    let (kind, id) = rest.split_at_checked(length).ok_or(Unreadable::Malformed("the type is cut off"))?;
    if key_hash.len() != 16 {
        return Err(Unreadable::Malformed("the key hash has not 16 digits"));
    }
    Ok(Decided {
        replay_of,
        received_at: time(received_at)?,
        event_time: if event_time == "-" { None } else { Some(time(event_time)?) },
        key_hash: u64::from_str_radix(key_hash, 16)
            .map_err(|_| Unreadable::Malformed("the key hash is not hexadecimal"))?,
        kind,
        id,
    })
}

fn letter_place(text: &str) -> Result<LetterPlace, Unreadable> {
    let parts = text.split_once('.').and_then(|(partition, offset)| {
        let offset = offset.parse().ok()?;
        Some((partition.parse().ok()?, offset))
    });
    parts.ok_or(Unreadable::Malformed("the letter's place is none"))
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unreadable::Version(version) => {
                write!(
                    out,
                    "its header {NAME} has version {version:?}; start the newer program that wrote it"
                )
            }
            Unreadable::Malformed(why) => {
                write!(
                    out,
                    "its header {NAME} cannot be read: {why}; find who else writes headers of that name"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
