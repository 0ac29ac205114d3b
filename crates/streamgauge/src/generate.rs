//! Events made up from a seed, for three of the streams that ship: the same seed makes the same events.
//!
//! - [`random`]: the seeded numbers everything is drawn from.
//! - [`web`], [`broadcast`], [`pageview`]: what happens in each stream; [`named`]: the same as `web` in other words.
//! - [`sequence`]: a run of events with its disorder, late ones and resends.
//! - [`expect`]: the cells that must result, worked out the slow and obvious way; [`exact`]: its numbers.
//! - [`renamed`]: events under the names of a stream's own.
//! - [`demo`]: the producer that keeps a fresh server busy.
//!
//! Sends nothing itself, but for the demo.

pub(crate) mod broadcast;
pub(crate) mod demo;
pub(crate) mod exact;
pub(crate) mod expect;
pub(crate) mod named;
pub(crate) mod pageview;
pub(crate) mod random;
pub(crate) mod renamed;
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

/// Whom events are about, where a producer lets that be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cast {
    /// Those that every run of the stream has.
    Usual,
    /// Live streams by name, and so many users.
    Crowd { streams: Vec<String>, users: u64 },
    /// So many users of an application, in the words of the event platform.
    Named { users: u64 },
}

impl Cast {
    /// Returns so many live streams and users.
    pub(crate) fn crowd(streams: u64, users: u64) -> Cast {
        Cast::Crowd { streams: Cast::stream_names(streams), users }
    }

    /// Returns the usual names of so many live streams.
    pub(crate) fn stream_names(count: u64) -> Vec<String> {
        (1..=count).map(|number| format!("stream_{number}")).collect()
    }

    /// Returns numbers that differ for different casts; none for the usual one.
    fn parts(&self) -> Vec<u64> {
        match self {
            Cast::Usual => Vec::new(),
            usual if *usual == Cast::crowd(broadcast::STREAMS, broadcast::USERS) => Vec::new(),
            Cast::Named { users } => vec![*users],
            Cast::Crowd { streams, users } => {
                let letters = streams.iter().flat_map(|name| name.bytes().chain([0])).map(u64::from);
                std::iter::once(*users).chain(letters).collect()
            }
        }
    }
}

/// What goes on in a stream between two events.
#[derive(Debug)]
pub(crate) enum Scene {
    /// Open sessions.
    Web(web::Sessions),
    /// Who streams and who watches.
    Broadcast(broadcast::Crowd),
    /// Nothing is remembered.
    Pageview,
    /// How many users there are.
    Named(u64),
}

impl Scene {
    /// Returns an empty scene, in which about `busy` things go on at once.
    pub(crate) fn new(stream: Stream, cast: &Cast, busy: usize) -> Scene {
        match (stream, cast) {
            (_, Cast::Named { users }) => Scene::Named(*users),
            (Stream::Broadcast, Cast::Crowd { streams, users }) => {
                Scene::Broadcast(broadcast::Crowd { streams: streams.clone(), users: *users })
            }
            (Stream::Broadcast, Cast::Usual) => Scene::Broadcast(broadcast::Crowd::default()),
            (Stream::Web, _) => Scene::Web(web::Sessions::new(busy)),
            (Stream::Pageview, _) => Scene::Pageview,
        }
    }

    /// Appends one event as a JSON object, without a line end.
    pub(crate) fn write(&mut self, random: &mut Random, id: u128, at: Timestamp, line: &mut String) {
        match self {
            Scene::Web(sessions) => sessions.write(random, id, at, line),
            Scene::Broadcast(crowd) => crowd.write(random, id, at, line),
            Scene::Pageview => pageview::write(random, id, at, line),
            Scene::Named(users) => named::write(random, (id, *users), at, line),
        }
    }
}

#[cfg(test)]
mod tests;
