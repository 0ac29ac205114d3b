//! Cases of lines that wait for files of the archive.

use crate::archive::FileKind;
use crate::definition::Stream;
use crate::output::{CellShape, FileOutputs, Outputs};
use crate::ports::{
    ArchivedFile, FlushOutcome, Intent, Line, LineCut, LinesStatus, ManifestQuery, StatusDetail,
};
use crate::time::Timestamp;

use super::StoreUnderTest;
use super::feed::{Feed, T0, cells, rollups, snapshot, stream};

const MINUTE: i64 = 60_000;
const DAY: i64 = 1_440 * MINUTE;
const PLACE: &str = "file:archive";

fn filed(closed: bool, late: bool) -> Stream {
    let shape = |fields: &[&str]| CellShape {
        has_zone: false,
        fields: fields.iter().map(|&field| field.to_owned()).collect(),
    };
    let closed = closed.then(|| shape(&["rollup", "window_start", "event_count", "revision"]));
    let files = FileOutputs { closed, late: late.then(|| shape(&["event_type", "user_id", "event_count"])) };
    Stream { outputs: Outputs { files, ..Outputs::default() }, ..stream() }
}

async fn lines(store: &dyn StoreUnderTest, kind: FileKind) -> Vec<Line> {
    store.manifest().lines("orders", kind, 0, usize::MAX).await.expect("answered")
}

async fn texts(store: &dyn StoreUnderTest, kind: FileKind) -> Vec<String> {
    lines(store, kind).await.into_iter().map(|line| line.text).collect()
}

fn cell(rollup: &str, start: &str, count: u64, revision: u64) -> String {
    format!(
        r#"{{"rollup":"{rollup}","window_start":"2025-01-01T{start}","event_count":{count},"revision":{revision}}}"#
    )
}

/// A line shows its cell as it was at its revision, whatever comes later, and stands in the transaction that made it so.
pub async fn shows_cells_at_their_revision(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim_of(store, filed(true, true), &rollups(), 0).await;
    feed.write(store, 0, &[(0, "a", "1"), (0, "b", "2")]).await;
    assert_eq!(lines(store, FileKind::Closed).await, []);
    feed.write(store, 70 * MINUTE, &[(70 * MINUTE, "a", "1")]).await;
    let mut expected = vec![
        cell("by_type", "00:00:00", 1, 0),
        cell("by_type", "00:00:00", 1, 0),
        cell("by_hour", "00:00:00", 2, 0),
        cell("diverted", "00:00:00", 1, 0),
        cell("diverted", "00:00:00", 1, 0),
    ];
    assert_eq!(texts(store, FileKind::Closed).await, expected);
    // What fails leaves no line.
    feed.take_in(71 * MINUTE, &[(0, "a", "1"), (71 * MINUTE, "c", "1")]);
    let flush = feed.take();
    let before = snapshot(store, &rollups()).await;
    let mut failures = 0;
    for step in 0.. {
        store.fail_after(Some(step));
        let outcome = store.writer().flush(flush.clone()).await;
        store.fail_after(None);
        if matches!(outcome, Ok(FlushOutcome::Done)) {
            break;
        }
        failures += 1;
        if snapshot(store, &rollups()).await != before {
            // The last step is behind the commit: its answer is lost, and the work done.
            break;
        }
        assert_eq!(texts(store, FileKind::Closed).await, expected, "after failing at step {step}");
        assert_eq!(lines(store, FileKind::Late).await, []);
    }
    assert!(failures > 0, "there are steps to fail at");
    expected.extend([cell("by_type", "00:00:00", 2, 1), cell("by_hour", "00:00:00", 3, 1)]);
    assert_eq!(texts(store, FileKind::Closed).await, expected);
    assert_eq!(texts(store, FileKind::Late).await, [r#"{"event_type":"a","user_id":"u0","event_count":1}"#]);
    let late = &lines(store, FileKind::Late).await[0];
    assert_eq!((late.id, late.window_start, late.written_at), (1, Timestamp(T0), Timestamp(T0)));
    feed.write(store, 72 * MINUTE, &[(1, "a", "1")]).await;
    expected.extend([cell("by_type", "00:00:00", 3, 2), cell("by_hour", "00:00:00", 4, 2)]);
    assert_eq!(texts(store, FileKind::Closed).await, expected);
    // Retention takes no line back.
    feed.write(store, 9 * DAY, &[(9 * DAY, "z", "1")]).await;
    while store
        .writer()
        .retain(&feed.plan, Timestamp(T0 + 9 * DAY), 1_000)
        .await
        .expect("nothing fails")
        .is_some()
    {}
    assert!(cells(store, &rollups()[0]).await.iter().all(|cell| cell.pane > Timestamp(T0)));
    assert_eq!(texts(store, FileKind::Closed).await[..9], expected);
    let ids: Vec<i64> = lines(store, FileKind::Closed).await.iter().map(|line| line.id).collect();
    assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<i64>>());
    let behind = store.manifest().lines("orders", FileKind::Closed, 4, 2).await.expect("answered");
    assert_eq!(behind.iter().map(|line| line.id).collect::<Vec<_>>(), [5, 6]);
    snapshot(store, &rollups()).await;
}

/// A stream without such files has no lines, and one with one kind has that one.
pub async fn writes_no_lines_unasked(store: &dyn StoreUnderTest) {
    for (round, (closed, late)) in [(false, false), (true, false), (false, true)].into_iter().enumerate() {
        let mut feed = Feed::claim_of(store, filed(closed, late), &rollups(), 0).await;
        let before = [lines(store, FileKind::Closed).await.len(), lines(store, FileKind::Late).await.len()];
        let day = round as i64 * DAY;
        feed.write(store, day, &[(day, "a", "1")]).await;
        feed.write(store, day + 2 * MINUTE, &[(day + 2 * MINUTE, "a", "1")]).await;
        feed.write(store, day + 3 * MINUTE, &[(day, "a", "1")]).await;
        let after = [lines(store, FileKind::Closed).await.len(), lines(store, FileKind::Late).await.len()];
        assert_eq!([after[0] > before[0], after[1] > before[1]], [closed, late], "{before:?} {after:?}");
    }
}

fn intent(kind: FileKind, paths: &[&str]) -> Intent {
    Intent {
        stream: "orders".to_owned(),
        kind,
        partition: 0,
        epoch: 0,
        place: PLACE.to_owned(),
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
    }
}

fn cut(kind: FileKind, (first, last): (i64, i64), paths: &[&str]) -> LineCut {
    let file = |path: &&str| ArchivedFile {
        id: 0,
        place: PLACE.to_owned(),
        path: (*path).to_owned(),
        stream: "orders".to_owned(),
        kind,
        partition: 0,
        from: 0,
        to: 0,
        rows: 1,
        bytes: 10,
        sha256: String::new(),
        created_at: Timestamp::NEVER,
    };
    let files = paths.iter().map(file).collect();
    let lines = (last - first + 1).unsigned_abs();
    LineCut { stream: "orders".to_owned(), kind, first, last, lines, place: PLACE.to_owned(), files }
}

async fn listed(store: &dyn StoreUnderTest, query: ManifestQuery) -> Vec<String> {
    let query = ManifestQuery { limit: 100, ..query };
    let files = store.manifest().archived_files(&query).await.expect("answered");
    files.into_iter().map(|file| file.path).collect()
}

/// Lines leave with the files that hold them, once: whoever comes second, or whose files are doomed, changes nothing.
pub async fn takes_lines_once(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim_of(store, filed(true, true), &rollups()[2..], 0).await;
    feed.write(store, 0, &[(0, "a", "1"), (0, "b", "1"), (0, "c", "1")]).await;
    feed.write(store, 2 * MINUTE, &[(2 * MINUTE, "d", "1"), (0, "e", "1")]).await;
    let waiting = |status: Vec<LinesStatus>| {
        let mut lanes: Vec<_> = status.into_iter().map(|lane| (lane.kind, lane.rows, lane.oldest)).collect();
        lanes.sort();
        lanes
    };
    let status = || async { store.reader().status(StatusDetail::Marks).await.expect("answered").lines };
    let (closed, late) = (FileKind::Closed, FileKind::Late);
    assert_eq!(waiting(status().await), [(closed, 3, Timestamp(T0)), (late, 1, Timestamp(T0))]);
    let manifest = store.manifest();
    assert!(manifest.claim_lines("orders", closed).await.expect("answered"));
    assert!(manifest.intend(&intent(closed, &["a", "b"])).await.expect("answered"));
    assert!(!manifest.commit_lines(&cut(closed, (1, 2), &["a", "c"])).await.expect("answered"), "not meant");
    assert!(!manifest.commit_lines(&cut(closed, (1, 4), &["a"])).await.expect("answered"), "no such line");
    assert!(manifest.is_intended(&intent(closed, &["a", "b"])).await.expect("answered"));
    store.fail_after(Some(1));
    manifest.commit_lines(&cut(closed, (1, 2), &["a", "b"])).await.expect_err("the transaction fails");
    store.fail_after(None);
    assert_eq!(waiting(status().await)[0].1, 3);
    assert!(manifest.commit_lines(&cut(closed, (1, 2), &["a", "b"])).await.expect("answered"));
    assert_eq!(waiting(status().await), [(closed, 1, Timestamp(T0)), (late, 1, Timestamp(T0))]);
    assert!(manifest.intend(&intent(closed, &["c"])).await.expect("answered"));
    assert!(!manifest.commit_lines(&cut(closed, (1, 2), &["c"])).await.expect("answered"), "they are gone");
    assert!(!manifest.commit_lines(&cut(late, (3, 3), &["c"])).await.expect("answered"), "another lane");
    // Another takes over.
    assert!(manifest.claim_lines("orders", late).await.expect("answered"));
    assert!(manifest.is_intended(&intent(closed, &["c"])).await.expect("answered"), "of another lane");
    assert!(manifest.claim_lines("orders", closed).await.expect("answered"));
    assert!(!manifest.is_intended(&intent(closed, &["c"])).await.expect("answered"));
    assert!(!manifest.commit_lines(&cut(closed, (3, 3), &["c"])).await.expect("answered"), "doomed");
    manifest.abandon(&intent(closed, &["a", "c"])).await.expect("answered");
    let doomed = manifest.doomed(PLACE, "", 100).await.expect("answered");
    assert_eq!(doomed.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["c"]);
    // Of the manifest they are files like others, but of no partition.
    assert!(manifest.intend(&intent(late, &["d"])).await.expect("answered"));
    assert!(manifest.commit_lines(&cut(late, (1, 1), &["d"])).await.expect("answered"));
    assert_eq!(listed(store, ManifestQuery::default()).await, ["a", "b", "d"]);
    assert_eq!(listed(store, ManifestQuery { kind: Some(late), ..ManifestQuery::default() }).await, ["d"]);
    for of_raw in [
        ManifestQuery { partition: Some(0), ..ManifestQuery::default() },
        ManifestQuery { from: Some(0), ..ManifestQuery::default() },
        ManifestQuery { to: Some(9), ..ManifestQuery::default() },
    ] {
        assert_eq!(listed(store, of_raw.clone()).await, [""; 0], "{of_raw:?}");
    }
}
