//! One entry of a run: 47 bits of a hash, 49 bits of time, 32 bits of place in one number, so that to sort entries is
//! to sort numbers. Different texts may have one hash: whoever finds an entry looks at its row.

use sg_core::limits::{TIME_MAX_MS, TIME_MIN_MS};
use xxhash_rust::xxh3::xxh3_64;

/// (hash, event time, place in the piece), most significant first.
pub(crate) type Entry = u128;

/// Greater than every entry.
pub(crate) const END: Entry = Entry::MAX;

const HASH_BITS: u32 = 47;
const TIME_BITS: u32 = 49;
const LOCAL_BITS: u32 = 32;
const _: () = assert!(HASH_BITS + TIME_BITS + LOCAL_BITS == Entry::BITS);
const _: () = assert!((TIME_MAX_MS - TIME_MIN_MS) as u64 + 1 < 1 << TIME_BITS);

/// What a run is sorted by before time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The event's id.
    Event,
    /// Its user; rows without one have no entry.
    User,
    /// Its session; rows without one have no entry.
    Session,
    /// Its type.
    Type,
    /// Nothing: by time alone.
    All,
}

/// All runs of a piece, in the order in which they are made.
pub(crate) const KINDS: [Kind; 5] = [Kind::Event, Kind::User, Kind::Session, Kind::Type, Kind::All];

impl Kind {
    /// Returns the number under which the file knows it.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}

/// Returns the hash of a text; the run of all rows has the hash 0.
pub(crate) fn hash_of(text: &str) -> u64 {
    xxh3_64(text.as_bytes()) >> (u64::BITS - HASH_BITS)
}

/// Makes an entry. No event lies outside the times that every store can hold.
pub(crate) fn pack(hash: u64, time_ms: i64, local: u32) -> Entry {
    let time = (time_ms.clamp(TIME_MIN_MS, TIME_MAX_MS) - TIME_MIN_MS) as u64;
    from_parts(hash, time, local)
}

/// Returns the entry's event time in milliseconds.
pub(crate) fn time_of(entry: Entry) -> i64 {
    parts(entry).1 as i64 + TIME_MIN_MS
}

/// Returns the entry's place in its piece.
pub(crate) fn local_of(entry: Entry) -> u32 {
    entry as u32
}

/// Returns the entry at another place.
pub(crate) fn moved(entry: Entry, local: u32) -> Entry {
    (entry >> LOCAL_BITS << LOCAL_BITS) | Entry::from(local)
}

/// Returns hash, time since the first that there is, and place.
pub(crate) fn parts(entry: Entry) -> (u64, u64, u32) {
    let time = (entry >> LOCAL_BITS) as u64 & ((1 << TIME_BITS) - 1);
    ((entry >> (LOCAL_BITS + TIME_BITS)) as u64, time, entry as u32)
}

/// Makes an entry of what [`parts`] returns.
pub(crate) fn from_parts(hash: u64, time: u64, local: u32) -> Entry {
    (Entry::from(hash) << (LOCAL_BITS + TIME_BITS)) | (Entry::from(time) << LOCAL_BITS) | Entry::from(local)
}
