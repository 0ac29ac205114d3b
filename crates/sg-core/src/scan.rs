//! The fast way through an event: plain JSON without escapes or exponents, checked strictly and cut into its members in
//! one pass. Whatever is not plain is left to serde_json, which also words the errors; both ways give the same members.

use crate::limits::JSON_DEPTH_MAX;

/// Bytes of a number that stays far below what the stores can hold, whatever its digits.
const NUMBER_BYTES_MAX: usize = 100;

/// Shows the name and the JSON of each member of a plain JSON object to `take`, in order. `None` when the text is not
/// plain or not JSON; some members may have been shown by then.
pub(crate) fn members<'a>(text: &'a str, mut take: impl FnMut(&'a str, &'a str)) -> Option<()> {
    let bytes = text.as_bytes();
    let mut at = object_start(bytes)?;
    if bytes.get(at) == Some(&b'}') {
        return (at + 1 == bytes.len()).then_some(());
    }
    loop {
        let name_end = string(bytes, at)?;
        let name = &text[at + 1..name_end - 1];
        let value_start = colon(bytes, name_end)?;
        let value_end = value(bytes, value_start, 1)?;
        take(name, &text[value_start..value_end]);
        at = blank(bytes, value_end);
        match bytes.get(at)? {
            b',' => at = blank(bytes, at + 1),
            b'}' => return (at + 1 == bytes.len()).then_some(()),
            _ => return None,
        }
    }
}

fn object_start(bytes: &[u8]) -> Option<usize> {
    (bytes.first() == Some(&b'{')).then(|| blank(bytes, 1))
}

fn colon(bytes: &[u8], at: usize) -> Option<usize> {
    let at = blank(bytes, at);
    (bytes.get(at) == Some(&b':')).then(|| blank(bytes, at + 1))
}

/// Returns the index of the next byte that is no white space.
fn blank(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Returns the index behind the value that begins at `at`, inside `depth` objects and arrays.
fn value(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string(bytes, at),
        b'-' | b'0'..=b'9' => number(bytes, at),
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        b'{' if depth < JSON_DEPTH_MAX => inner_object(bytes, at, depth + 1),
        b'[' if depth < JSON_DEPTH_MAX => inner_array(bytes, at, depth + 1),
        _ => None,
    }
}

fn inner_object(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    let mut at = blank(bytes, at + 1);
    if bytes.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    loop {
        let value_start = colon(bytes, string(bytes, at)?)?;
        at = blank(bytes, value(bytes, value_start, depth)?);
        match bytes.get(at)? {
            b',' => at = blank(bytes, at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn inner_array(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    let mut at = blank(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return Some(at + 1);
    }
    loop {
        at = blank(bytes, value(bytes, at, depth)?);
        match bytes.get(at)? {
            b',' => at = blank(bytes, at + 1),
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes[at..].starts_with(word).then_some(at + word.len())
}

/// A number without an exponent, as RFC 8259 writes it.
fn number(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + usize::from(bytes[start] == b'-');
    let whole = digits(bytes, at);
    if whole == at || (bytes[at] == b'0' && whole > at + 1) {
        return None;
    }
    at = whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(bytes, at + 1);
        if fraction == at + 1 {
            return None;
        }
        at = fraction;
    }
    let is_plain = !matches!(bytes.get(at), Some(b'e' | b'E')) && at - start <= NUMBER_BYTES_MAX;
    is_plain.then_some(at)
}

fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Returns the index behind the string whose opening quote stands at `at`; `None` when it has an escape or a control
/// character. Eight bytes at a time: the first byte that is a quote, a backslash or below a blank ends the search.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().ok()?);
        let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
        let quote = zero_in(word ^ (ONES * u64::from(b'"')));
        let escape = zero_in(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quote | escape | control) & HIGHS;
        if found != 0 {
            at += found.trailing_zeros() as usize / 8;
            return (bytes[at] == b'"').then_some(at + 1);
        }
        at += 8;
    }
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' | 0..0x20 => return None,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests;
