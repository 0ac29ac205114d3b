//! Integers of as many bytes as they need: LEB128, seven bits a byte, the lowest first; signed ones as zigzag.

use crate::time::Timestamp;

/// Appends a number: one byte below 2⁷, ten at most.
#[inline]
pub fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front; `None` when it does not end within ten bytes.
#[inline]
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Appends a time as the difference to the one before, which it then is itself.
#[inline]
pub fn push_time(out: &mut Vec<u8>, time: Timestamp, before: &mut i64) {
    push(out, zigzag(time.0.wrapping_sub(*before)));
    *before = time.0;
}

/// Takes a time that [`push_time`] appended.
#[inline]
pub fn take_time(bytes: &mut &[u8], before: &mut i64) -> Option<Timestamp> {
    *before = before.wrapping_add(unzigzag(take(bytes)?));
    Some(Timestamp(*before))
}

/// Returns a number that is small when the given one is near zero, whatever its sign.
#[inline]
pub fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// Returns the number that [`zigzag`] was given.
#[inline]
pub fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests;
