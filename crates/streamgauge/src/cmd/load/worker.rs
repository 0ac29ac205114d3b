//! One connection under load: sends a request when it is due, reads the answer, and notes how long it took.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use sg_core::time::Clock;

use super::body::Body;
use super::stream::Stream;
use crate::client::Server;
use crate::client::failures::{Failures, told_in};

/// Latencies are kept in microseconds up to this: an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;
/// Digits of a latency that are kept: one part in a thousand.
const LATENCY_DIGITS: u8 = 3;
/// A server that says nothing for so long has lost the request.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a refusal or a lost connection, in a closed loop: otherwise it would only count refusals.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);
/// Bytes of an answer's head at most.
const HEAD_MAX: usize = 16 * 1024;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Plan {
    /// Where to.
    pub(super) server: Server,
    /// When the load began.
    pub(super) began: Instant,
    /// How long it goes on.
    pub(super) duration: Duration,
    /// From one request's due time to the next one's, over all connections; `None` in a closed loop.
    pub(super) interval: Option<Duration>,
    /// How many connections there are.
    pub(super) connections: u64,
    /// Where connections that send together meet.
    pub(super) meeting: Option<Meeting>,
}

/// Where all connections meet before each of their turns.
#[derive(Debug)]
pub(super) struct Meeting {
    barrier: Barrier,
    is_over: AtomicBool,
}

impl Meeting {
    /// Returns a place for so many.
    pub(super) fn new(connections: u64) -> Meeting {
        Meeting { barrier: Barrier::new(connections as usize), is_over: AtomicBool::new(false) }
    }

    /// Waits for all others; returns whether there is another turn, which all are told alike.
    fn goes_on(&self, is_over: impl FnOnce() -> bool) -> bool {
        if self.barrier.wait().is_leader() {
            self.is_over.store(is_over(), Ordering::Relaxed);
        }
        self.barrier.wait();
        !self.is_over.load(Ordering::Relaxed)
    }
}

/// What came of the requests.
#[derive(Debug)]
pub(super) struct Tally {
    /// Requests that were answered.
    pub(super) requests: u64,
    /// Events that were accepted.
    pub(super) accepted: u64,
    /// Requests that were not answered.
    pub(super) unanswered: u64,
    /// Events of those requests.
    pub(super) unanswered_events: u64,
    /// Answers other than 202, by status.
    pub(super) refused: BTreeMap<u16, u64>,
    /// What was said of those, why others were not answered, and which events of a batch were refused.
    pub(super) failures: Failures,
    /// Latencies of accepted requests in microseconds.
    pub(super) latency_us: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        let latency_us = Histogram::new_with_max(LATENCY_MAX_US, LATENCY_DIGITS);
        Tally {
            requests: 0,
            accepted: 0,
            unanswered: 0,
            unanswered_events: 0,
            refused: BTreeMap::new(),
            failures: Failures::default(),
            latency_us: latency_us.expect("an hour and three digits are within the histogram's bounds"),
        }
    }
}

impl Tally {
    /// Adds another connection's.
    pub(super) fn merge(&mut self, other: Tally) {
        self.requests += other.requests;
        self.accepted += other.accepted;
        self.unanswered += other.unanswered;
        self.unanswered_events += other.unanswered_events;
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self.failures.merge(other.failures);
        self.latency_us += other.latency_us;
    }
}

/// An answer, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// The status.
    pub(super) status: u16,
    /// Whether the server closes the connection.
    pub(super) closes: bool,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// One connection.
pub(super) struct Worker<'a> {
    plan: &'a Arc<Plan>,
    index: u64,
    body: Body,
    head: String,
    clock: &'a dyn Clock,
    stream: Option<Stream>,
    buffer: Vec<u8>,
    tally: Tally,
}

impl<'a> Worker<'a> {
    /// Returns a connection not made yet, the `index`th of the plan's.
    pub(super) fn new(plan: &'a Arc<Plan>, index: u64, body: Body, clock: &'a dyn Clock) -> Worker<'a> {
        let head = body.head(&plan.server);
        Worker { plan, index, body, head, clock, stream: None, buffer: Vec::new(), tally: Tally::default() }
    }

    /// Sends until the time is over.
    pub(super) fn run(mut self) -> Tally {
        let mut turn = 0;
        let plan = self.plan.clone();
        loop {
            if let Some(meeting) = &plan.meeting
                && !meeting.goes_on(|| self.due(turn).is_none())
            {
                return self.tally;
            }
            // Those who were told together that there is another turn all take it.
            let due = match self.due(turn) {
                Some(due) => due,
                None if plan.meeting.is_some() => Instant::now(),
                None => return self.tally,
            };
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            let is_refused = self.send(due);
            if is_refused && plan.interval.is_none() {
                std::thread::sleep(REFUSED_PAUSE);
            }
            turn += 1;
        }
    }

    /// Returns when a turn's request is due; `None` when the load is over. In an open loop what was due before the end
    /// is still sent: leaving it out would hide the requests that waited longest.
    fn due(&self, turn: u64) -> Option<Instant> {
        let Plan { began, duration, connections, .. } = **self.plan;
        let end = began + duration;
        let now = Instant::now();
        // Those who send together send at once, and the first group without waiting.
        let place =
            if self.plan.meeting.is_some() { turn * connections } else { turn * connections + self.index };
        let due = self.plan.interval.map_or(now, |interval| began + interval.mul_f64(place as f64));
        // A server that is far behind is not followed for ever.
        let is_over = now >= end + duration.max(ANSWER_TIMEOUT);
        (due < end && !is_over).then_some(due)
    }

    /// Sends one request and notes what came of it; returns whether it was refused or lost.
    fn send(&mut self, due: Instant) -> bool {
        let answered = match self.exchange() {
            Ok(answered) => answered,
            Err(error) => {
                self.tally.failures.add(format!("not answered: {error}"));
                self.stream = None;
                self.tally.unanswered += 1;
                self.tally.unanswered_events += self.body.events;
                return true;
            }
        };
        if answered.closes {
            self.stream = None;
        }
        self.tally.requests += 1;
        if answered.status != 202 {
            *self.tally.refused.entry(answered.status).or_default() += 1;
            self.tally.failures.add(told_in(answered.status, &answered.body));
            return true;
        }
        let waited_us =
            u64::try_from(due.elapsed().as_micros()).unwrap_or(LATENCY_MAX_US).clamp(1, LATENCY_MAX_US);
        self.tally.latency_us.saturating_record(waited_us);
        let accepted = if self.body.events == 1 { 1 } else { accepted_in(&answered.body) };
        if accepted < self.body.events {
            self.tally.failures.add(told_in(answered.status, &answered.body));
        }
        self.tally.accepted += accepted;
        false
    }

    fn exchange(&mut self) -> io::Result<Answered> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => Stream::connect(&self.plan.server)?,
        };
        let body = self.body.renewed(self.clock.now());
        self.buffer.clear();
        self.buffer.extend_from_slice(self.head.as_bytes());
        self.buffer.extend_from_slice(body);
        let sent = stream.write_all(&self.buffer);
        let is_cut = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        };
        if let Err(error) = sent {
            if !is_cut(&error) {
                return Err(error);
            }
            // Who refuses a request before all of it was sent closes the connection behind the answer.
            return read_answer(&mut stream, &mut self.buffer).map_err(|_| error);
        }
        let answered = read_answer(&mut stream, &mut self.buffer)?;
        self.stream = Some(stream);
        Ok(answered)
    }
}

/// Reads one answer with a content-length; `buffer` is only lent.
pub(super) fn read_answer(stream: &mut impl io::Read, buffer: &mut Vec<u8>) -> io::Result<Answered> {
    buffer.clear();
    let mut piece = [0; 4_096];
    let head_end = loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&piece[..count]);
        match buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None if buffer.len() > HEAD_MAX => {
                return Err(io::Error::other("the answer's head does not end"));
            }
            None => {}
        }
    };
    let unreadable = || io::Error::other("the answer is not HTTP/1.1 with a content-length");
    let head = std::str::from_utf8(&buffer[..head_end]).map_err(|_| unreadable())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status: u16 = status.ok_or_else(unreadable)?;
    let mut length = None;
    let mut closes = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let mut body = buffer[head_end..].to_vec();
    let left = length.and_then(|length| length.checked_sub(body.len())).ok_or_else(unreadable)?;
    stream.take(left as u64).read_to_end(&mut body)?;
    if body.len() != length.unwrap_or_default() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Answered { status, closes, body })
}

/// Returns the number behind `"accepted":`.
fn accepted_in(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let behind = text.split_once("\"accepted\":").map_or("", |(_, behind)| behind.trim_start());
    let digits = behind.find(|character: char| !character.is_ascii_digit()).unwrap_or(behind.len());
    behind[..digits].parse().unwrap_or(0)
}
