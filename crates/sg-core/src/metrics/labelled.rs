//! Counters by a label whose values are known beforehand: what a client sends is never one.

use std::marker::PhantomData;

use super::{Counter, head, line};
use crate::reason::Code;

/// A label and all its values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// The values, each at its place.
    const ALL: &'static [Self];

    /// Returns its place among all.
    fn place(self) -> usize;

    /// Returns the value as metrics have it.
    fn value(self) -> &'static str;
}

/// One counter for each value of a label.
#[derive(Debug)]
pub struct By<L> {
    counters: Box<[Counter]>,
    label: PhantomData<L>,
}

impl<L: Label> Default for By<L> {
    fn default() -> By<L> {
        By { counters: L::ALL.iter().map(|_| Counter::default()).collect(), label: PhantomData }
    }
}

impl<L: Label> By<L> {
    /// Adds to a counter.
    pub fn add(&self, value: L, more: u64) {
        self.counters[value.place()].add(more);
    }

    /// Returns the sum over all values.
    pub fn total(&self) -> u64 {
        self.counters.iter().map(Counter::get).sum()
    }

    pub(super) fn render(&self, name: &str, help: &str, out: &mut String) {
        head(out, name, "counter", help);
        for value in L::ALL {
            let (label, count) = (L::NAME, self.counters[value.place()].get());
            line(out, format_args!("{name}{{{label}=\"{}\"}} {count}", value.value()));
        }
    }
}

/// One counter per refusal code.
pub type ByCode = By<Code>;
/// One counter for each thing that retention removes.
pub type ByRemovable = By<Removable>;
/// One counter for each thing that a request lacks.
pub type ByBar = By<Bar>;
/// One counter for each limit on requests.
pub type ByLimit = By<Limit>;

impl Label for Code {
    const NAME: &'static str = "reason";
    const ALL: &'static [Code] = &Code::ALL;

    fn place(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        self.as_str()
    }
}

/// What retention removes beside files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removable {
    /// Raw events.
    RawRows,
    /// Cells of rollups.
    Cells,
    /// Dead letters.
    DeadLetters,
    /// Diverted events.
    LateEvents,
}

impl Label for Removable {
    const NAME: &'static str = "what";
    const ALL: &'static [Removable] =
        &[Removable::RawRows, Removable::Cells, Removable::DeadLetters, Removable::LateEvents];

    fn place(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        match self {
            Removable::RawRows => "raw_rows",
            Removable::Cells => "cells",
            Removable::DeadLetters => "dead_letters",
            Removable::LateEvents => "late_events",
        }
    }
}

/// Why a request is kept out: 401 or 403. The values are the codes of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// No key came with it.
    KeyMissing,
    /// Its key does not work.
    KeyUnknown,
    /// Its key may not do this.
    ScopeMissing,
    /// The page that sent it may not.
    OriginRefused,
}

impl Label for Bar {
    const NAME: &'static str = "reason";
    const ALL: &'static [Bar] = &[Bar::KeyMissing, Bar::KeyUnknown, Bar::ScopeMissing, Bar::OriginRefused];

    fn place(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        match self {
            Bar::KeyMissing => "key_missing",
            Bar::KeyUnknown => "key_unknown",
            Bar::ScopeMissing => "scope_missing",
            Bar::OriginRefused => "origin_refused",
        }
    }
}

/// A limit on requests that one was beyond. The values are the settings' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Events a second of a key.
    KeyEvents,
    /// Bytes a second of a key.
    KeyBytes,
    /// Events a second of an address.
    AddressEvents,
    /// Bytes a second of an address.
    AddressBytes,
    /// Bytes of bodies in memory at once.
    BodyBudget,
    /// Questions that are answered at once, or wait.
    Questions,
    /// Streams of those who watch.
    Watchers,
}

impl Label for Limit {
    const NAME: &'static str = "limit";
    const ALL: &'static [Limit] = &[
        Limit::KeyEvents,
        Limit::KeyBytes,
        Limit::AddressEvents,
        Limit::AddressBytes,
        Limit::BodyBudget,
        Limit::Questions,
        Limit::Watchers,
    ];

    fn place(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        match self {
            Limit::KeyEvents => "key_events",
            Limit::KeyBytes => "key_bytes",
            Limit::AddressEvents => "address_events",
            Limit::AddressBytes => "address_bytes",
            Limit::BodyBudget => "body_budget",
            Limit::Questions => "questions",
            Limit::Watchers => "watchers",
        }
    }
}
