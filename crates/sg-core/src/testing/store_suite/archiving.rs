//! The archive's manifest: what comes in, what does not, and what is told of it.

use crate::archive::FileKind;
use crate::flush::OFFSETS_PER_MARK;
use crate::ports::{
    ArchiveClaim, ArchivePosition, ArchivedFile, Cut, ErrorKind, Intent, Kept, ManifestQuery, StatusDetail,
};
use crate::time::Timestamp;

use super::StoreUnderTest;
use super::feed::{Feed, T0, rollups};

const PLACE: &str = "file:archive";

fn claim(partition: u32, identity: &str) -> ArchiveClaim {
    ArchiveClaim {
        stream: "orders".to_owned(),
        partition,
        owner: "the suite".to_owned(),
        log_identity: identity.to_owned(),
        start: 10,
    }
}

fn file(position: &ArchivePosition, path: &str, (from, to): (u64, u64)) -> ArchivedFile {
    ArchivedFile {
        id: 0,
        place: PLACE.to_owned(),
        path: path.to_owned(),
        stream: position.stream.clone(),
        kind: FileKind::Raw,
        partition: position.partition,
        from,
        to,
        rows: to - from,
        bytes: 100 * (to - from),
        sha256: format!("sum of {path}"),
        created_at: Timestamp::NEVER,
    }
}

fn intent(position: &ArchivePosition, paths: &[&str]) -> Intent {
    Intent {
        stream: position.stream.clone(),
        kind: FileKind::Raw,
        partition: position.partition,
        epoch: position.epoch,
        place: PLACE.to_owned(),
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
    }
}

fn cut(position: &ArchivePosition, (base, end): (u64, u64), files: Vec<ArchivedFile>) -> Cut {
    Cut {
        stream: position.stream.clone(),
        partition: position.partition,
        epoch: position.epoch,
        base,
        end,
        lost: 0,
        place: PLACE.to_owned(),
        files,
    }
}

async fn paths(store: &dyn StoreUnderTest, query: &ManifestQuery) -> Vec<String> {
    let files = store.manifest().archived_files(query).await.expect("answered");
    files.into_iter().map(|file| file.path).collect()
}

async fn doomed(store: &dyn StoreUnderTest) -> Vec<String> {
    let files = store.manifest().doomed(PLACE, "", 100).await.expect("answered");
    files.into_iter().map(|file| file.path).collect()
}

fn all() -> ManifestQuery {
    ManifestQuery { limit: 100, ..ManifestQuery::default() }
}

/// Files come in once, from where the archive stands, in the epoch of its owner, and only where they were intended.
pub async fn takes_files_in_once(store: &dyn StoreUnderTest) {
    Feed::claim(store, &rollups(), 0).await;
    let manifest = store.manifest();
    let one = manifest.claim_archive(&claim(0, "log")).await.expect("claimed");
    assert_eq!((one.epoch, one.first_offset, one.next_offset, one.lost), (1, 10, 10, 0));
    assert!(manifest.intend(&intent(&one, &["a", "b"])).await.expect("answered"));
    let files = || vec![file(&one, "a", (10, 14)), file(&one, "b", (11, 20))];
    assert!(!manifest.commit_cut(&cut(&one, (9, 20), files())).await.expect("answered"), "another base");
    let unknown = vec![file(&one, "a", (10, 14)), file(&one, "c", (11, 20))];
    assert!(!manifest.commit_cut(&cut(&one, (10, 20), unknown)).await.expect("answered"), "not intended");
    assert_eq!(paths(store, &all()).await, [""; 0]);
    assert!(manifest.commit_cut(&cut(&one, (10, 20), files())).await.expect("answered"));
    assert!(!manifest.commit_cut(&cut(&one, (10, 20), files())).await.expect("answered"), "a second time");
    assert_eq!(paths(store, &all()).await, ["a", "b"]);
    let known = &manifest.archived_files(&all()).await.expect("answered")[1];
    let expected = ArchivedFile { id: known.id, created_at: Timestamp(T0), ..file(&one, "b", (11, 20)) };
    assert_eq!(*known, expected);
    for (from, to, expected) in [(14, 99, &["b"][..]), (0, 11, &["a"]), (0, 12, &["a", "b"]), (20, 99, &[])] {
        let query = ManifestQuery { from: Some(from), to: Some(to), ..all() };
        assert_eq!(paths(store, &query).await, expected, "{from}..{to}");
    }
    let query = ManifestQuery { after: known.id - 1, limit: 1, stream: Some("orders".to_owned()), ..all() };
    assert_eq!(paths(store, &query).await, ["b"]);
    assert_eq!(paths(store, &ManifestQuery { partition: Some(1), ..all() }).await, [""; 0]);
    assert_eq!(doomed(store).await, [""; 0]);
}

/// Whoever takes a partition over dooms what the owner before meant to write, and nobody takes that in any more.
pub async fn dooms_what_an_earlier_owner_meant(store: &dyn StoreUnderTest) {
    Feed::claim(store, &rollups(), 0).await;
    let manifest = store.manifest();
    let one = manifest.claim_archive(&claim(0, "log")).await.expect("claimed");
    assert!(manifest.intend(&intent(&one, &["a"])).await.expect("answered"));
    let two = manifest.claim_archive(&claim(0, "log")).await.expect("claimed");
    assert_eq!((two.epoch, two.next_offset), (2, 10));
    assert!(!manifest.intend(&intent(&one, &["b"])).await.expect("answered"), "another's epoch");
    assert!(
        !manifest.commit_cut(&cut(&one, (10, 20), vec![file(&one, "a", (10, 20))])).await.expect("answered")
    );
    let stolen = cut(&two, (10, 20), vec![file(&two, "a", (10, 20))]);
    assert!(!manifest.commit_cut(&stolen).await.expect("answered"), "doomed");
    assert_eq!(doomed(store).await, ["a"]);
    assert!(manifest.intend(&intent(&two, &["c", "d"])).await.expect("answered"));
    assert!(
        manifest.commit_cut(&cut(&two, (10, 20), vec![file(&two, "c", (10, 20))])).await.expect("answered")
    );
    manifest.abandon(&intent(&two, &["c", "d", "e"])).await.expect("answered");
    assert_eq!(doomed(store).await, ["a", "d", "e"], "but for what came in");
    let behind = manifest.doomed(PLACE, "a", 1).await.expect("answered");
    assert_eq!(behind.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["d"]);
    assert_eq!(manifest.doomed(PLACE, "e", 100).await.expect("answered"), []);
    assert_eq!(manifest.doomed("another place", "", 100).await.expect("answered"), []);
    let gone = manifest.doomed(PLACE, "", 2).await.expect("answered");
    manifest.forget(&gone).await.expect("answered");
    assert_eq!(doomed(store).await, ["e"]);
    let other = manifest.claim_archive(&claim(0, "another log")).await.expect_err("another log");
    assert_eq!(other.kind, ErrorKind::Corrupt);
    // What was intended long ago has no process any more.
    assert!(manifest.intend(&intent(&two, &["f"])).await.expect("answered"));
    manifest.doom_intended(Timestamp(T0)).await.expect("answered");
    assert_eq!(doomed(store).await, ["e"]);
    manifest.doom_intended(Timestamp(T0 + 1)).await.expect("answered");
    assert_eq!(doomed(store).await, ["e", "f"]);
}

/// Old files leave the manifest and are doomed; what the log lost is passed and counted; both end complete ranges.
pub async fn retires_files_and_passes_gaps(store: &dyn StoreUnderTest) {
    Feed::claim(store, &rollups(), 0).await;
    let manifest = store.manifest();
    let one = manifest.claim_archive(&claim(3, "log")).await.expect("claimed");
    assert!(manifest.intend(&intent(&one, &["a"])).await.expect("answered"));
    assert!(
        manifest.commit_cut(&cut(&one, (10, 20), vec![file(&one, "a", (10, 20))])).await.expect("answered")
    );
    let since = |ms: i64| Kept { since: Some(Timestamp(T0 + ms)), bytes_max: None };
    assert_eq!(manifest.retire("orders", FileKind::Raw, since(0)).await.expect("answered"), 0);
    assert_eq!(manifest.retire("others", FileKind::Raw, since(1)).await.expect("answered"), 0);
    assert_eq!(manifest.retire("orders", FileKind::Late, since(1)).await.expect("answered"), 0);
    assert_eq!(manifest.retire("orders", FileKind::Raw, since(1)).await.expect("answered"), 1);
    assert_eq!(paths(store, &all()).await, [""; 0]);
    assert_eq!(doomed(store).await, ["a"]);
    let position = || async { manifest.archive_positions().await.expect("answered").remove(0) };
    assert_eq!((position().await.removed_to, position().await.lost), (20, 0));
    let gap = Cut { lost: 15, ..cut(&one, (20, 35), Vec::new()) };
    assert!(manifest.commit_cut(&gap).await.expect("answered"));
    let stands = position().await;
    assert_eq!((stands.next_offset, stands.removed_to, stands.lost), (35, 35, 15));
}

/// Of files that together have more bytes than are kept the oldest go, as many as need be.
pub async fn retires_files_by_size(store: &dyn StoreUnderTest) {
    Feed::claim(store, &rollups(), 0).await;
    let manifest = store.manifest();
    let one = manifest.claim_archive(&claim(0, "log")).await.expect("claimed");
    // 400, 600, 500 and 100 bytes.
    let ranges = [("a", (10, 14)), ("b", (14, 20)), ("c", (20, 25)), ("d", (25, 26))];
    for (path, (from, to)) in ranges {
        assert!(manifest.intend(&intent(&one, &[path])).await.expect("answered"));
        let cut = cut(&one, (from, to), vec![file(&one, path, (from, to))]);
        assert!(manifest.commit_cut(&cut).await.expect("answered"));
    }
    let cases = [(1_600, 0, 10), (1_201, 1, 14), (1_200, 0, 14), (599, 2, 25), (100, 0, 25), (0, 1, 26)];
    for (bytes_max, gone, removed_to) in cases {
        let kept = Kept { since: None, bytes_max: Some(bytes_max) };
        let retired = manifest.retire("orders", FileKind::Raw, kept).await.expect("answered");
        assert_eq!(retired, gone, "{bytes_max}");
        let position = manifest.archive_positions().await.expect("answered").remove(0);
        assert_eq!(position.removed_to, removed_to, "{bytes_max}");
    }
    assert_eq!(doomed(store).await, ["a", "b", "c", "d"]);
}

/// A flush that passes a multiple of the distance leaves a mark, until nothing reaches so far any more.
pub async fn leaves_marks(store: &dyn StoreUnderTest) {
    let mut feed = Feed::claim(store, &rollups(), 0).await;
    let manifest = store.manifest();
    let name = feed.plan.name.to_string();
    feed.pass_to(OFFSETS_PER_MARK - 2);
    feed.write(store, 0, &[(0, "a", "1")]).await;
    assert_eq!(manifest.marks(&name, 0).await.expect("answered"), []);
    feed.lose_to(OFFSETS_PER_MARK + 4);
    feed.write(store, 1, &[(1, "a", "1")]).await;
    let marks = manifest.marks(&name, 0).await.expect("answered");
    assert_eq!(marks.len(), 1);
    assert_eq!(marks[0].offset, OFFSETS_PER_MARK + 5);
    let status = store.reader().status(StatusDetail::Marks).await.expect("answered");
    let stands = &status.partitions[0];
    assert_eq!((marks[0].clock, marks[0].dedup_from), (stands.clock, stands.dedup_from));
    let ledger = marks[0].ledger;
    assert_eq!(
        (ledger, ledger.counted, ledger.skipped),
        (stands.ledger, 2, 5),
        "holes are none of the skipped"
    );
    manifest.drop_marks(&name, 0, marks[0].dedup_from.0).await.expect("answered");
    assert_eq!(manifest.marks(&name, 0).await.expect("answered"), marks);
    manifest.drop_marks(&name, 0, marks[0].dedup_from.0 + 1).await.expect("answered");
    assert_eq!(manifest.marks(&name, 0).await.expect("answered"), []);
}
