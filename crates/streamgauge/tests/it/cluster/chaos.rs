//! Processors that are started, stopped, killed and paused while events come in.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::{Cluster, counted, turn};
use crate::harness::dice::{self, Dice};
use crate::harness::services::Services;
use crate::harness::witness::audit;
use crate::harness::{BINARY, Server, pause, say, until};

/// Longer than the session time-out of the cluster: what is paused so long loses its partitions.
const ZOMBIE: Duration = Duration::from_millis(3_500);
const FENCED: &str = "streamgauge_store_flush_missed_total";
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn three_processors_come_and_go_and_every_event_counts_once() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let cluster = Cluster::new(services);
    let events = dice::number("SG_CLUSTER_EVENTS", 200_000);
    let seed = dice::seed("processors");
    let mut dice = Dice::new(seed);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let expected = folder.path().join("expected.json").display().to_string();
    let mut processors: Vec<Server> = (0..3).map(|_| cluster.start("process")).collect();
    let doors = [cluster.start("ingest"), cluster.start("ingest,query")];

    let mut sender = Command::new(BINARY)
        .args(["simulate", "--events", &events.to_string(), "--seed", &seed.to_string()])
        .args(["--late", "2%", "--duplicates", "3%", "--disorder", "60s", "--rate", "12000"])
        .args(["--expect", &expected, "--url", &doors[0].url()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    // One of another group claims what belongs to these: whoever flushes under an older claim is refused.
    let mut intruder = Server::ready(&cluster.launch_as("process", "intruder"));
    let mut fenced = 0;
    until(PATIENCE, "flushes are fenced", || {
        fenced = counted(&processors, FENCED) + counted(std::slice::from_ref(&intruder), FENCED);
        fenced > 0
    });
    intruder.kill9();
    let (mut zombies, mut rounds) = (0, 0);
    while sender.try_wait().expect("the sender can be waited for").is_none() || zombies == 0 {
        let at = dice.below(3) as usize;
        match dice.below(4) {
            0 => {
                processors[at].kill9();
                pause(dice.time_below(500));
                processors[at] = cluster.start("process");
            }
            1 => {
                assert!(processors[at].terminate().success(), "{}", processors[at].stderr());
                processors[at] = cluster.start("process");
            }
            _ => {
                processors[at].signal(Signal::STOP);
                pause(ZOMBIE);
                processors[at].signal(Signal::CONT);
                zombies += 1;
            }
        }
        rounds += 1;
        pause(dice.time_below(1_500));
    }
    let sender = sender.wait_with_output().expect("it has ended");
    assert!(sender.status.success(), "{}", String::from_utf8_lossy(&sender.stderr));

    until(PATIENCE, "everything is processed", || {
        let status = doors[1].get("/v1/status").json();
        let partitions = status["streams"][0]["partitions"].as_array().expect("a list");
        partitions.iter().all(|partition| partition["lag"] == 0)
    });
    audit(&doors[1], &["--expect", &expected]);
    // A process without the store's rows in memory says the same.
    audit(&processors[0], &[]);
    audit(&doors[0], &[]);
    fenced += counted(&processors, FENCED);
    say(&format!("{events} events, {rounds} disturbances, {zombies} zombies, {fenced} flushes fenced"));
}

/// A paused owner has folded what it has not flushed; when it wakes, another has counted it.
#[test]
fn a_zombie_that_wakes_counts_nothing_twice() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let mut cluster = Cluster::new(services);
    // Long enough to be paused in between, and over when it wakes.
    cluster.toml += "\n[flush]\ninterval = \"1500ms\"\n";
    let door = cluster.start("ingest,query");
    let zombie = cluster.start("process");
    let event = |id: u32| format!("{{\"id\":\"{id}\",\"type\":\"a\",\"user_id\":\"{}\"}}", id % 50);
    let post = |ids: std::ops::Range<u32>| {
        let lines: Vec<String> = ids.map(event).collect();
        let ndjson = [("content-type", "application/x-ndjson")];
        assert_eq!(door.post("/events", &ndjson, lines.join("\n")).status, 202);
    };
    let owners = || -> Vec<String> {
        let status = door.get("/v1/status").json();
        let partitions = status["streams"][0]["partitions"].as_array().expect("a list").clone();
        partitions
            .iter()
            .map(|partition| partition["owner"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let pid = format!("-{}", zombie.pid());
    post(0..1_000);
    audit(&door, &[]);
    assert!(owners().iter().all(|owner| owner.ends_with(&pid)), "{:?}", owners());
    post(1_000..2_000);
    let folded = || {
        let status = zombie.get("/v1/status").json();
        let partitions = status["streams"][0]["partitions"].as_array().expect("a list").clone();
        partitions.iter().any(|partition| partition["folded"].as_u64() > partition["next_offset"].as_u64())
    };
    until(PATIENCE, "the owner has folded what it has not flushed", folded);
    zombie.signal(Signal::STOP);
    let heir = cluster.start("process");
    post(2_000..3_000);
    until(PATIENCE, "the heir has all partitions", || owners().iter().all(|owner| !owner.ends_with(&pid)));
    zombie.signal(Signal::CONT);
    audit(&door, &[]);
    let rows = door.get("/v1/rollups/hourly_aggregations").json();
    let total: u64 =
        rows["data"].as_array().expect("rows").iter().filter_map(|row| row["event_count"].as_u64()).sum();
    assert_eq!(total, 3_000);
    drop(heir);
}

/// A partition whose owner dies while nothing comes has an owner again, and the watermark does not stick.
#[test]
fn an_idle_partition_whose_owner_died_closes_its_windows() {
    let _turn = turn();
    let Some(services) = Services::shared() else { return };
    let cluster = Cluster::new(services);
    let door = cluster.start("ingest,query");
    let mut owner = cluster.start("process");
    assert_eq!(door.post("/events?wait=true", &[], "{\"type\":\"a\",\"user_id\":\"u\"}").status, 202);
    let watermark = || {
        let status = door.get("/v1/status").json();
        status["streams"][0]["watermark"].as_str().unwrap_or_default().to_owned()
    };
    owner.kill9();
    let stuck = watermark();
    let _heir = cluster.start("process");
    until(PATIENCE, "the watermark moves on", || watermark() > stuck);
    audit(&door, &[]);
}
