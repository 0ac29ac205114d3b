//! The one task that looks at everything once a second while somebody watches, says what has changed, and remembers
//! what it said in the last minutes, for those who come back. What changed is `change`'s.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::App;

use super::change::{self, Said};
use super::look::Look;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the feed goes on when nobody watches any more, so that a page that is loaded again finds its place.
const LINGER: Duration = Duration::from_secs(20);
/// Messages that a slow reader may be behind before it is told of a gap: half a minute of a busy server.
pub(super) const BEHIND_MAX: usize = 256;
/// What was said is remembered up to so many messages, some minutes of a server with a few rollups,
const REMEMBERED_MAX: usize = 1_000;
/// and up to so many bytes.
const REMEMBERED_BYTES_MAX: usize = 4 << 20;

/// One event as it goes to everybody.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) name: &'static str,
    pub(super) data: String,
}

impl Message {
    /// Tells a slow reader that it missed so many.
    pub(super) fn gap(missed: u64) -> Message {
        Message { id: String::new(), name: "gap", data: format!("{{\"missed\":{missed}}}") }
    }
}

/// What is said, and to whom.
#[derive(Debug)]
pub(super) struct Feed {
    state: Mutex<State>,
    sender: Sender<Arc<Message>>,
}

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// Tells the ids of this run from those of any other, also of another process.
    run: i64,
    /// How many messages have been said in this run.
    said: u64,
    /// The last of them.
    remembered: VecDeque<Arc<Message>>,
    remembered_bytes: usize,
    /// Everything as of the last message.
    look: Option<Arc<Look>>,
}

impl Default for Feed {
    fn default() -> Feed {
        Feed { state: Mutex::default(), sender: broadcast::channel(BEHIND_MAX).0 }
    }
}

impl State {
    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    /// Returns what was said since a message; `None` when that is not known any more, or was not said in this run.
    fn since(&self, last_id: &str) -> Option<Vec<Arc<Message>>> {
        let (run, number) = last_id.split_once('-')?;
        let number: u64 = number.parse().ok()?;
        let first = self.said - self.remembered.len() as u64;
        if run.parse() != Ok(self.run) || !(first..=self.said).contains(&number) {
            return None;
        }
        Some(self.remembered.iter().skip((number - first) as usize).cloned().collect())
    }

    fn remember(&mut self, said: Said) -> Arc<Message> {
        self.said += 1;
        let message = Arc::new(Message { id: self.id(self.said), name: said.name, data: said.data });
        self.remembered_bytes += message.data.len();
        self.remembered.push_back(message.clone());
        while self.remembered.len() > REMEMBERED_MAX || self.remembered_bytes > REMEMBERED_BYTES_MAX {
            let Some(oldest) = self.remembered.pop_front() else { break };
            self.remembered_bytes -= oldest.data.len();
        }
        message
    }
}

impl Feed {
    /// Starts the feed where it does not run. Returns what was said since the last message of one who comes back, or
    /// `None` where that needs everything, and what will be said.
    pub(super) fn join(
        app: &Arc<App>,
        last_id: Option<&str>,
    ) -> (Option<Vec<Arc<Message>>>, Receiver<Arc<Message>>) {
        let feed = &app.watchers.feed;
        let mut state = feed.lock();
        let receiver = feed.sender.subscribe();
        if !state.is_running {
            let now = app.clock.now().0;
            *state = State { is_running: true, run: now, ..State::default() };
            tokio::spawn(run(app.clone(), Run { feed: feed.clone(), run: now }));
        }
        (last_id.and_then(|last_id| state.since(last_id)), receiver)
    }

    /// Returns everything as of now, and what will be said after it; `None` before the first look.
    pub(super) fn all(&self, write: impl Fn(&Look) -> String) -> Option<(Message, Receiver<Arc<Message>>)> {
        let state = self.lock();
        let look = state.look.clone()?;
        let (id, receiver) = (state.id(state.said), self.sender.subscribe());
        drop(state);
        Some((Message { id, name: "reset", data: write(&look) }, receiver))
    }

    /// Begins to hear what is said from now on.
    #[cfg(test)]
    pub(super) fn subscribe(&self) -> Receiver<Arc<Message>> {
        self.sender.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody. A watcher that joins sees either the look and what follows it, or all of this.
    pub(super) fn say(&self, look: Arc<Look>, said: Vec<Said>) {
        let mut state = self.lock();
        state.look = Some(look);
        for said in said {
            let message = state.remember(said);
            // Nobody may be listening just now.
            drop(self.sender.send(message));
        }
    }

    /// Forgets everything if nobody watches; returns whether it did.
    fn rest(&self) -> bool {
        let mut state = self.lock();
        let is_alone = self.sender.receiver_count() == 0;
        if is_alone {
            *state = State::default();
        }
        is_alone
    }
}

/// A feed that runs. However its task ends, the next watcher can start another.
struct Run {
    feed: Arc<Feed>,
    run: i64,
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut state = self.feed.lock();
        if state.run == self.run {
            *state = State::default();
        }
    }
}

async fn run(app: Arc<App>, run: Run) {
    let feed = &run.feed;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched_at = Instant::now();
    let mut last: Option<Arc<Look>> = None;
    loop {
        tokio::select! {
            () = app.draining.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if feed.sender.receiver_count() > 0 {
            watched_at = Instant::now();
        } else if watched_at.elapsed() >= LINGER && feed.rest() {
            return;
        }
        let look = Arc::new(Look::take(&app, last.as_deref()).await);
        let said = last
            .as_deref()
            .map_or_else(|| change::first(&app, &look), |last| change::between(&app, last, &look));
        feed.say(look.clone(), said);
        last = Some(look);
    }
}

#[cfg(test)]
mod tests;
