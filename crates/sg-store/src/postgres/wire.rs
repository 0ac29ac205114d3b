//! How times, decimals and columns of values lie on the wire between us and the server, exact in both directions.
//! Formats: `timestamptz_send`, `numeric_send` and `array_send` of PostgreSQL's sources. Rounds nothing and guesses
//! nothing: what the other side cannot hold is refused.

use bytes::{BufMut, BytesMut};
use sg_core::time::Timestamp;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::unfit::Unfit;

type BoxError = Box<dyn std::error::Error + Sync + Send>;

/// 2000-01-01T00:00:00Z, from which the server counts, in milliseconds since 1970.
const EPOCH_MS: i64 = 946_684_800_000;
/// 4714-11-24 BC and 294277-01-01, between which the server's times lie, in milliseconds since 1970.
const SERVER_MIN_MS: i64 = -210_866_803_200_000;
const SERVER_END_MS: i64 = 9_224_318_016_000_000;

/// A value from the server that we cannot have written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

/// A time as the server keeps it: microseconds, with an infinity at each end. [`Timestamp::NEVER`] is the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ms(pub(crate) Timestamp);

impl Ms {
    /// Returns a bound of a question, which may lie anywhere: beyond the server's times is at infinity.
    pub(crate) fn bound(at: Timestamp) -> Ms {
        match at.0 {
            ..SERVER_MIN_MS => Ms(Timestamp::NEVER),
            SERVER_END_MS.. => Ms(Timestamp(i64::MAX)),
            _ => Ms(at),
        }
    }

    /// Returns the microseconds since 2000 that stand for it on the wire.
    pub(crate) fn micros(self) -> Result<i64, Unfit> {
        match self.0.0 {
            i64::MIN => Ok(i64::MIN),
            i64::MAX => Ok(i64::MAX),
            ms @ SERVER_MIN_MS..SERVER_END_MS => Ok((ms - EPOCH_MS) * 1_000),
            ms => Err(Unfit(format!("{ms} ms since 1970 lie outside the times of the server"))),
        }
    }
}

impl ToSql for Ms {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        out.put_i64(self.micros()?);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Ms {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Ms, BoxError> {
        let raw = raw.try_into().map_err(|_| Unreadable("a time has not eight bytes".to_owned()))?;
        Ok(Ms(Timestamp(match i64::from_be_bytes(raw) {
            i64::MIN => i64::MIN,
            i64::MAX => i64::MAX,
            micros if micros % 1_000 != 0 => {
                return Err(Unreadable(format!("{micros} µs since 2000 are no whole milliseconds")).into());
            }
            micros => micros / 1_000 + EPOCH_MS,
        })))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TIMESTAMPTZ
    }
}

/// An exact decimal: `value` · 10^-`scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    /// The scaled value.
    pub(crate) value: i128,
    /// Digits after the point.
    pub(crate) scale: u32,
}

/// The server's digits have four of ours.
const DIGIT_WIDTH: u32 = 4;
const DIGIT_BASE: u128 = 10_000;
/// The scale up to which a fraction padded to whole digits of the server fits 128 bits.
const SCALE_MAX: u32 = 32;
const NEGATIVE: u16 = 0x4000;
const POSITIVE: u16 = 0;

impl Decimal {
    /// Returns the value at a scale; the same number or nothing.
    pub(crate) fn at_scale(self, scale: u32) -> Result<i128, Unreadable> {
        let refuse = || Unreadable(format!("{self:?} is no decimal of {scale} digits after the point"));
        let factor = 10_i128.checked_pow(self.scale.abs_diff(scale)).ok_or_else(refuse)?;
        if scale >= self.scale {
            return self.value.checked_mul(factor).ok_or_else(refuse);
        }
        if self.value % factor != 0 {
            return Err(refuse());
        }
        Ok(self.value / factor)
    }

    fn put(self, out: &mut BytesMut) -> Result<(), Unfit> {
        if self.scale > SCALE_MAX {
            return Err(Unfit(format!("{} digits after the point are too many", self.scale)));
        }
        let power = 10_u128.pow(self.scale);
        let (mut whole, fraction) = (self.value.unsigned_abs() / power, self.value.unsigned_abs() % power);
        let mut digits = [0_u16; 20];
        let groups = self.scale.div_ceil(DIGIT_WIDTH) as usize;
        let mut padded = fraction * 10_u128.pow(groups as u32 * DIGIT_WIDTH - self.scale);
        let mut first = digits.len();
        for _ in 0..groups {
            first -= 1;
            digits[first] = (padded % DIGIT_BASE) as u16;
            padded /= DIGIT_BASE;
        }
        while whole > 0 {
            first -= 1;
            digits[first] = (whole % DIGIT_BASE) as u16;
            whole /= DIGIT_BASE;
        }
        // The server's numbers begin and end with a digit that is not zero.
        let mut weight = (digits.len() - first) as i16 - groups as i16 - 1;
        while first < digits.len() && digits[first] == 0 {
            first += 1;
            weight -= 1;
        }
        let mut end = digits.len();
        while end > first && digits[end - 1] == 0 {
            end -= 1;
        }
        out.put_u16((end - first) as u16);
        out.put_i16(if end == first { 0 } else { weight });
        out.put_u16(if self.value < 0 { NEGATIVE } else { POSITIVE });
        out.put_u16(self.scale as u16);
        digits[first..end].iter().for_each(|digit| out.put_u16(*digit));
        Ok(())
    }

    fn read(raw: &[u8]) -> Result<Decimal, Unreadable> {
        let refuse = || Unreadable(format!("a number that does not fit 128 bits: {raw:02x?}"));
        let mut words = raw.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let mut next = || words.next().ok_or_else(refuse);
        let (count, weight, sign, scale) = (next()?, next()? as i16, next()?, u32::from(next()?));
        if sign != NEGATIVE && sign != POSITIVE {
            return Err(Unreadable("a number that is none, or infinite".to_owned()));
        }
        let mut value: i128 = 0;
        for at in 0..i32::from(count) {
            let digit = i128::from(next()?);
            // The place of the digit's last decimal, counted from the last one kept.
            let exponent = (i32::from(weight) - at) * DIGIT_WIDTH as i32 + scale as i32;
            let power = 10_i128.checked_pow(exponent.unsigned_abs()).ok_or_else(refuse)?;
            let part = if exponent >= 0 { digit.checked_mul(power) } else { Some(digit / power) };
            value = part.and_then(|part| value.checked_add(part)).ok_or_else(refuse)?;
        }
        Ok(Decimal { value: if sign == NEGATIVE { -value } else { value }, scale })
    }
}

impl ToSql for Decimal {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        self.put(out)?;
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::NUMERIC
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Decimal {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Decimal, BoxError> {
        Ok(Decimal::read(raw)?)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::NUMERIC
    }
}

/// A column of values on its way to `unnest`: an array that is encoded as it is filled.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    member: Type,
    values: BytesMut,
    count: i32,
    has_null: bool,
}

/// The member types of arrays that are sent.
const ARRAYS: [(Type, Type); 5] = [
    (Type::INT8, Type::INT8_ARRAY),
    (Type::TEXT, Type::TEXT_ARRAY),
    (Type::BYTEA, Type::BYTEA_ARRAY),
    (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
    (Type::NUMERIC, Type::NUMERIC_ARRAY),
];

impl Column {
    /// Makes an empty column of a type.
    pub(crate) fn of(member: Type) -> Column {
        Column { member, values: BytesMut::new(), count: 0, has_null: false }
    }

    /// Appends a number.
    pub(crate) fn push_integer(&mut self, value: i64) {
        self.expect(&Type::INT8);
        self.values.put_i32(8);
        self.values.put_i64(value);
    }

    /// Appends nothing.
    pub(crate) fn push_null(&mut self) {
        self.has_null = true;
        self.values.put_i32(-1);
        self.count += 1;
    }

    /// Appends a text.
    pub(crate) fn push_text(&mut self, value: &str) {
        self.expect(&Type::TEXT);
        self.put_bytes(value.as_bytes());
    }

    /// Appends bytes.
    pub(crate) fn push_bytes(&mut self, value: &[u8]) {
        self.expect(&Type::BYTEA);
        self.put_bytes(value);
    }

    /// Appends bytes, or none.
    pub(crate) fn push_optional_bytes(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            return self.push_bytes(value);
        }
        self.expect(&Type::BYTEA);
        self.has_null = true;
        self.values.put_i32(-1);
    }

    /// Appends a time.
    pub(crate) fn push_time(&mut self, value: Timestamp) -> Result<(), Unfit> {
        self.expect(&Type::TIMESTAMPTZ);
        self.values.put_i32(8);
        self.values.put_i64(Ms(value).micros()?);
        Ok(())
    }

    /// Appends a decimal, or none.
    pub(crate) fn push_decimal(&mut self, value: Option<Decimal>) -> Result<(), Unfit> {
        self.expect(&Type::NUMERIC);
        let Some(value) = value else {
            self.has_null = true;
            self.values.put_i32(-1);
            return Ok(());
        };
        let at = self.values.len();
        self.values.put_i32(0);
        value.put(&mut self.values)?;
        let length = (self.values.len() - at - 4) as i32;
        self.values[at..at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn put_bytes(&mut self, value: &[u8]) {
        // Invariant: an event, the longest of all values, has 256 KiB at most.
        self.values.put_i32(value.len() as i32);
        self.values.put_slice(value);
    }

    fn expect(&mut self, member: &Type) {
        debug_assert!(self.member == *member, "Invariant: a column's values have its type");
        self.count += 1;
    }
}

impl ToSql for Column {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        if !ARRAYS.iter().any(|(member, array)| *member == self.member && array == kind) {
            return Err(Unfit(format!("a column of {} is sent as {kind}", self.member)).into());
        }
        out.reserve(20 + self.values.len());
        // Dimensions, whether there are nulls, the members' type; length and lower bound of the only dimension.
        out.put_i32(1);
        out.put_i32(i32::from(self.has_null));
        out.put_u32(self.member.oid());
        out.put_i32(self.count);
        out.put_i32(1);
        out.put_slice(&self.values);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        ARRAYS.iter().any(|(_, array)| array == kind)
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests;
