//! The archive is the log: whatever happens to the process, the bucket or the way to it, every record is in a file once,
//! and no file is there that the manifest does not know.

mod away;
mod buckets;
mod faulty;
mod kills;
pub(crate) mod readers;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::services;
use crate::harness::{PATIENCE, Server, pause, until};

/// The keys of the S3 server that tests run beside; it is no secret.
const KEYS: &str =
    "AWS_ACCESS_KEY_ID=streamgauge\nAWS_SECRET_ACCESS_KEY=streamgauge-secret\nAWS_REGION=us-east-1\n";

/// A bucket of one test on the S3 server.
pub(crate) struct Bucket {
    /// The server's URL.
    pub(crate) url: String,
    name: String,
    /// Where the server keeps the objects.
    folder: PathBuf,
}

impl Bucket {
    /// Makes a bucket; `None` where there is no server and need not be.
    pub(crate) fn make(name: &str) -> Option<Bucket> {
        let url = services::variable("STREAMGAUGE_TEST_S3")?;
        let data = services::variable("STREAMGAUGE_TEST_S3_FOLDER")?;
        Some(Bucket::at(&url, Path::new(&data), name))
    }

    /// Makes a bucket on the server at a URL, which keeps its objects in a folder.
    fn at(url: &str, data: &Path, name: &str) -> Bucket {
        let name = format!("{name}-{}", std::process::id());
        let folder = data.join(&name);
        std::fs::create_dir(&folder).expect("the bucket is new");
        Bucket { url: url.to_owned(), name, folder }
    }

    /// Writes a file of variables for a server that reaches the bucket by this URL.
    pub(crate) fn variables(&self, folder: &Path, url: &str) -> String {
        let path = folder.join("test.env");
        let text = format!("{KEYS}S3_ENABLED=true\nS3_BUCKET={}\nAWS_ENDPOINT_URL={url}\n", self.name);
        std::fs::write(&path, text).expect("the variables can be written");
        path.display().to_string()
    }
}

/// Returns every file of the manifest.
fn manifest(server: &Server) -> Vec<Value> {
    let mut files = Vec::new();
    let mut path = "/v1/archive?limit=100".to_owned();
    loop {
        let page = server.get(&path).json();
        files.extend(page["data"].as_array().expect("a page").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/archive?limit=100&cursor={cursor}"),
            None => return files,
        }
    }
}

/// Waits until the log's records are all in files.
pub(crate) fn archived(server: &Server) {
    let mut last = Value::Null;
    until(2 * PATIENCE, "everything is archived", || {
        last = server.get("/v1/status").json()["archive"].clone();
        let partitions = last["partitions"].as_array().expect("something is archived");
        partitions.iter().all(|partition| partition["lag"] == 0)
    });
}

/// The lines of a stream's files, read from a folder, after the manifest was held to what lies there: rows, bytes and
/// sums are right, the files of a partition follow each other without hole or overlap, and nothing else is there.
pub(crate) fn lines(server: &Server, folder: &Path, stream: &str) -> Vec<String> {
    let mut expected = BTreeSet::new();
    let mut lines = Vec::new();
    let mut ranges: BTreeMap<(String, u64), Vec<(u64, u64)>> = BTreeMap::new();
    for file in manifest(server) {
        let path = file["path"].as_str().expect("a path");
        expected.insert(path.to_owned());
        let rows = files_of(std::slice::from_ref(&file), folder);
        if file["kind"] != "raw" {
            continue;
        }
        expected.insert(format!("_streamgauge/{path}.records.zst"));
        let name = (file["stream"].as_str().expect("a stream").to_owned(), number(&file["partition"]));
        ranges.entry(name).or_default().push((number(&file["from"]), number(&file["to"])));
        if file["stream"] == stream {
            lines.extend(rows);
        }
    }
    for (name, mut ranges) in ranges {
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].1, pair[1].0, "files of {name:?} do not follow each other");
        }
    }
    let differs = || -> Vec<String> { found(folder).symmetric_difference(&expected).cloned().collect() };
    let mut last = differs();
    let began = Instant::now();
    while !last.is_empty() && began.elapsed() < 2 * PATIENCE {
        pause(Duration::from_millis(50));
        last = differs();
    }
    assert_eq!(last, [""; 0], "only what the manifest names is there");
    lines
}

/// The lines of files of the manifest, after each was held to it: rows, bytes and sum are right.
fn files_of(files: &[Value], folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files {
        let path = file["path"].as_str().expect("a path");
        let bytes = std::fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(file["sha256"], sum, "{path}");
        assert_eq!(file["bytes"], bytes.len(), "{path}");
        let text = String::from_utf8(unpacked(path, bytes)).expect("text");
        let rows = text.lines().map(str::to_owned);
        assert_eq!(file["rows"], rows.clone().count(), "{path}");
        lines.extend(rows);
    }
    lines
}

fn unpacked(path: &str, bytes: Vec<u8>) -> Vec<u8> {
    if path.ends_with(".zst") {
        return zstd::decode_all(&bytes[..]).expect("a zstd file");
    }
    if path.ends_with(".gz") {
        let mut text = Vec::new();
        let mut packed = flate2::read::GzDecoder::new(&bytes[..]);
        std::io::Read::read_to_end(&mut packed, &mut text).expect("a gzip file");
        return text;
    }
    bytes
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// Returns the paths of all files below a folder.
fn found(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        // A folder may go while it is looked at.
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.ends_with(".sgwtmp") {
                // The S3 server's own: what it had not finished when it was stopped.
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(path) = path.strip_prefix(folder) {
                found.insert(path.display().to_string());
            }
        }
    }
    found
}

/// Holds the lines of the stream of events to the ledger: each record once, each counted event by its id.
fn agree_with_the_ledger(server: &Server, lines: &[String]) {
    let partition = server.get("/v1/status").json()["streams"][0]["partitions"][0].clone();
    let ledger = &partition["ledger"];
    assert_eq!(ledger["processed"], lines.len(), "{partition}");
    let id = |line: &String| {
        let event: Value = serde_json::from_str(line).expect("an event is JSON");
        event["event_id"].as_str().expect("the senders send ids").to_owned()
    };
    let ids: BTreeSet<String> = lines.iter().map(id).collect();
    assert_eq!(ledger["counted"], ids.len(), "{partition}");
}
