//! Every limit of the core, each with its reason. Limits that operators may want to move are settings instead.

/// Bytes of one event as sent: larger ones belong in an object store, with a reference in the event.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// Events of one request: bounds what the parsed form of a body may take beside its bytes.
pub const EVENTS_PER_REQUEST_MAX: usize = 20_000;
/// Errors listed in one answer; the rest are counted only.
pub const ERRORS_LISTED_MAX: usize = 100;
/// Bytes of an event id: UUIDs, hashes and URLs fit; an index over it stays small.
pub const EVENT_ID_BYTES_MAX: usize = 256;
/// Bytes of a dimension: a b-tree key of several of them must fit a page of either store (2,704 bytes in Postgres).
pub const DIMENSION_BYTES_MAX: usize = 256;
/// Bytes of a name that a stream gives to a field: it is told in refusals, and longer ones are a mistake.
pub const FIELD_NAME_BYTES_MAX: usize = 256;
/// Nesting of an event: deeper than any honest event, shallow enough for every reader of the archive.
pub const JSON_DEPTH_MAX: usize = 32;
/// Members at the top of an event: they are looked through one by one.
pub const MEMBERS_MAX: usize = 256;
/// Digits of a number inside an event that no store turns into infinity or refuses.
pub const NUMBER_EXPONENT_MAX: i64 = 300;
/// Smallest scaled value that is refused: sums of 10¹¹ of them still fit 128 bits.
pub const SCALED_LIMIT: i128 = 1_000_000_000_000_000_000_000_000_000;
/// Digits after the point that a measure may keep; an average adds six.
pub const SCALE_MAX: u32 = 12;
/// Digits that an average keeps beyond its field's scale.
pub const AVERAGE_EXTRA_SCALE: u32 = 6;
/// 0001-01-01T00:00:00Z in milliseconds: the first time both stores can hold and print.
pub const TIME_MIN_MS: i64 = -62_135_596_800_000;
/// 9999-12-31T23:59:59.999Z in milliseconds: the last time both stores can hold and print.
pub const TIME_MAX_MS: i64 = 253_402_300_799_999;
/// Rows that a query may touch in the store before it is refused with a smaller range as the remedy.
pub const QUERY_CELLS_MAX: usize = 1_000_000;
/// Rows of one answer unless the caller asks for fewer.
pub const QUERY_ROWS_MAX: usize = 10_000;
/// Cells announced in one transaction when windows close; the rest follow in the next.
pub const OUTBOX_CELLS_PER_FLUSH_MAX: usize = 10_000;
/// Bytes of the conditions that select events: some hundred ids; they are read again for each event.
pub const SELECTION_BYTES_MAX: usize = 8 << 10;
/// Conditions that select events.
pub const SELECTION_TERMS_MAX: usize = 64;
/// Events deleted in one transaction: some ten milliseconds behind the locks of all partitions.
pub const DELETED_AT_ONCE: usize = 1_000;
/// Bytes of events read from an outbox at once: enough to keep a broker busy, little beside the other buffers.
pub const OUTBOX_BYTES_AT_ONCE: usize = 8 << 20;
