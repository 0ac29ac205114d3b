//! Where a span stands, as it travels with events: the W3C's `traceparent`. Makes no spans and decides nothing about which
//! are kept; only those of requests that are traced travel at all.

use std::fmt;

/// The place of a span in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span; never zero.
    pub span_id: u64,
    /// Whether its spans are kept.
    pub is_sampled: bool,
}

/// The header's name, over HTTP and in Kafka.
pub const TRACEPARENT: &str = "traceparent";

impl TraceContext {
    /// Reads a `traceparent` (W3C Trace Context, level 1, 3.2): version, trace, span and flags in hexadecimal, parted by
    /// dashes. Of a later version what this one knows; `None` for anything that has not this form.
    pub fn parse(text: &str) -> Option<TraceContext> {
        let mut parts = text.trim().split('-');
        let version = digits(parts.next()?, 2)?;
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let context = TraceContext {
            trace_id: digits(trace, 32)?,
            span_id: u64::try_from(digits(span, 16)?).ok()?,
            is_sampled: digits(flags, 2)? & 1 == 1,
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }
}

/// Reads a number of so many hexadecimal digits, all in lower case.
fn digits(text: &str, count: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_whole = text.len() == count && text.bytes().all(is_digit);
    if is_whole { u128::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.is_sampled))
    }
}

#[cfg(test)]
mod tests;
