//! The conformance suite over a file in a temporary folder, and what only SQLite can get wrong.

use std::path::PathBuf;

use proptest::prelude::*;
use rusqlite::Connection;
use sg_core::ports::{ErrorKind, FlushOutcome, KeyStore, Manifest, Rewriter};
use sg_core::testing::store_suite::{self as suite, Feed, ManualClock, StoreUnderTest, T0};

use super::*;

pub(crate) struct Fresh {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    /// `None` only while it is opened again.
    store: Option<SqliteStore>,
}

impl Fresh {
    pub(crate) fn new() -> Fresh {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let clock = Arc::new(ManualClock::at(Timestamp(T0)));
        let store =
            SqliteStore::open(&folder.path().join("store.db"), clock.clone()).expect("the folder is new");
        Fresh { folder, clock, store: Some(store) }
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_ref().expect("it is open between the calls")
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    /// A connection such as anybody's.
    fn outside(&self) -> Connection {
        Connection::open(self.path()).expect("the store exists")
    }
}

#[async_trait]
impl StoreUnderTest for Fresh {
    fn writer(&self) -> &dyn RollupWriter {
        self.store()
    }

    fn reader(&self) -> &dyn RollupReader {
        self.store()
    }

    fn rewriter(&self) -> &dyn Rewriter {
        self.store()
    }

    fn manifest(&self) -> &dyn Manifest {
        self.store()
    }

    fn keys(&self) -> &dyn KeyStore {
        self.store()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn reopen(&mut self) {
        self.store = None;
        self.store = Some(SqliteStore::open(&self.path(), self.clock.clone()).expect("it was closed"));
    }

    fn fail_after(&self, steps: Option<u32>) {
        self.store().fail_after(steps);
    }
}

#[tokio::test]
async fn claims() {
    suite::claims(&Fresh::new()).await;
}

#[tokio::test]
async fn misses() {
    suite::misses(&Fresh::new()).await;
}

#[tokio::test]
async fn flushes_all_or_nothing() {
    suite::flushes_all_or_nothing(&Fresh::new()).await;
}

#[tokio::test]
async fn keeps_every_digit() {
    suite::keeps_every_digit(&Fresh::new()).await;
}

#[tokio::test]
async fn levels_run_through_all_time() {
    for seed in 1..4 {
        suite::levels_run_through_all_time(&mut Fresh::new(), seed).await;
    }
}

#[tokio::test]
async fn sketches_merge_over_partitions() {
    suite::sketches_merge_over_partitions(&mut Fresh::new(), 1).await;
}

#[tokio::test]
async fn keeps_keys() {
    suite::keeps_keys(&mut Fresh::new()).await;
}

#[tokio::test]
async fn holds_two_keys_of_a_name() {
    suite::holds_two_keys_of_a_name(&Fresh::new()).await;
}

#[tokio::test]
async fn keeps_no_more_keys_than_fit() {
    suite::keeps_no_more_keys_than_fit(&Fresh::new()).await;
}

#[tokio::test]
async fn takes_files_in_once() {
    suite::takes_files_in_once(&Fresh::new()).await;
}

#[tokio::test]
async fn dooms_what_an_earlier_owner_meant() {
    suite::dooms_what_an_earlier_owner_meant(&Fresh::new()).await;
}

#[tokio::test]
async fn retires_files_by_size() {
    suite::retires_files_by_size(&Fresh::new()).await;
}

#[tokio::test]
async fn shows_cells_at_their_revision() {
    suite::shows_cells_at_their_revision(&Fresh::new()).await;
}

#[tokio::test]
async fn takes_lines_once() {
    suite::takes_lines_once(&Fresh::new()).await;
}

#[tokio::test]
async fn writes_no_lines_unasked() {
    suite::writes_no_lines_unasked(&Fresh::new()).await;
}

#[tokio::test]
async fn keeps_so_many_rows() {
    suite::keeps_so_many_rows(&Fresh::new()).await;
}

#[tokio::test]
async fn retires_files_and_passes_gaps() {
    suite::retires_files_and_passes_gaps(&Fresh::new()).await;
}

#[tokio::test]
async fn leaves_marks() {
    suite::leaves_marks(&Fresh::new()).await;
}

#[tokio::test]
async fn stores_panes() {
    suite::stores_panes(&Fresh::new()).await;
}

#[tokio::test]
async fn diverts_late_events() {
    suite::diverts_late_events(&Fresh::new()).await;
}

#[tokio::test]
async fn lists_late_events() {
    suite::lists_late_events(&Fresh::new()).await;
}

#[tokio::test]
async fn keeps_dead_letters() {
    suite::keeps_dead_letters(&Fresh::new()).await;
}

#[tokio::test]
async fn settles_what_retention_has_passed() {
    suite::settles_what_retention_has_passed(&Fresh::new()).await;
}

#[tokio::test]
async fn takes_events_out() {
    suite::takes_events_out(&Fresh::new()).await;
}

#[tokio::test]
async fn refuses_what_it_cannot_take_out() {
    suite::refuses_what_it_cannot_take_out(&Fresh::new()).await;
}

#[tokio::test]
async fn replays_count_once() {
    suite::replays_count_once(&Fresh::new()).await;
}

#[tokio::test]
async fn counts_letters_by_reason() {
    suite::counts_letters_by_reason(&Fresh::new()).await;
}

#[tokio::test]
async fn orders_cells() {
    suite::orders_cells(&Fresh::new()).await;
}

#[tokio::test]
async fn tallies() {
    suite::tallies(&Fresh::new()).await;
}

#[tokio::test]
async fn counts_events_and_users() {
    suite::counts_events_and_users(&Fresh::new()).await;
}

#[tokio::test]
async fn finds_events() {
    suite::finds_events(&Fresh::new()).await;
}

#[tokio::test]
async fn tells_events() {
    suite::tells_events(&Fresh::new()).await;
}

#[tokio::test]
async fn parks_what_a_topic_refuses() {
    suite::parks_what_a_topic_refuses(&Fresh::new()).await;
}

#[tokio::test]
async fn reads_cells_by_key() {
    suite::reads_cells_by_key(&Fresh::new()).await;
}

#[tokio::test]
async fn bounds_what_is_read() {
    suite::bounds_what_is_read(&Fresh::new()).await;
}

#[tokio::test]
async fn deletes_from_the_outbox() {
    suite::deletes_from_the_outbox(&Fresh::new()).await;
}

#[tokio::test]
async fn refuses_another_definition() {
    suite::refuses_another_definition(&Fresh::new()).await;
}

#[tokio::test]
async fn takes_up_a_new_rollup() {
    suite::takes_up_a_new_rollup(&Fresh::new()).await;
}

#[tokio::test]
async fn says_what_a_restart_needs() {
    suite::says_what_a_restart_needs(&Fresh::new()).await;
}

#[tokio::test]
async fn reopens() {
    suite::reopens(&mut Fresh::new()).await;
}

#[tokio::test]
async fn announces_windows_once() {
    suite::announces_windows_once(&Fresh::new()).await;
}

#[tokio::test]
async fn corrects_final_windows() {
    suite::corrects_final_windows(&Fresh::new()).await;
}

#[tokio::test]
async fn waits_for_busy_partitions() {
    suite::waits_for_busy_partitions(&Fresh::new()).await;
}

#[tokio::test]
async fn closes_when_all_are_idle() {
    suite::closes_when_all_are_idle(&Fresh::new()).await;
}

#[tokio::test]
async fn keeps_closed_windows_closed() {
    suite::keeps_closed_windows_closed(&Fresh::new()).await;
}

#[tokio::test]
async fn goes_on_where_the_budget_ended() {
    suite::goes_on_where_the_budget_ended(&Fresh::new()).await;
}

#[tokio::test]
async fn removes_old_cells() {
    suite::removes_old_cells(&Fresh::new()).await;
}

#[tokio::test]
async fn keeps_what_nothing_newer_follows() {
    suite::keeps_what_nothing_newer_follows(&Fresh::new()).await;
}

#[tokio::test]
async fn expires_what_comes_too_late() {
    suite::expires_what_comes_too_late(&Fresh::new()).await;
}

#[tokio::test]
async fn removes_old_rows() {
    suite::removes_old_rows(&Fresh::new()).await;
}

#[tokio::test]
async fn keeps_letters_a_rebuild_needs() {
    suite::keeps_letters_a_rebuild_needs(&Fresh::new()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Times of three minutes and amounts of all sizes, in any order, in flushes of any sizes.
    #[test]
    fn merges_any_split(
        events in prop::collection::vec((0..180_000i64, 0..4usize, "-?[0-9]{1,22}\\.[0-9]{1,2}"), 1..60),
        splits in prop::collection::vec(1..20usize, 1..12),
    ) {
        let kinds = ["a", "b", "c", "ß"];
        let events: Vec<(i64, &str, &str)> =
            events.iter().map(|(at, kind, amount)| (*at, kinds[*kind], amount.as_str())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("no driver is needed");
        runtime.block_on(suite::merges_any_split(&Fresh::new(), &events, &splits));
    }
}

#[tokio::test]
async fn refuses_what_the_tables_cannot_hold() {
    let fresh = Fresh::new();
    let mut feed = Feed::claim(&fresh, &suite::rollups(), 0).await;
    let before = suite::snapshot(&fresh, &suite::rollups()).await;
    fresh
        .outside()
        .execute_batch(
            "CREATE TRIGGER no_bees BEFORE INSERT ON sg_cells_by_type WHEN new.d0 = 'b' \
             BEGIN SELECT raise(ABORT, 'no bees'); END",
        )
        .expect("the table exists");
    feed.take_in(0, &[(0, "a", "1"), (0, "b", "1")]);
    match fresh.writer().flush(feed.take()).await.expect("it is not the store that fails") {
        FlushOutcome::Refused { detail } => assert!(detail.contains("no bees"), "{detail}"),
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(suite::snapshot(&fresh, &suite::rollups()).await, before);
}

#[tokio::test]
async fn refuses_a_newer_schema() {
    let mut fresh = Fresh::new();
    fresh.store = None;
    fresh.outside().pragma_update(None, "user_version", 99).expect("the file can be written");
    let Err(refused) = SqliteStore::open(&fresh.path(), fresh.clock.clone()) else { panic!("it is newer") };
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.to_string().contains("version 99"), "{refused}");
}

#[tokio::test]
async fn refuses_a_file_that_is_no_store() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let path = folder.path().join("store.db");
    std::fs::write(&path, "not a database".repeat(100)).expect("the folder is new");
    let clock = Arc::new(ManualClock::default());
    let Err(refused) = SqliteStore::open(&path, clock) else { panic!("it is no database") };
    assert_eq!(refused.kind, ErrorKind::Corrupt, "{refused}");
}

#[tokio::test]
async fn refuses_names_that_are_taken() {
    let fresh = Fresh::new();
    fresh.outside().execute_batch("CREATE TABLE mine (n INTEGER)").expect("the name is free");
    for (name, column) in [("sg_streams", "x"), ("mine", "x"), ("", "x"), ("fine", "window_start")] {
        let mut rollup = suite::rollups().remove(0);
        rollup.name = name.to_owned();
        rollup.measures[0].name = column.to_owned();
        let refused = fresh.writer().prepare(&[suite::stream()], &[rollup]).await.expect_err("it is taken");
        assert_eq!(refused.kind, ErrorKind::Invalid, "{name}: {refused}");
    }
    let mut twice = suite::rollups();
    twice[1].name = "BY_TYPE".to_owned();
    let refused =
        fresh.writer().prepare(&[suite::stream()], &twice[..2]).await.expect_err("names have no case");
    assert_eq!(refused.kind, ErrorKind::Invalid);
    twice[1].name = "web_events".to_owned();
    let refused =
        fresh.writer().prepare(&[suite::stream()], &twice[..2]).await.expect_err("the raw table has it");
    assert_eq!(refused.kind, ErrorKind::Invalid);
    fresh.writer().prepare(&[suite::stream()], &twice[..1]).await.expect("it is alone");
    twice[0].name = "By_Type".to_owned();
    let refused = fresh.writer().prepare(&[suite::stream()], &twice[..1]).await.expect_err("it is stored");
    assert!(refused.to_string().contains("case only"), "{refused}");
    let mut quoted = suite::rollups().remove(0);
    quoted.name = "odd \"name\"; DROP TABLE sg_streams --".to_owned();
    quoted.by = vec!["a \"b\"".to_owned()];
    fresh.writer().prepare(&[suite::stream()], &[quoted.clone()]).await.expect("names are quoted");
    assert_eq!(suite::cells(&fresh, &quoted).await, []);
}
