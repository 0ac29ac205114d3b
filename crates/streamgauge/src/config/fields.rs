//! Reads `[stream.fields]`: under which names of its own a stream's events have their type, time, id and the like. What is
//! read under them is the core's.

use sg_core::event::{Canonical, OwnNames};
use sg_core::limits::FIELD_NAME_BYTES_MAX;

use super::reader::{Errors, Reader};

/// Reads the names; none where the stream gives none.
pub(crate) fn names(item: &mut Reader<'_>, errors: &mut Errors) -> OwnNames {
    let Some(mut table) = item.table("fields", errors) else { return OwnNames::default() };
    let mut named: Vec<(Canonical, String)> = Vec::new();
    for field in Canonical::ALL {
        let key = field.name();
        let name = table.text(key, "", errors);
        if !table.holds_text(key) {
            continue;
        }
        match fault(field, &name, &named) {
            Some(fault) => errors.add(&table.place(key), fault),
            None => named.push((field, name)),
        }
    }
    table.finish(errors);
    OwnNames::new(named)
}

/// Returns what is wrong with a name, beside those that were read before.
fn fault(field: Canonical, name: &str, named: &[(Canonical, String)]) -> Option<String> {
    let meaning = field.name();
    if name.trim().is_empty() {
        return Some(format!("is empty: name the member of an event that is its {meaning}, or leave it out"));
    }
    if name.len() > FIELD_NAME_BYTES_MAX {
        return Some(format!("has at most {FIELD_NAME_BYTES_MAX} bytes, this one {}", name.len()));
    }
    if let Some((other, _)) = named.iter().find(|(_, known)| known == name) {
        return Some(format!("{name} is the {} already: a member has one meaning", other.name()));
    }
    let others = Canonical::ALL.into_iter().filter(|other| *other != field);
    let taken = others.map(Canonical::name).find(|other| *other == name)?;
    Some(format!("{taken} means the event's {taken} in rollups and conditions: it cannot be its {meaning}"))
}

#[cfg(test)]
mod tests;
