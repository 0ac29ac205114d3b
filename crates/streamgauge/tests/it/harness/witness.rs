//! Senders that write down on disk what they sent and what was answered, and the verdict over what the server made of
//! it. The verdict reads the store's file by itself; nothing of the server's code helps it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::dice::Dice;
use super::http::Client;
use super::{Server, pause};

/// Events of a batch at most.
const BATCH_MAX: u64 = 40;
/// How long a sender waits for a server that is away, or says that it cannot take events now.
const AWAY: Duration = Duration::from_millis(10);
/// Over how many hours the events are spread.
const HOURS: i64 = 6;
const HOUR_MS: i64 = 3_600_000;
const TYPES: [&str; 3] = ["page_view", "click", "purchase"];

/// What events a run sends: all of an event follows from its sender and its index.
#[derive(Debug, Clone, Copy)]
struct Made {
    base_ms: i64,
}

/// An event of a run, with what the verdict must find of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    id: String,
    kind: &'static str,
    time_ms: i64,
    body: String,
}

impl Made {
    fn event(self, sender: u64, index: u64) -> Event {
        let id = format!("{sender}-{index}");
        let kind = TYPES[(index % 3) as usize];
        let time_ms = self.base_ms + (index as i64 * 77_777) % (HOURS * HOUR_MS);
        let time = jiff::Timestamp::from_millisecond(time_ms).expect("the time is near today");
        let body = format!(
            r#"{{"event_id":"{id}","event_type":"{kind}","timestamp":"{time}","session_id":"s{}","properties":{{"n":{index}}}}}"#,
            index % 17
        );
        Event { id, kind, time_ms, body }
    }

    fn of_id(self, id: &str) -> Option<Event> {
        let (sender, index) = id.split_once('-')?;
        Some(self.event(sender.parse().ok()?, index.parse().ok()?))
    }
}

/// What the senders share.
#[derive(Debug)]
struct Shared {
    made: Made,
    /// Where the server is now, if it is anywhere.
    address: Mutex<Option<SocketAddr>>,
    is_over: AtomicBool,
    answered: AtomicU64,
    /// Answers that events cannot be taken now, by status.
    refusals: Mutex<BTreeMap<u16, u64>>,
}

/// Senders at work, each with a connection and a record of its own.
#[derive(Debug)]
pub(crate) struct Senders {
    shared: Arc<Shared>,
    folder: TempDir,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    /// Starts senders that wait for a server to be named.
    pub(crate) fn start(count: u64, seed: u64) -> Senders {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let made = Made { base_ms: now_ms - now_ms.rem_euclid(HOUR_MS) - (HOURS + 1) * HOUR_MS };
        let shared = Arc::new(Shared {
            made,
            address: Mutex::new(None),
            is_over: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            refusals: Mutex::new(BTreeMap::new()),
        });
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let begin = |number| {
            let record = File::create(record_path(folder.path(), number)).expect("a record can be made");
            let mut sender = Sender {
                shared: shared.clone(),
                number,
                dice: Dice::new(seed ^ (number + 1) << 32),
                record: BufWriter::new(record),
                next: 0,
                unanswered: Vec::new(),
                client: None,
            };
            std::thread::spawn(move || sender.run())
        };
        let threads = (0..count).map(begin).collect();
        Senders { shared, folder, threads }
    }

    /// Names the server to send to from now on.
    pub(crate) fn aim(&self, server: &Server) {
        *lock(&self.shared.address) = Some(server.address());
    }

    /// Lets the senders wait for another server.
    pub(crate) fn rest(&self) {
        *lock(&self.shared.address) = None;
    }

    /// Returns how many events were answered 202 so far, resent ones counted again.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Returns how often a status said that events cannot be taken now.
    pub(crate) fn refused_with(&self, status: u16) -> u64 {
        lock(&self.shared.refusals).get(&status).copied().unwrap_or(0)
    }

    /// Ends the senders and reads their records.
    pub(crate) fn stop(self) -> Witness {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let count = self.threads.len() as u64;
        for thread in self.threads {
            thread.join().expect("a sender had an answer that it must not get");
        }
        let mut witness =
            Witness { made: self.shared.made, sent: BTreeSet::new(), answered: BTreeSet::new(), resent: 0 };
        for number in 0..count {
            let record = std::fs::read_to_string(record_path(self.folder.path(), number));
            witness.read(&record.expect("the record can be read"));
        }
        witness
    }
}

fn record_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("sender-{number}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sender {
    shared: Arc<Shared>,
    number: u64,
    dice: Dice,
    /// One line for each event sent, `>` and its index, and one for each answered 202, `<` and its index.
    record: BufWriter<File>,
    next: u64,
    /// Events whose answer did not come: sent again with the same ids, like those of a real sender.
    unanswered: Vec<u64>,
    client: Option<(SocketAddr, Client)>,
}

impl Sender {
    fn run(&mut self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let address = *lock(&self.shared.address);
            match address {
                Some(address) => self.send(address),
                None => pause(AWAY),
            }
        }
        self.record.flush().expect("the record can be written");
    }

    fn send(&mut self, address: SocketAddr) {
        let indexes = self.choose();
        self.note('>', &indexes);
        let events = indexes.iter().map(|index| self.shared.made.event(self.number, *index).body);
        let body = events.collect::<Vec<String>>().join("\n");
        let kind = if indexes.len() == 1 { "application/json" } else { "application/x-ndjson" };
        let client = match &mut self.client {
            Some((known, client)) if *known == address => client,
            other => &mut other.insert((address, Client::new(address))).1,
        };
        let answer = client.post("/v1/events?stream=events", &[("content-type", kind)], body.as_bytes());
        match answer {
            Ok(answer) if answer.status == 202 => {
                if indexes.len() > 1 {
                    assert_eq!(answer.json()["accepted"], indexes.len(), "{}", answer.text());
                }
                self.note('<', &indexes);
                self.shared.answered.fetch_add(indexes.len() as u64, Ordering::Relaxed);
                return;
            }
            Ok(answer) => {
                assert!(matches!(answer.status, 429 | 503 | 507), "{} {}", answer.status, answer.text());
                *lock(&self.shared.refusals).entry(answer.status).or_default() += 1;
                pause(AWAY);
            }
            Err(_) => {
                self.client = None;
                pause(AWAY);
            }
        }
        self.unanswered.extend(indexes);
    }

    /// One event or a batch: mostly new ones, some that were not answered, some that were.
    fn choose(&mut self) -> Vec<u64> {
        let count = if self.dice.below(3) == 0 { 1 } else { 1 + self.dice.below(BATCH_MAX) };
        let mut indexes = Vec::new();
        for _ in 0..count {
            let index = match self.dice.below(10) {
                0 if self.next > 0 => self.dice.below(self.next),
                1..3 if !self.unanswered.is_empty() => self.unanswered.swap_remove(0),
                _ => {
                    self.next += 1;
                    self.next - 1
                }
            };
            indexes.push(index);
        }
        indexes
    }

    fn note(&mut self, mark: char, indexes: &[u64]) {
        for index in indexes {
            writeln!(self.record, "{mark}{}-{index}", self.number).expect("the record can be written");
        }
        self.record.flush().expect("the record can be written");
    }
}

/// Window start and event type → number of events.
pub(crate) type Cells = BTreeMap<(String, String), i64>;

/// What was sent to a server over its lives, and what was answered.
#[derive(Debug)]
pub(crate) struct Witness {
    made: Made,
    sent: BTreeSet<String>,
    answered: BTreeSet<String>,
    /// Events sent more than once.
    resent: u64,
}

impl Witness {
    fn read(&mut self, record: &str) {
        for line in record.lines() {
            let id = line[1..].to_owned();
            if line.starts_with('<') {
                self.answered.insert(id);
            } else if !self.sent.insert(id) {
                self.resent += 1;
            }
        }
    }

    /// Returns how many different events were answered 202.
    pub(crate) fn answered(&self) -> usize {
        self.answered.len()
    }

    /// Returns how many events were sent once more.
    pub(crate) fn resent(&self) -> u64 {
        self.resent
    }

    /// Judges what a server that has stopped left in its store's file.
    pub(crate) fn judge(&self, data_dir: &Path) {
        let store = open(data_dir);
        self.judge_found(&rows(&store), &stored_cells(&store));
    }

    /// Judges what a store holds, raw events as id and properties and the rollup's cells: every answered event once,
    /// none twice, none that was not sent, each as it was sent, and every cell the number of its events.
    pub(crate) fn judge_found(&self, rows: &[(String, String)], stored: &Cells) {
        let mut found = BTreeMap::new();
        let mut cells = Cells::new();
        for (id, metadata) in rows {
            *found.entry(id.as_str()).or_insert(0) += 1;
            assert!(self.sent.contains(id), "{id} was counted but never sent");
            let event = self.made.of_id(id).unwrap_or_else(|| panic!("{id} is no id of this run"));
            assert!(
                event.body.ends_with(&format!(r#""properties":{metadata}}}"#)),
                "{id} came as {metadata}"
            );
            let hour = event.time_ms - event.time_ms.rem_euclid(HOUR_MS);
            let hour = jiff::Timestamp::from_millisecond(hour).expect("the time is near today").to_string();
            *cells.entry((hour, event.kind.to_owned())).or_default() += 1;
        }
        let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).take(10).collect();
        assert!(twice.is_empty(), "counted twice: {twice:?}");
        let missing: Vec<_> = self.answered.iter().filter(|id| !found.contains_key(id.as_str())).collect();
        let some = &missing[..missing.len().min(10)];
        assert!(missing.is_empty(), "{} answered 202 and lost, among them {some:?}", missing.len());
        assert_eq!(*stored, cells, "the cells are not those of the raw events");
    }
}

/// Opens the store's file of a server that has stopped.
pub(crate) fn open(data_dir: &Path) -> Connection {
    let path = data_dir.join("streamgauge.db");
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("the store can be opened")
}

fn rows(store: &Connection) -> Vec<(String, String)> {
    let mut select = store.prepare("SELECT event_id, metadata FROM events").expect("there are raw events");
    let rows =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("raw events can be asked for");
    rows.collect::<Result<_, _>>().expect("raw events can be read")
}

fn stored_cells(store: &Connection) -> Cells {
    let sql = "SELECT window_start, event_type, event_count FROM hourly_aggregations";
    let mut select = store.prepare(sql).expect("there is the rollup");
    let rows = select
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))
        .expect("it can be asked for");
    rows.collect::<Result<_, _>>().expect("it can be read")
}

/// Checks with the server's own means that its ledger adds up.
pub(crate) fn audit(server: &Server, more: &[&str]) {
    let mut args = vec!["audit"];
    args.extend(more);
    let output = server.command(&args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "audit: {}\n{out}{err}\n{}", output.status, server.stderr());
}
