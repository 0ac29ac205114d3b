//! Whatever is asked, and whatever became of the index before: the answer is that of a plain scan.

use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::{Connection, params};
use sg_core::ports::{RollupReader, RollupWriter};
use sg_core::query::{EventQuery, StoredEvent};
use sg_core::testing::store_suite::{self as suite, ManualClock};
use sg_core::time::Timestamp;

use super::super::SqliteStore;
use super::super::events::{self, Select};
use super::*;
use crate::place::{OFFSET_MAX, position};

const SMALL: Sizes = Sizes { seal_rows: 8, fan_in: 3, page_entries: 4 };
const PARTITIONS: u32 = 3;

/// A store whose raw rows are written from outside, so that a case can have any.
struct Rows {
    folder: tempfile::TempDir,
    /// `None` only while it is opened again.
    store: Option<SqliteStore>,
    outside: Connection,
    next: [u64; PARTITIONS as usize],
}

/// A row: which partition, how many offsets it leaves out, and small numbers for time, user, session and type.
type Draw = (u32, u64, i64, u8, u8, u8);

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Draw>),
    /// Removes so many of the first rows of a partition.
    Remove(u32, u32),
    Reopen,
    Settle,
    Delete,
    /// Overwrites bytes somewhere in the index.
    Damage(prop::sample::Index, Vec<u8>),
    Ask(Vec<EventQuery>),
}

impl Rows {
    async fn new() -> Rows {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let store = open(&folder.path().join("store.db"));
        store.prepare(&[suite::stream()], &[]).await.expect("the definitions are sound");
        let outside = Connection::open(folder.path().join("store.db")).expect("the store exists");
        outside.busy_timeout(Duration::from_secs(30)).expect("it is open");
        for partition in 0..PARTITIONS {
            outside
                .execute(
                    "INSERT INTO sg_partitions (stream, partition, epoch, owner, log_identity, definitions, first_offset, next_offset, m, r, \
                     dedup_from, dedup_from_r, is_idle, said_at, processed, counted, duplicate, id_conflict, \
                     dead_lettered, deleted) VALUES ('orders', ?, 1, '', '', '', 5, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
                    [partition],
                )
                .expect("the table is there");
        }
        Rows { folder, store: Some(store), outside, next: [5; 3] }
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_ref().expect("it is open between the calls")
    }

    fn index_path(&self) -> PathBuf {
        self.folder.path().join("store.db-index")
    }

    fn write(&mut self, rows: &[Draw]) {
        let transaction = self.outside.transaction().expect("nobody writes for long");
        for (partition, skip, time, user, session, kind) in rows {
            let offset = self.next[*partition as usize] + skip;
            self.next[*partition as usize] = offset + 1;
            let position = position(*partition, offset).expect("it fits");
            let some = |number: &u8, name: &str| (*number > 0).then(|| format!("{name}{number}"));
            transaction
                .execute(
                    "INSERT INTO sg_raw_orders VALUES (?, ?, ?, ?, ?, '{}', ?, 0, 0)",
                    params![
                        position,
                        format!("e{}", (offset * 7 + u64::from(*partition)) % 50),
                        some(user, "u"),
                        some(session, "s"),
                        format!("t{kind}"),
                        time
                    ],
                )
                .expect("the position is new");
        }
        for (partition, next) in self.next.iter().enumerate() {
            transaction
                .execute(
                    "UPDATE sg_partitions SET next_offset = ? WHERE partition = ?",
                    params![*next as i64, partition as i64],
                )
                .expect("the table is there");
        }
        transaction.commit().expect("the disk has room");
        self.store().index.rows_came();
    }

    fn remove(&self, partition: u32, rows: u32) {
        let first = position(partition, 0).expect("it fits");
        self.outside
            .execute(
                "DELETE FROM sg_raw_orders WHERE position IN (SELECT position FROM sg_raw_orders \
                 WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?)",
                params![first, first + OFFSET_MAX as i64, rows],
            )
            .expect("nobody writes for long");
        self.store().index.rows_went();
    }

    fn reopen(&mut self, between: impl FnOnce(&Path)) {
        self.store = None;
        between(&self.index_path());
        self.store = Some(open(&self.folder.path().join("store.db")));
    }

    fn plain(&self, query: &EventQuery) -> Vec<StoredEvent> {
        events::scan(&self.outside, query, &Select::new(query), &[(i64::MIN, i64::MAX)])
            .expect("the table is there")
    }

    async fn check(&self, query: &EventQuery) {
        let found = self.store().events(query).await.expect("nothing fails");
        assert_eq!(found, self.plain(query), "{query:?}");
        let all = self.plain(&EventQuery { limit: usize::MAX, ..query.clone() });
        let count = self.store().count_events(query).await.expect("nothing fails");
        assert_eq!(count, all.len() as u64, "{query:?}");
        let (from, to) = (query.from.unwrap_or(Timestamp::NEVER), query.to.unwrap_or(Timestamp(i64::MAX)));
        let times = EventQuery { from: Some(from), to: Some(to), limit: usize::MAX, ..any_event() };
        let users: std::collections::BTreeSet<_> =
            self.plain(&times).into_iter().filter_map(|event| event.user_id).collect();
        let count = self.store().active_users("orders", from, to).await.expect("nothing fails");
        assert_eq!(count, users.len() as u64, "{query:?}");
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Write(rows) => self.write(rows),
            Step::Remove(partition, rows) => self.remove(*partition, *rows),
            Step::Reopen => self.reopen(|_| {}),
            Step::Settle => self.settle(),
            Step::Delete => self.reopen(|path| file::delete(path).expect("nobody has it open")),
            Step::Damage(at, bytes) => {
                damage(&self.index_path(), |length| at.index(length), bytes);
                self.store().index.rows_came();
            }
            Step::Ask(queries) => {
                for query in queries {
                    self.check(query).await;
                }
            }
        }
    }

    fn settle(&self) {
        assert!(self.store().index.settle(), "the index's thread ends what it does");
    }

    /// The pieces' levels, greatest first.
    fn pieces(&self) -> Vec<u8> {
        let view = self.store().index.shared.look("orders").expect("it is well").expect("it is there");
        let mut levels = view.levels();
        levels.sort_unstable_by_key(|level| std::cmp::Reverse(*level));
        levels
    }
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open_with(path, Arc::new(ManualClock::default()), SMALL).expect("the folder is ours")
}

fn damage(path: &Path, at: impl FnOnce(usize) -> usize, bytes: &[u8]) {
    let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(path) else { return };
    let length = file.metadata().expect("it is open").len();
    file.seek(SeekFrom::Start(at(length.max(1) as usize) as u64)).expect("it is a file");
    file.write_all(bytes).expect("the disk has room");
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let skip = prop_oneof![9 => Just(0u64), 3 => 1..4u64, 1 => Just(piece::GAP_MAX * 3)];
    prop::collection::vec((0..PARTITIONS, skip, 0..40i64, 0..4u8, 0..3u8, 0..3u8), 1..60)
}

fn queries() -> impl Strategy<Value = EventQuery> {
    let text = |name: &'static str, end: u32| {
        prop::option::weighted(0.3, (0..end).prop_map(move |n| format!("{name}{n}")))
    };
    let time = || {
        prop::option::weighted(
            0.4,
            prop_oneof![(-2..45i64).prop_map(Timestamp), Just(Timestamp::NEVER), Just(Timestamp(i64::MAX))],
        )
    };
    let limit = prop_oneof![0..6usize, Just(1_000), Just(usize::MAX)];
    (text("e", 52), text("u", 5), text("s", 4), text("t", 4), time(), time(), limit).prop_map(
        |(event_id, user_id, session_id, event_type, from, to, limit)| EventQuery {
            stream: "orders".to_owned(),
            event_id,
            user_id,
            session_id,
            event_type,
            from,
            to,
            limit,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => draws().prop_map(Step::Write),
        1 => (0..PARTITIONS, 1..80u32).prop_map(|(partition, rows)| Step::Remove(partition, rows)),
        1 => Just(Step::Reopen),
        3 => Just(Step::Settle),
        1 => Just(Step::Delete),
        1 => (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..3_000))
            .prop_map(|(at, bytes)| Step::Damage(at, bytes)),
        6 => prop::collection::vec(queries(), 1..8).prop_map(Step::Ask),
    ];
    (prop::collection::vec(step, 1..24), prop::collection::vec(queries(), 12)).prop_map(
        |(mut steps, last)| {
            steps.extend([Step::Settle, Step::Ask(last)]);
            steps
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_a_scan_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("no driver is needed");
        runtime.block_on(async {
            let mut rows = Rows::new().await;
            for step in &steps {
                rows.take(step).await;
            }
        });
    }
}

fn any_event() -> EventQuery {
    EventQuery { stream: "orders".to_owned(), limit: 1_000, ..EventQuery::default() }
}

fn many(count: i64) -> Vec<Draw> {
    (0..count).map(|at| (at as u32 % PARTITIONS, 0, at / 4, 1, 1, 1)).collect()
}

#[tokio::test]
async fn merges_and_goes_on_after_a_restart() {
    let mut rows = Rows::new().await;
    rows.write(&many(8 * 9));
    rows.settle();
    assert_eq!(rows.pieces(), [2]);
    rows.write(&many(8));
    rows.settle();
    assert_eq!(rows.pieces(), [2, 0]);
    rows.reopen(|_| {});
    rows.settle();
    assert_eq!(rows.pieces(), [2, 0]);
    rows.check(&any_event()).await;
}

#[tokio::test]
async fn drops_pieces_whose_rows_are_gone() {
    let mut rows = Rows::new().await;
    rows.write(&many(8 * 4));
    rows.settle();
    assert_eq!(rows.pieces(), [1, 0]);
    for (partition, count) in [(0, 11), (1, 11), (2, 2)] {
        rows.remove(partition, count);
    }
    rows.settle();
    assert_eq!(rows.pieces(), [0]);
    let garbage: i64 = Connection::open(rows.index_path())
        .and_then(|index| index.query_row("SELECT (SELECT count(*) FROM pages) - (SELECT count(*) FROM fences JOIN pieces USING (piece))", [], |row| row.get(0)))
        .expect("it is there");
    assert_eq!(garbage, 0);
    rows.check(&any_event()).await;
}

/// Does something to the index's file.
type Spoil = fn(&Path);

/// Each is noticed when it is opened; the index is then made again.
#[tokio::test]
async fn makes_a_useless_file_again() {
    let spoils: [(&str, Spoil); 5] = [
        ("another version", |path| change(path, "PRAGMA user_version = 99")),
        ("before the machine started", |path| change(path, "UPDATE about SET machine_start = 'then'")),
        ("a changed piece", |path| change(path, "UPDATE pieces SET body = replace(body, '5', '6')")),
        ("no database", |path| std::fs::write(path, "no database".repeat(99)).expect("the disk has room")),
        ("cut off", |path| {
            std::fs::File::options()
                .write(true)
                .open(path)
                .and_then(|file| file.set_len(20_000))
                .expect("it is there")
        }),
    ];
    for (name, spoil) in spoils {
        let mut rows = Rows::new().await;
        rows.write(&many(8 * 3));
        rows.settle();
        rows.reopen(spoil);
        rows.check(&any_event()).await;
        rows.settle();
        assert_eq!(rows.pieces(), [1], "{name}");
        rows.check(&any_event()).await;
    }
}

/// An index of other rows is not used, even if it could be theirs by its offsets.
#[tokio::test]
async fn makes_a_foreign_file_again() {
    for change_store in [
        "UPDATE sg_raw_orders SET event_id = 'x' || event_id",
        "DELETE FROM sg_raw_orders; UPDATE sg_partitions SET next_offset = 5",
    ] {
        let mut rows = Rows::new().await;
        rows.write(&many(8 * 3));
        rows.settle();
        rows.store = None;
        rows.outside.execute_batch(change_store).expect("the tables are there");
        rows.reopen(|_| {});
        rows.settle();
        rows.check(&any_event()).await;
        rows.check(&EventQuery { event_id: Some("xe2".to_owned()), ..any_event() }).await;
    }
}

/// Damage that is found only by a question: it is answered all the same, and the index is made again.
#[tokio::test]
async fn a_question_that_finds_damage_is_answered() {
    let mut rows = Rows::new().await;
    rows.write(&many(8 * 9));
    rows.settle();
    change(&rows.index_path(), "UPDATE pages SET body = zeroblob(100)");
    rows.check(&any_event()).await;
    rows.settle();
    assert_eq!(rows.pieces(), [2]);
    let view = rows.store().index.shared.look("orders").expect("it is well").expect("it is there");
    let wanted = Wanted { kind: Kind::All, hash: 0, from: i64::MIN, to: i64::MAX };
    let mut candidates = view.candidates(wanted);
    let mut count = 0;
    while candidates.next().expect("it is well").is_some() {
        count += 1;
    }
    assert_eq!(count, 72);
}

fn change(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("it is there");
    connection.busy_timeout(Duration::from_secs(30)).expect("it is open");
    connection.execute_batch(sql).expect("the tables are there");
}
