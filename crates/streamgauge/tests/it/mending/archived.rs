//! Cells that are made again from the archive, when the log is gone: as from the log, and never from what is not there.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::rebuilds::{self, T0_S, post, rebuild};
use super::{MEASURES, NDJSON, ORDERS, REVENUE, flush, launch};
use crate::archive::Bucket;
use crate::harness::dice;
use crate::harness::services::Services;
use crate::harness::witness::{audit, open};
use crate::harness::{PATIENCE, Server, until};

/// A log of small segments, of which it keeps the last two at most; files of few records; a short duplicate window.
const SMALL: &str = "[embedded]\nsegment = \"1MiB\"\nkeep = \"2MiB\"\npool = \"0B\"\n";
const WINDOW: u64 = 200;
const NAMES: [&str; 4] = ["hourly", "revenue", "measures", "minutes"];

/// A server over a store of either kind, and what it reads from.
struct Ground {
    folder: tempfile::TempDir,
    /// The servers and the database, where the store is not a file.
    database: Option<(Services, String)>,
    toml: String,
    /// What its servers are started with beside the configuration.
    args: Vec<String>,
}

impl Ground {
    fn new(format: &str, database: Option<(Services, String)>) -> Ground {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let archive = folder.path().join("archive");
        let mut toml = format!("archive = \"file:{}\"\n", archive.display());
        if let Some((services, name)) = &database {
            toml += &format!("store = \"{}\"\n", services.database(name));
        }
        let cut = format!(
            "archive = {{ layout = \"o/{{HH}}/orders-{{ts}}.ndjson\", {format} rows = 150, age = \"200ms\" }}\n[[rollup]]"
        );
        let orders = ORDERS.replacen("[[rollup]]", &cut, 1).replace("1000,", &format!("{WINDOW},"));
        toml += &format!("{SMALL}{orders}{REVENUE}{MEASURES}");
        Ground { folder, database, toml, args: Vec::new() }
    }

    fn on_postgres(format: &str) -> Option<Ground> {
        let services = Services::shared()?;
        let name = format!("again_{}_{:x}", std::process::id(), dice::seed("again"));
        Some(Ground::new(format, Some((services, name))))
    }

    fn on_bucket(format: &str) -> Option<Ground> {
        let bucket = Bucket::make("again")?;
        let mut ground = Ground::new(format, None);
        ground.args = vec!["--env-file".to_owned(), bucket.variables(ground.folder.path(), &bucket.url)];
        let (_, toml) = ground.toml.split_once('\n').expect("the archive stands first");
        ground.toml = toml.to_owned();
        Some(ground)
    }

    fn start(&self) -> Server {
        self.start_as(&self.toml)
    }

    fn start_as(&self, toml: &str) -> Server {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        Server::ready(&launch(&self.folder.path().join("data"), toml).args(&args))
    }

    fn sql(&self, sql: &str) {
        match &self.database {
            None => {
                let store = open(&self.folder.path().join("data"));
                let changed = store.execute(sql, []).expect("the store can be changed");
                assert!(changed > 0, "{sql}");
            }
            Some((services, name)) => {
                services.sql(name, sql).unwrap_or_else(|| panic!("{sql}"));
            }
        }
    }

    /// Leaves a mark where the partition stands, as every millionth offset has one.
    fn mark(&self) {
        self.sql(
            "INSERT INTO sg_marks SELECT stream, partition, next_offset, m, r, dedup_from, dedup_from_r, processed, \
             counted, duplicate, id_conflict, dead_lettered, deleted, skipped FROM sg_partitions WHERE stream = 'orders'",
        );
    }

    fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("archive").join(path)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some((services, name)) = &self.database {
            services.sql("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
        }
    }
}

/// Orders of many hours and about a thousand bytes each. Every tenth is one that was sent 151 records before: wherever the
/// log begins, there is one whose first record lies before. Some come late.
fn orders(ids: std::ops::Range<u64>) -> Vec<String> {
    let filler = "x".repeat(900);
    let order = |id: u64| {
        let id = if id % 10 == 9 && id > 150 { id - 151 } else { id };
        let (kind, late) = (["sale", "open", "close"][(id % 3) as usize], id % 7 / 6 * 7_200);
        let time_s = T0_S + (id * 30) as i64 - late as i64;
        let (user, amount) = (id * 31 % 20, id * 17 % 900);
        format!(
            r#"{{"id":"{id}","type":"{kind}","user_id":"u{user}","ts":{time_s},"amount":"{amount}.{:02}","filler":"{filler}"}}"#,
            id % 100
        )
    };
    ids.map(order).collect()
}

fn partition(server: &Server) -> Value {
    server.get("/v1/status").json()["streams"][0]["partitions"][0].clone()
}

/// Waits until the log has lost records that the archive has.
fn trimmed(server: &Server) -> u64 {
    let start = || partition(server)["log_start"].as_u64().unwrap_or_default();
    until(2 * PATIENCE, "the log is trimmed", || start() > 0);
    start()
}

/// Returns all rows, but for what passes with time alone.
fn rows(server: &Server, rollup: &str) -> Value {
    let mut rows = rebuilds::rows(server, rollup);
    for row in rows.as_array_mut().expect("rows") {
        row.as_object_mut().expect("a row").remove("is_final");
    }
    rows
}

fn all(server: &Server) -> [Value; 4] {
    NAMES.map(|name| rows(server, name))
}

/// Says what kept a rebuild from ending well.
fn failed(last: &Value) -> String {
    last["failed"]["detail"].as_str().unwrap_or_else(|| panic!("it did not fail: {last}")).to_owned()
}

const DAMAGES: [(&str, &str); 6] = [
    (
        "hourly",
        "UPDATE sg_cells_hourly SET m0 = m0 + 7 WHERE d0 = 'sale' AND pane = (SELECT min(pane) FROM sg_cells_hourly)",
    ),
    ("revenue", "DELETE FROM sg_cells_revenue WHERE pane = (SELECT min(pane) FROM sg_cells_revenue)"),
    (
        "hourly",
        "UPDATE sg_cells_hourly SET events = events + 3, m0 = m0 + 3 WHERE d0 = 'open' \
         AND pane = (SELECT max(pane) FROM sg_cells_hourly)",
    ),
    (
        "measures",
        "UPDATE sg_cells_measures SET m2 = m2 + 5 WHERE d0 = 'open' AND pane = (SELECT min(pane) FROM sg_cells_measures)",
    ),
    (
        "measures",
        "UPDATE sg_sketches_measures SET s3 = (SELECT s3 FROM sg_sketches_measures WHERE d0 = 'close' LIMIT 1) \
         WHERE d0 = 'sale' AND pane = (SELECT min(pane) FROM sg_sketches_measures)",
    ),
    (
        "minutes",
        "UPDATE sg_cells_minutes SET m0 = 99 WHERE pane = (SELECT min(pane) FROM sg_cells_minutes) AND d0 = \
         (SELECT min(d0) FROM sg_cells_minutes WHERE pane = (SELECT min(pane) FROM sg_cells_minutes))",
    ),
];

fn finds_exactly_what_is_damaged(ground: &Ground) {
    let server = ground.start();
    post(&server, &orders(0..4_000));
    flush(&server);
    let start = trimmed(&server);
    assert!(start > 500, "what is read lies on both sides: {start}");
    let before = all(&server);
    let (code, differing, last) = rebuild(&server, &["--dry-run"]);
    assert_eq!((code, differing.len()), (Some(0), 0), "{differing:?} {last}");
    let done = &last["done"];
    assert_eq!(
        (&done["is_whole"], &done["records"], &done["left"]),
        (&true.into(), &4_000.into(), &0.into())
    );
    for (rollup, sql) in DAMAGES {
        ground.sql(sql);
        let (code, differing, last) = rebuild(&server, &["--rollup", rollup, "--dry-run"]);
        assert_eq!((code, differing.len()), (Some(1), 1), "{sql}: {differing:?} {last}");
        assert_eq!(rebuild(&server, &["--rollup", rollup]).0, Some(0), "{sql}");
        assert_eq!(all(&server), before, "{sql}");
        audit(&server, &[]);
    }
}

#[test]
fn lines_are_folded_again() {
    finds_exactly_what_is_damaged(&Ground::new("", None));
}

#[test]
fn packed_lines_are_folded_again() {
    finds_exactly_what_is_damaged(&Ground::new("compression = \"zstd\",", None));
}

#[test]
fn columns_are_folded_again() {
    finds_exactly_what_is_damaged(&Ground::new("format = \"parquet\", hour_of = \"event\",", None));
}

#[test]
fn files_of_a_bucket_are_folded_again() {
    let Some(ground) = Ground::on_bucket("compression = \"zstd\",") else { return };
    finds_exactly_what_is_damaged(&ground);
}

#[test]
fn cells_on_postgres_are_made_again_from_the_archive() {
    let Some(ground) = Ground::on_postgres("hour_of = \"event\",") else { return };
    finds_exactly_what_is_damaged(&ground);
}

#[test]
fn a_rebuild_begins_at_a_mark() {
    let ground = Ground::new("", None);
    let server = ground.start();
    post(&server, &orders(0..2_000));
    flush(&server);
    ground.mark();
    post(&server, &orders(2_000..3_800));
    flush(&server);
    ground.mark();
    post(&server, &orders(3_800..4_000));
    flush(&server);
    let start = trimmed(&server);
    assert!((1_000..3_500).contains(&start), "the second mark's window is in the log: {start}");
    let before = all(&server);
    // The first mark has seen 2025-01-01T16:40, and none of what it has seen falls into later hours.
    for (from, records) in [("17", 2_000), ("18", 2_000), ("16", 4_000)] {
        let from = format!("2025-01-01T{from}:00:00Z");
        for name in NAMES {
            let (code, differing, last) = rebuild(&server, &["--rollup", name, "--from", &from, "--dry-run"]);
            assert_eq!((code, differing.len()), (Some(0), 0), "{from} {name}: {differing:?} {last}");
            assert_eq!(last["done"]["records"], records, "{from} {name}: {last}");
        }
    }
    ground.sql("UPDATE sg_cells_hourly SET m0 = 99 WHERE d0 = 'sale'");
    let slice = ["--rollup", "hourly", "--from", "2025-01-01T18:30:00Z", "--to", "2025-01-01T20:30:00Z"];
    let starts = |differing: &[Value]| -> Vec<String> {
        differing.iter().filter_map(|one| Some(one["window_start"].as_str()?.to_owned())).collect()
    };
    let hours = ["2025-01-01T18:00:00Z", "2025-01-01T19:00:00Z", "2025-01-01T20:00:00Z"];
    let (code, differing, last) = rebuild(&server, &slice);
    assert_eq!((code, starts(&differing)), (Some(0), hours.map(str::to_owned).to_vec()), "{last}");
    assert_eq!(rebuild(&server, &["--rollup", "hourly"]).0, Some(0));
    assert_eq!(all(&server), before);
    without_the_archive(&ground, server, &before);
    without_some_files(&ground);
}

/// Cells that the log alone can make are made, the others are named and left, and it is said why.
fn without_the_archive(ground: &Ground, mut server: Server, before: &[Value; 4]) {
    assert!(server.terminate().success());
    let archive = format!("file:{}", ground.folder.path().join("archive").display());
    let server = ground.start_as(&ground.toml.replace(&archive, "off"));
    ground.sql("UPDATE sg_cells_hourly SET events = events + 1, m0 = m0 + 1 WHERE d0 = 'close'");
    let output = server.command(&["rebuild", "--rollup", "hourly"]);
    let (told, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}{why}");
    assert!(why.contains("archive = \"off\""), "{why}");
    assert!(told.contains("hourly 2025-01-01T07:00:00Z: its records are not all there"), "{told}");
    let after = rows(&server, "hourly");
    let changed = |at: &usize| after[*at] != before[0][*at];
    let rows = before[0].as_array().expect("rows");
    let wrong =
        (0..rows.len()).filter(changed).map(|at| rows[at]["window_start"].as_str().unwrap_or_default());
    let wrong: Vec<&str> = wrong.collect();
    // The second mark has seen 2025-01-02T07:39: the hours behind it were made again.
    assert!(wrong.contains(&"2025-01-02T07:00:00Z") && !wrong.contains(&"2025-01-02T08:00:00Z"), "{wrong:?}");
    let divert = rebuild(&server, &["--rollup", "minutes", "--dry-run"]);
    assert!(divert.2["done"]["left"].as_u64() > Some(0), "{}", divert.2);
}

/// A file that is not what it was is named, and nothing is made of it; what does not need it is made.
fn without_some_files(ground: &Ground) {
    let server = ground.start();
    let (code, _, last) = rebuild(&server, &["--rollup", "hourly"]);
    assert_eq!(code, Some(0), "with the archive all of it is put right: {last}");
    let before = all(&server);
    let file = server.get("/v1/archive?limit=1").json()["data"][0].clone();
    let path = file["path"].as_str().expect("a path");
    let companion = format!("_streamgauge/{path}.records.zst");
    for (broken, expected) in [(path, "SHA-256"), (companion.as_str(), "companion")] {
        let whole = std::fs::read(ground.file(broken)).expect("the file");
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        std::fs::write(ground.file(broken), &damaged).expect("it can be damaged");
        refuses(&server, path, expected);
        std::fs::remove_file(ground.file(broken)).expect("it can be deleted");
        refuses(&server, path, "not there any more");
        std::fs::write(ground.file(broken), &whole).expect("it can be brought back");
    }
    std::fs::remove_file(ground.file(path)).expect("it can be deleted");
    assert_eq!(all(&server), before, "nothing was made smaller");
    let (code, differing, last) = rebuild(&server, &["--from", "2025-01-01T17:00:00Z", "--dry-run"]);
    assert_eq!((code, differing.len()), (Some(0), 0), "{last}");
    ground.sql("DELETE FROM sg_archive_files WHERE id = (SELECT min(id) FROM sg_archive_files)");
    let (code, _, last) = rebuild(&server, &["--rollup", "hourly"]);
    assert!(code == Some(1) && failed(&last).contains("do not have the fates"), "{last}");
    assert_eq!(all(&server), before);
}

fn refuses(server: &Server, path: &str, expected: &str) {
    let (code, differing, last) = rebuild(server, &["--rollup", "hourly"]);
    assert_eq!((code, differing.len()), (Some(1), 0), "{last}");
    let why = failed(&last);
    assert!(why.contains(path) && why.contains(expected), "{why}");
}

#[test]
fn a_rollup_that_is_added_when_the_log_is_gone_is_filled_up_from_the_archive() {
    let ground = Ground::new("compression = \"gzip\",", None);
    let mut server = ground.start();
    post(&server, &orders(0..3_500));
    flush(&server);
    trimmed(&server);
    assert!(server.terminate().success());
    let added = MEASURES.replace("\"measures\"", "\"added\"").replace("\"minutes\"", "\"added_minutes\"");
    let mut server = ground.start_as(&format!("{}{added}", ground.toml));
    post(&server, &orders(3_500..3_600));
    flush(&server);
    for name in ["added", "added_minutes"] {
        let (code, _, last) = rebuild(&server, &["--rollup", name]);
        assert_eq!((code, &last["done"]["is_backfilled"]), (Some(0), &true.into()), "{last}");
        audit(&server, &[]);
    }
    assert_eq!(rows(&server, "added"), rows(&server, "measures"));
    assert_eq!(rows(&server, "added_minutes"), rows(&server, "minutes"));
    assert!(server.terminate().success());
    // A changed definition is filled up by the same way, in the background.
    let changed = ground.toml.replacen("by = [\"event_type\"]", "by = [\"user_id\"]", 1);
    let launch = launch(&ground.folder.path().join("data"), &changed);
    let server = Server::ready(&launch.args(&["--rebuild", "hourly"]));
    let is_filled = || {
        let status = server.get("/v1/status").json();
        let hourly =
            status["rollups"].as_array().expect("rollups").iter().find(|one| one["name"] == "hourly");
        hourly.expect("the rollup")["complete_from"].is_null()
            && rows(&server, "hourly")[0]["user_id"].is_string()
    };
    until(2 * PATIENCE, "the rollup is filled up", is_filled);
    audit(&server, &[]);
    assert_eq!(rebuild(&server, &["--rollup", "hourly", "--dry-run"]).0, Some(0));
}

#[test]
fn nothing_is_dropped_that_cannot_be_made_again() {
    let ground = Ground::new("", None);
    let mut server = ground.start();
    post(&server, &orders(0..3_500));
    flush(&server);
    trimmed(&server);
    let before = all(&server);
    assert!(server.terminate().success());
    let changed = ground.toml.replacen("by = [\"event_type\"]", "by = [\"user_id\"]", 1);
    let archive = format!("file:{}", ground.folder.path().join("archive").display());
    let data = ground.folder.path().join("data");
    for (toml, why) in [
        (changed.replace(&archive, "off"), "archive = \"off\""),
        (changed.replacen(&format!("records = {WINDOW},"), "records = 20,", 1), "do not have the fates"),
    ] {
        let launch = launch(&data, &toml).args(&["--rebuild", "hourly"]);
        let refused = launch.start().expect_err("its cells cannot be made again");
        assert_eq!(refused.status.code(), Some(78), "{}", refused.stderr);
        assert!(
            refused.stderr.contains(why) && refused.stderr.contains("none was dropped"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(all(&ground.start()), before);
}

#[test]
fn no_cell_grows_by_events_of_which_nothing_is_known() {
    let ground = Ground::new("", None);
    let archive = format!("file:{}", ground.folder.path().join("archive").display());
    let toml = ground.toml.replace(&archive, "off");
    let mut server = ground.start_as(&toml);
    post(&server, &orders(0..3_500));
    flush(&server);
    trimmed(&server);
    let before = rows(&server, "hourly");
    assert!(server.terminate().success());
    // What was a duplicate would be counted now.
    let server = ground.start_as(&toml.replacen(&format!("records = {WINDOW},"), "records = 20,", 1));
    let (code, _, last) = rebuild(&server, &["--rollup", "hourly"]);
    assert!(code == Some(1) && last["done"]["left"].as_u64() > Some(0), "{last}");
    assert_eq!(rows(&server, "hourly"), before);
}

#[test]
fn replays_keep_their_fates_on_both_sides_of_the_border() {
    let ground = Ground::new("", None);
    let unflushed = |toml: &str| toml.replacen("[embedded]", "[flush]\ninterval = \"120s\"\n[embedded]", 1);
    // Taken by a door that reads no amounts, the letters become some behind it.
    let naive = unflushed(&ground.toml.replace(REVENUE, "").replace(MEASURES, ""));
    let mut server = ground.start_as(&naive);
    let bad =
        |id: u64| format!(r#"{{"id":"bad-{id}","type":"sale","user_id":"u","ts":{T0_S},"amount":"much"}}"#);
    let lines: Vec<String> = (0..10).map(bad).collect();
    assert_eq!(server.post("/orders", &NDJSON, lines.join("\n")).status, 202);
    server.kill9();
    let server = ground.start_as(&unflushed(&ground.toml));
    flush(&server);
    let replay = || {
        let wish = json!({"stream": "orders", "edit": {"amount": 1}});
        let answer = server.post("/v1/dead-letters/replay", &[], wish.to_string()).json();
        assert_eq!(answer["accepted"], 10, "{answer}");
    };
    let post = |ids| {
        for chunk in orders(ids).chunks(50) {
            assert_eq!(server.post("/orders", &NDJSON, chunk.join("\n")).status, 202);
        }
    };
    // Each lies further behind the one before than the duplicate window reaches: only the store tells which is the one.
    replay();
    post(0..400);
    replay();
    post(400..2_600);
    replay();
    flush(&server);
    post(2_600..2_900);
    flush(&server);
    let start = trimmed(&server);
    assert!((500..2_600).contains(&start), "two of each are in the archive alone, one in the log: {start}");
    let before = all(&server);
    let (code, differing, last) = rebuild(&server, &["--dry-run"]);
    assert_eq!((code, differing.len()), (Some(0), 0), "{differing:?} {last}");
    ground.sql("DELETE FROM sg_cells_revenue WHERE pane = (SELECT min(pane) FROM sg_cells_revenue)");
    assert_eq!(rebuild(&server, &["--rollup", "revenue"]).0, Some(0));
    assert_eq!(all(&server), before);
    audit(&server, &[]);
}

#[test]
fn somebody_is_warned_when_the_archive_holds_up_the_log() {
    let ground = Ground::new("", None);
    let mut server = ground.start();
    post(&server, &orders(0..3_500));
    flush(&server);
    trimmed(&server);
    let headroom = |server: &Server| partition(server)["headroom"].clone();
    assert!(headroom(&server)["warning"].is_null(), "{}", headroom(&server));
    assert!(server.get("/readyz").json()["warnings"].is_null(), "{}", server.get("/readyz").text());
    assert!(server.terminate().success());
    // Where the archive was there is a file now: nothing can be written there any more.
    let archive = ground.folder.path().join("archive");
    std::fs::rename(&archive, ground.folder.path().join("away")).expect("it can be moved");
    std::fs::write(&archive, "in the way").expect("it can be written");
    let server = ground.start();
    post(&server, &orders(3_500..8_000));
    flush(&server);
    let warned = headroom(&server)["warning"].clone();
    let warned = warned.as_str().unwrap_or_else(|| panic!("no warning: {}", headroom(&server)));
    assert!(warned.contains("orders/0 are not archived yet"), "{warned}");
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["warnings"][0]), (200, &warned.into()), "{}", ready.text());
    let metrics = server.get("/metrics").text();
    let ratio = "streamgauge_log_headroom_ratio{stream=\"orders\",partition=\"0\"} ";
    let ratio = metrics.lines().find_map(|line| line.strip_prefix(ratio)?.parse::<f64>().ok());
    assert!(ratio.is_some_and(|ratio| ratio < 0.5), "{ratio:?}");
    let doctor = server.command(&["doctor", "--json"]);
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(told.contains("are not archived yet"), "{told}");
    std::fs::remove_file(&archive).expect("it can be removed");
    std::fs::rename(ground.folder.path().join("away"), &archive).expect("it can be moved back");
    until(2 * PATIENCE, "the archive gets on", || headroom(&server)["warning"].is_null());
}
