//! Ids derived from content, so that a resend without an id is still the same event.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::event::{Canonical, Members};
use crate::time::Timestamp;

/// Returns the id of an event that names a user, an event *name* (not merely a type, unless its stream says which field has
/// it) and a time: SHA-256, in hex,
/// over the canonical JSON (RFC 8785) of `[user_id, event name, timestamp in ms, properties]`. `None` for others:
/// two of them may look alike and still be two.
pub(crate) fn derive(
    members: &Members<'_>,
    properties: Option<&str>,
    time: Option<Timestamp>,
) -> Option<String> {
    let is_name = members.is_named_by_stream(Canonical::EventType)
        || !members.spelling(Canonical::EventType).to_ascii_lowercase().ends_with("type");
    let user = members.text_of(Canonical::UserId).ok()??;
    let name = members.text_of(Canonical::EventType).ok()?.filter(|_| is_name)?;
    let time = time?;
    let properties: Value =
        properties.map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or(Value::Null));
    let mut text = String::new();
    canonical(
        &Value::from(vec![Value::from(user), Value::from(name), Value::from(time.0), properties]),
        &mut text,
    );
    let digest = Sha256::digest(text.as_bytes());
    Some(digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    }))
}

/// Writes RFC 8785: members sorted by UTF-16 code units, numbers as ECMAScript prints them.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => out.push_str(&ecma_number(number.as_f64().unwrap_or(0.0))),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|left, right| left.0.encode_utf16().cmp(right.0.encode_utf16()));
            out.push('{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(&Value::from(name.as_str()), out);
                out.push(':');
                canonical(member, out);
            }
            out.push('}');
        }
        // serde_json escapes strings as RFC 8785 asks: only what must be, in the short forms.
        Value::String(_) | Value::Bool(_) | Value::Null => out.push_str(&value.to_string()),
    }
}

/// Prints a finite number as ECMAScript's Number::toString does (ECMA-262, 6.1.6.1.20).
fn ecma_number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let shortest = format!("{:e}", value.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let count = digits.len() as i32;
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let sign = if value < 0.0 { "-" } else { "" };
    if (count..=21).contains(&point) {
        format!("{sign}{digits}{}", "0".repeat((point - count) as usize))
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = digits.split_at(point as usize);
        format!("{sign}{whole}.{fraction}")
    } else if (-5..=0).contains(&point) {
        format!("{sign}0.{}{digits}", "0".repeat(-point as usize))
    } else {
        let (first, rest) = digits.split_at(1);
        let rest = if rest.is_empty() { String::new() } else { format!(".{rest}") };
        let power = point - 1;
        format!("{sign}{first}{rest}e{}{}", if power < 0 { "-" } else { "+" }, power.abs())
    }
}

#[cfg(test)]
mod tests;
