//! From the arguments, the variables and the table of forms to a run. Pure: time and environment are handed in.

use std::collections::BTreeMap;
use std::time::Duration;

use sg_core::time::Timestamp;

use super::form::{BROKERS, Rhythm, Row};
use super::{Args, BATCH, Start};
use crate::client::{Misused, Target};
use crate::generate::sequence::Shape;
use crate::generate::{Cast, Stream, broadcast};

/// Events when nothing else is said.
const EVENTS: u64 = 100_000;
/// Event time from one event to the next when nothing else is said: 100,000 events are an hour.
const STEP_US: u64 = 36_000;
/// The seed when nothing else is said and the events are not dated now.
const SEED: u64 = 1;
/// Streams or users at most: their names are kept in memory.
const CAST_MAX: u64 = 1_000_000;
const DAY: Duration = Duration::from_secs(86_400);

/// A run as it will be.
#[derive(Debug)]
pub(super) struct Plan {
    /// The events.
    pub(super) shape: Shape,
    /// When they are sent.
    pub(super) pace: Pace,
    /// When they are dated.
    pub(super) dating: Dating,
    /// Events of one request.
    pub(super) batch: u64,
    /// The path for one event a request.
    pub(super) path: Option<&'static str>,
    /// The server.
    pub(super) target: Target,
    /// The brokers, where events go straight to a topic.
    pub(super) brokers: Option<String>,
}

/// When events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As fast as they are answered.
    AsAnswered,
    /// So many in so long, evenly.
    Even { events: u64, within: Duration },
    /// In bursts and pauses, with so much between two on average.
    Irregular { mean: Duration },
}

/// When events are dated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dating {
    /// At the start, and each a step after the other.
    ByStep,
    /// When they are made.
    WhenMade,
}

/// What decides a run beside the clock.
struct Told<'a> {
    args: &'a Args,
    variables: &'a BTreeMap<String, String>,
}

impl Plan {
    /// Works out the run that the arguments and variables describe. `random` is the seed of a form that was given none:
    /// two producers that are started at once shall not send the same events.
    pub(super) fn new(
        args: &Args,
        variables: &BTreeMap<String, String>,
        now: Timestamp,
        random: u64,
    ) -> Result<Plan, Misused> {
        let told = Told { args, variables };
        match args.form {
            None => told.plain(now),
            Some(form) => told.formed(&form.row(), now, random),
        }
    }
}

impl Told<'_> {
    fn plain(&self, now: Timestamp) -> Result<Plan, Misused> {
        let args = self.args;
        let is_crowd = args.stream == Stream::Broadcast;
        if let Some(flag) = self.typed().into_iter().find(|flag| matches!(*flag, "users" | "stream-ids"))
            && !is_crowd
        {
            return Err(Misused(format!("--{flag} makes no sense with --stream {}", args.stream.name())));
        }
        let cast = if is_crowd {
            self.cast(&Cast::crowd(broadcast::STREAMS, broadcast::USERS), None)?
        } else {
            Cast::Usual
        };
        let events = match (args.events, args.rate, args.duration) {
            (Some(events), _, _) => events,
            (None, Some(rate), Some(duration)) => in_time(rate * 1_000, duration),
            (None, _, _) => EVENTS,
        };
        let step_us = match (args.duration, args.rate) {
            (Some(duration), _) => (duration.as_micros() / u128::from(events.max(1))) as u64,
            (None, Some(rate)) => 1_000_000 / rate,
            (None, None) => STEP_US,
        };
        let pace = args
            .rate
            .map_or(Pace::AsAnswered, |rate| Pace::Even { events: rate, within: Duration::from_secs(1) });
        let start = match args.start {
            Start::At(start) => start,
            Start::Now => {
                let span = Duration::from_micros(step_us.saturating_mul(events));
                let sending = args.rate.map_or(Duration::ZERO, |rate| {
                    Duration::from_micros(events.saturating_mul(1_000_000) / rate)
                });
                now.plus(sending).minus(span)
            }
        };
        let shape = self.shape(args.stream, cast, events, args.seed.unwrap_or(SEED), (start, step_us))?;
        let batch = self.batch(pace, None);
        let target = args.target.clone();
        Ok(Plan {
            shape,
            pace,
            dating: Dating::ByStep,
            batch,
            path: None,
            target,
            brokers: self.brokers(None)?,
        })
    }

    fn formed(&self, row: &Row, now: Timestamp, random: u64) -> Result<Plan, Misused> {
        let args = self.args;
        if let Some(flag) = self.typed().into_iter().find(|flag| !row.takes.contains(flag)) {
            return Err(Misused(format!("--{flag} makes no sense with --form {}", row.name)));
        }
        let rate_milli = match args.rate {
            Some(rate) => Some(rate.saturating_mul(1_000)),
            None => self.variable(row, "rate", rate_milli)?.or(row.rate_milli),
        };
        let duration = match args.duration {
            Some(duration) => Some(duration),
            None => self.variable(row, "hours", hours)?.or(row.duration),
        };
        let counted =
            args.events.map_or_else(|| self.variable(row, "events", count), |events| Ok(Some(events)))?;
        if row.rhythm != Rhythm::Rush
            && row.events_per_day.is_none()
            && counted.is_some()
            && duration.is_some()
        {
            return Err(Misused(format!(
                "--form {} ends after --events or after --duration: give one",
                row.name
            )));
        }
        let per_day = |events: u64, duration: Duration| {
            (u128::from(events) * duration.as_millis() / DAY.as_millis()) as u64
        };
        let events = counted.or(row.events).or_else(|| match (row.events_per_day, rate_milli, duration) {
            (Some(day), _, Some(duration)) => Some(per_day(day, duration)),
            (None, Some(rate_milli), Some(duration)) => Some(in_time(rate_milli, duration)),
            _ => None,
        });
        let events = events.unwrap_or(u64::MAX);
        let pace = pace(row, events, rate_milli, duration);
        let (dating, step_us) = match pace {
            Pace::Even { events, within } if row.rhythm == Rhythm::Even => {
                (Dating::ByStep, (within.as_micros() / u128::from(events.max(1))) as u64)
            }
            _ => (Dating::WhenMade, 0),
        };
        let cast = self.cast(&row.cast, Some(row))?;
        let seed = args.seed.unwrap_or(random);
        let shape = self.shape(row.stream, cast, events, seed, (now, step_us))?;
        let target = args.target.or_default(row.url.unwrap_or(&args.target.url));
        // Whoever copies the address from a description copies the path, too.
        let url = row.path.and_then(|path| target.url.trim_end_matches('/').strip_suffix(path));
        let target = Target { url: url.unwrap_or(&target.url).to_owned(), ..target };
        let (batch, brokers) = (self.batch(pace, row.path), self.brokers(Some(row))?);
        Ok(Plan { shape, pace, dating, batch, path: row.path, target, brokers })
    }

    /// Returns the flags that were typed, of those that do not make sense with everything.
    fn typed(&self) -> Vec<&'static str> {
        let Args { events, rate, duration, users, stream_ids, batch, .. } = self.args;
        #[cfg(feature = "kafka")]
        let kafka = self.args.kafka.is_some();
        #[cfg(not(feature = "kafka"))]
        let kafka = false;
        let all = [
            ("events", events.is_some()),
            ("rate", rate.is_some()),
            ("duration", duration.is_some()),
            ("users", users.is_some()),
            ("stream-ids", stream_ids.is_some()),
            ("batch", batch.is_some()),
            ("kafka", kafka),
        ];
        all.into_iter().filter(|(_, is_typed)| *is_typed).map(|(flag, _)| flag).collect()
    }

    /// Reads the variable that says the same as a flag; one that is empty is none.
    fn variable<T>(
        &self,
        row: &Row,
        flag: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Misused> {
        let Some(name) = row.variable(flag) else { return Ok(None) };
        let text = self.variables.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        text.map(read).transpose().map_err(|why| Misused(format!("the variable {name}: {why}")))
    }

    fn shape(
        &self,
        stream: Stream,
        cast: Cast,
        events: u64,
        seed: u64,
        (start, step_us): (Timestamp, u64),
    ) -> Result<Shape, Misused> {
        if events == 0 {
            let why = "there is nothing to send: --events, or the rate times --duration, is zero";
            return Err(Misused(why.to_owned()));
        }
        let Args { late, duplicates, disorder, .. } = self.args;
        Ok(Shape {
            stream,
            cast,
            events,
            seed,
            start,
            step_us,
            late_ppm: *late,
            duplicates_ppm: *duplicates,
            disorder: *disorder,
        })
    }

    fn cast(&self, usual: &Cast, row: Option<&Row>) -> Result<Cast, Misused> {
        let read = |flag| row.map_or(Ok(None), |row| self.variable(row, flag, count));
        let users = self.args.users.map_or_else(|| read("users"), |users| Ok(Some(users)))?;
        let users = users.map(cast_size).transpose()?;
        let ids = match (&self.args.stream_ids, row) {
            (Some(ids), _) => Some(ids.clone()),
            (None, Some(row)) => self.variable(row, "stream-ids", |text| Ok(text.to_owned()))?,
            (None, None) => None,
        };
        Ok(match usual {
            Cast::Usual => Cast::Usual,
            Cast::Named { users: usual } => Cast::Named { users: users.unwrap_or(*usual) },
            Cast::Crowd { streams, users: usual } => Cast::Crowd {
                streams: ids.map_or_else(|| Ok(streams.clone()), |ids| stream_ids(&ids))?,
                users: users.unwrap_or(*usual),
            },
        })
    }

    fn batch(&self, pace: Pace, path: Option<&str>) -> u64 {
        let batch = if path.is_some() { 1 } else { self.args.batch.unwrap_or(BATCH) };
        pace.batch(batch)
    }

    /// Returns the brokers to write to. The variable counts only where a flag, or a form that wrote to Kafka in its own
    /// system, says that it is Kafka that is meant; a server that was typed says the contrary.
    fn brokers(&self, row: Option<&Row>) -> Result<Option<String>, Misused> {
        #[cfg(feature = "kafka")]
        {
            let variable = self.variables.get(BROKERS).filter(|brokers| !brokers.is_empty());
            let writes_to_kafka = row.is_some_and(|row| row.takes.contains(&"kafka"));
            match &self.args.kafka {
                Some(Some(brokers)) => Ok(Some(brokers.clone())),
                Some(None) => variable.cloned().map(Some).ok_or_else(|| {
                    Misused(format!(
                        "--kafka names no brokers, and neither does {BROKERS}: write --kafka HOST:PORT"
                    ))
                }),
                None if writes_to_kafka && !self.args.target.is_typed => Ok(variable.cloned()),
                None => Ok(None),
            }
        }
        #[cfg(not(feature = "kafka"))]
        match self.variables.get(BROKERS).filter(|brokers| {
            !brokers.is_empty()
                && row.is_some_and(|row| row.takes.contains(&"kafka"))
                && !self.args.target.is_typed
        }) {
            Some(_) => {
                Err(Misused(format!("{BROKERS} is set, and this binary was built without the feature kafka")))
            }
            None => Ok(None),
        }
    }
}

impl Pace {
    /// At a given rate a batch holds no more than a tenth of a second, so that events flow instead of arriving in lumps.
    fn batch(self, batch: u64) -> u64 {
        match self {
            Pace::AsAnswered => batch,
            Pace::Irregular { .. } => 1,
            Pace::Even { events, within } => {
                let in_a_tenth = u128::from(events) * 100 / within.as_millis().max(1);
                batch.min(u64::try_from(in_a_tenth).unwrap_or(u64::MAX).max(1))
            }
        }
    }
}

fn pace(row: &Row, events: u64, rate_milli: Option<u64>, duration: Option<Duration>) -> Pace {
    match (row.rhythm, rate_milli, duration) {
        (Rhythm::Even, None, Some(within)) => Pace::Even { events, within },
        (Rhythm::Irregular, Some(rate_milli), _) => {
            Pace::Irregular { mean: Duration::from_micros(1_000_000_000 / rate_milli) }
        }
        (_, Some(rate_milli), _) => Pace::Even { events: rate_milli, within: Duration::from_secs(1_000) },
        (_, None, _) => Pace::AsAnswered,
    }
}

/// Returns how many events come in some time at thousandths of an event per second.
fn in_time(rate_milli: u64, duration: Duration) -> u64 {
    u64::try_from(u128::from(rate_milli) * duration.as_millis() / 1_000_000).unwrap_or(u64::MAX)
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no whole number"))
}

fn cast_size(count: u64) -> Result<u64, Misused> {
    let is_fine = (1..=CAST_MAX).contains(&count);
    is_fine
        .then_some(count)
        .ok_or_else(|| Misused(format!("there are between 1 and {CAST_MAX} users, not {count}")))
}

fn rate_milli(text: &str) -> Result<u64, String> {
    let milli = sg_core::decimal::parse(text, 3).ok().and_then(|milli| u64::try_from(milli).ok());
    milli.filter(|milli| *milli > 0).ok_or_else(|| format!("{text} is no rate such as 20 or 0.5"))
}

fn hours(text: &str) -> Result<Duration, String> {
    let milli = sg_core::decimal::parse(text, 3).ok().and_then(|milli| u64::try_from(milli).ok());
    let milli = milli
        .filter(|milli| *milli > 0)
        .ok_or_else(|| format!("{text} is no number of hours such as 24 or 0.5"))?;
    Ok(Duration::from_millis(milli.saturating_mul(3_600)))
}

/// Reads names with commas between, or how many there are.
fn stream_ids(text: &str) -> Result<Vec<String>, Misused> {
    if let Ok(many) = text.trim().parse::<u64>() {
        let is_fine = (1..=CAST_MAX).contains(&many);
        let streams = is_fine.then(|| Cast::stream_names(many));
        return streams
            .ok_or_else(|| Misused(format!("there are between 1 and {CAST_MAX} streams, not {many}")));
    }
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        return Err(Misused(format!(
            "stream ids are names with commas between, or how many there are, not {text:?}"
        )));
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
