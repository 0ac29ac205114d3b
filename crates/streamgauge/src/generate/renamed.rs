//! Made-up events under the names that a stream gives to its fields. What is made has the names that all clients share;
//! only what is sent is renamed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde_json::value::RawValue;
use sg_core::event::{Canonical, OwnNames};

/// Returns the name that a field of a made-up event has in a stream, where all clients would spell it like this; that of
/// any other member stays.
pub(crate) fn name_of<'n>(spelling: &'n str, names: &'n OwnNames) -> &'n str {
    let Some((field, _)) = Canonical::of_spelling(spelling) else { return spelling };
    match (names.own(field), names.named(spelling)) {
        (Some(own), _) => own,
        // The spelling is another field's here; the canonical name is never.
        (None, Some(_)) => field.name(),
        (None, None) => spelling,
    }
}

/// Returns a made-up event as the stream reads it; every value stays as it is written.
///
/// # Errors
/// When a field and another member would have the same name: what is sent would be read as another event.
pub(crate) fn renamed<'l>(line: &'l str, names: &OwnNames) -> anyhow::Result<Cow<'l, str>> {
    if names.is_empty() {
        return Ok(Cow::Borrowed(line));
    }
    let members: BTreeMap<&str, &RawValue> =
        serde_json::from_str(line).with_context(|| format!("reading {line}"))?;
    let mut event: BTreeMap<&str, &RawValue> = BTreeMap::new();
    for (member, value) in members {
        let name = name_of(member, names);
        if event.insert(name, value).is_some() {
            bail!(
                "made-up events have a {name} of their own, and the stream calls another field so ([stream.fields])"
            );
        }
    }
    serde_json::to_string(&event).map(Cow::Owned).context("writing an event")
}

#[cfg(test)]
mod tests;
