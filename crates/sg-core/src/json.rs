//! Looking into JSON without building a tree: checks that both stores can hold a text, and finding single members.

use std::borrow::Cow;

use serde::Deserializer as _;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::NUMBER_EXPONENT_MAX;
use crate::reason::{Code, Refusal};

/// Checks one syntactically valid JSON text for what some store could not hold: nesting deeper than `depth_max`, NUL
/// characters, half surrogate pairs and numbers beyond every float.
///
/// # Errors
/// The [`Refusal`] that names the first fault.
pub(crate) fn check_storable(text: &str, depth_max: usize) -> Result<(), Refusal> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = check_string(bytes, at + 1)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return Err(Refusal::new(
                        Code::TooDeep,
                        "",
                        format!("an event is nested at most {depth_max} deep"),
                    ));
                }
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => at = check_number(bytes, at)?,
            _ => at += 1,
        }
    }
    Ok(())
}

/// Returns the index after the closing quote of the string that begins at `start`.
fn check_string(bytes: &[u8], start: usize) -> Result<usize, Refusal> {
    let mut at = start;
    while let Some(step) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
        at += step;
        if bytes[at] == b'"' {
            return Ok(at + 1);
        }
        if bytes.get(at + 1) == Some(&b'u') {
            at = check_escape(bytes, at)?;
        } else {
            at += 2;
        }
    }
    Ok(bytes.len())
}

/// Checks the `\uXXXX` at `at`, with its second half where it is a surrogate, and returns the index behind it.
fn check_escape(bytes: &[u8], at: usize) -> Result<usize, Refusal> {
    let fault = |what: &str| {
        Err(Refusal::new(Code::InvalidText, "", format!("{what} cannot be stored: send the text without it")))
    };
    match hex(bytes, at + 2) {
        Some(0) => fault("a NUL character (\\u0000)"),
        Some(0xD800..=0xDBFF) => match (bytes.get(at + 6..at + 8), hex(bytes, at + 8)) {
            (Some(b"\\u"), Some(0xDC00..=0xDFFF)) => Ok(at + 12),
            _ => fault("half of a surrogate pair (\\ud800 to \\udfff)"),
        },
        Some(0xDC00..=0xDFFF) => fault("half of a surrogate pair (\\ud800 to \\udfff)"),
        _ => Ok(at + 6),
    }
}

fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    let text = std::str::from_utf8(bytes.get(at..at + 4)?).ok()?;
    u32::from_str_radix(text, 16).ok()
}

/// Returns the index behind the number at `start`, refusing one that a reader would turn into infinity.
fn check_number(bytes: &[u8], start: usize) -> Result<usize, Refusal> {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let length = bytes[start..].iter().take_while(|byte| is_part(byte)).count();
    let number = &bytes[start..start + length];
    let whole = number.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    let mut exponent = 0i64;
    if let Some(mark) = number.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        let text = std::str::from_utf8(&number[mark + 1..]).unwrap_or_default();
        exponent = text.parse().unwrap_or(i64::MAX);
    }
    if exponent.saturating_add(whole as i64) > NUMBER_EXPONENT_MAX || exponent < -NUMBER_EXPONENT_MAX {
        let shown = String::from_utf8_lossy(&number[..length.min(40)]).into_owned();
        return Err(Refusal::new(
            Code::NumberOutOfRange,
            "",
            format!("the number {shown} is beyond what can be stored"),
        ));
    }
    Ok(start + length)
}

/// Returns the text of a JSON string, borrowed unless it has escapes; `None` for any other JSON type.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// Returns the member of a JSON object under a path of names; the last of equal names wins, as in both stores.
pub(crate) fn find<'a>(object: &'a str, path: &[String]) -> Option<&'a str> {
    let (name, rest) = path.split_first()?;
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let found: Option<&'a RawValue> = deserializer.deserialize_map(Find { name }).ok()?;
    let found = found?.get();
    if rest.is_empty() { Some(found) } else { find(found, rest) }
}

/// Returns the members of a JSON object in their order; none for anything else.
pub(crate) fn members(object: &str) -> Vec<(Cow<'_, str>, &RawValue)> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(Name(name)) = map.next_key()? {
                members.push((name, map.next_value()?));
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(object).deserialize_map(Members).unwrap_or_default()
}

struct Find<'n> {
    name: &'n str,
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(matches) = map.next_key_seed(NameIs(self.name))? {
            if matches {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct NameIs<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for NameIs<'_> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// A member name, borrowed unless it has escapes.
pub(crate) struct Name<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> de::Deserialize<'de> for Name<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(name))
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(name.to_owned()))
            }
        }
        deserializer.deserialize_str(NameVisitor).map(Name)
    }
}

#[cfg(test)]
mod tests;
