//! What members mean: under the spellings that all clients share, or under names that a stream gives itself. Reads no
//! event; that is the parent's.

use super::{Canonical, SPELLINGS};

/// Names that a stream gives to canonical fields. Where it gives one, only the member of that name is the field, and it
/// is no other field; the spellings that all clients share then mean nothing for this field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnNames(Vec<(Canonical, String)>);

/// No names of its own: the spellings that all clients share.
pub static SHARED: OwnNames = OwnNames(Vec::new());

impl OwnNames {
    /// Makes names of fields, each with one name and no two with the same.
    pub fn new(named: Vec<(Canonical, String)>) -> OwnNames {
        OwnNames(named)
    }

    /// Returns whether no field has a name of its own.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the fields that have names of their own, with them.
    pub fn iter(&self) -> impl Iterator<Item = (Canonical, &str)> {
        self.0.iter().map(|(field, name)| (*field, name.as_str()))
    }

    /// Returns a field's own name.
    pub fn own(&self, field: Canonical) -> Option<&str> {
        self.iter().find(|(known, _)| *known == field).map(|(_, name)| name)
    }

    /// Returns the name by which a field is asked for: its own, or its canonical one.
    pub fn name(&self, field: Canonical) -> &str {
        self.own(field).unwrap_or(field.name())
    }

    /// Returns the field that has this name of its own.
    pub fn named(&self, name: &str) -> Option<Canonical> {
        self.iter().find(|(_, known)| *known == name).map(|(field, _)| field)
    }

    /// Returns the field that a member of an event is, with the rank of its name.
    #[inline]
    pub(crate) fn field_of(&self, member: &str) -> Option<(Canonical, u8)> {
        if self.0.is_empty() {
            return Canonical::of_spelling(member);
        }
        if let Some(field) = self.named(member) {
            return Some((field, 0));
        }
        Canonical::of_spelling(member).filter(|(field, _)| self.own(*field).is_none())
    }

    /// Returns the name of a rank under which a field is sent.
    pub(super) fn spelling(&self, field: Canonical, rank: u8) -> &str {
        self.own(field).unwrap_or(SPELLINGS[field as usize].1[usize::from(rank)])
    }

    /// Returns every name under which a field is read, the best first.
    pub(crate) fn spellings(&self, field: Canonical) -> Vec<&str> {
        self.own(field).map_or_else(|| SPELLINGS[field as usize].1.to_vec(), |name| vec![name])
    }

    /// Returns what a name means in definitions and conditions: a field by its own name or by its canonical one, which goes
    /// on meaning it. `None` for a member that is no field.
    pub fn meaning(&self, name: &str) -> Option<Canonical> {
        self.named(name).or_else(|| Canonical::ALL.into_iter().find(|field| field.name() == name))
    }
}

#[cfg(test)]
mod tests;
