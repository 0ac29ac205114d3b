//! Events made up from a seed, for three of the streams that ship: the same seed makes the same events.
//!
//! - [`random`]: the seeded numbers everything is drawn from.
//! - [`web`], [`broadcast`], [`pageview`]: what happens in each stream.
//! - [`sequence`]: a run of events with its disorder, late ones and resends.
//! - [`expect`]: the cells that must result, worked out the slow and obvious way; [`exact`]: its numbers.
//! - [`demo`]: the producer that keeps a fresh server busy.
//!
//! Sends nothing itself, but for the demo.

pub(crate) mod broadcast;
pub(crate) mod demo;
pub(crate) mod exact;
pub(crate) mod expect;
pub(crate) mod pageview;
pub(crate) mod random;
pub(crate) mod sequence;
pub(crate) mod web;

use sg_core::time::Timestamp;

use random::Random;

/// The streams that events can be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stream {
    /// Sessions of visitors: they begin, browse and end.
    #[value(name = "events")]
    Web,
    /// Live streams with viewers, chat and donations.
    #[value(name = "stream.events")]
    Broadcast,
    /// Pageviews by postcode.
    #[value(name = "pageviews")]
    Pageview,
}

impl Stream {
    /// Returns the stream's name on the server.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stream::Web => "events",
            Stream::Broadcast => "stream.events",
            Stream::Pageview => "pageviews",
        }
    }

    /// Returns the type that the server gives to this stream's events when none is sent.
    pub(crate) fn default_type(self) -> &'static str {
        match self {
            Stream::Web | Stream::Broadcast => "",
            Stream::Pageview => "pageview",
        }
    }
}

/// What goes on in a stream between two events.
#[derive(Debug)]
pub(crate) enum Scene {
    /// Open sessions.
    Web(web::Sessions),
    /// Nothing is remembered.
    Broadcast,
    /// Nothing is remembered.
    Pageview,
}

impl Scene {
    /// Returns an empty scene, in which about `busy` things go on at once.
    pub(crate) fn new(stream: Stream, busy: usize) -> Scene {
        match stream {
            Stream::Web => Scene::Web(web::Sessions::new(busy)),
            Stream::Broadcast => Scene::Broadcast,
            Stream::Pageview => Scene::Pageview,
        }
    }

    /// Appends one event as a JSON object, without a line end.
    pub(crate) fn write(&mut self, random: &mut Random, id: u128, at: Timestamp, line: &mut String) {
        match self {
            Scene::Web(sessions) => sessions.write(random, id, at, line),
            Scene::Broadcast => broadcast::write(random, id, at, line),
            Scene::Pageview => pageview::write(random, id, at, line),
        }
    }
}

#[cfg(test)]
mod tests;
