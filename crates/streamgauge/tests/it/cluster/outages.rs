//! The database and the broker go away and come back under load.

use std::time::{Duration, Instant};

use super::{Cluster, turn};
use crate::harness::dice::{self, Dice};
use crate::harness::services::{Service, Services};
use crate::harness::witness::{Senders, Witness, audit};
use crate::harness::{pause, say, until};

const PATIENCE: Duration = Duration::from_secs(180);

/// Connections of the database are cut at random, the database crashes, the broker crashes: nothing is lost, nothing
/// counts twice.
#[test]
fn cut_connections_and_crashed_servers_do_not_show() {
    let _turn = turn();
    let Some(services) = Services::own() else { return };
    let cluster = Cluster::new(services);
    let seed = dice::seed("outages");
    let mut dice = Dice::new(seed);
    let (cuts_wanted, crashes) = (dice::number("SG_CUTS", 200), dice::number("SG_CRASHES", 8));
    let processors = [cluster.start("process"), cluster.start("process")];
    let door = cluster.start("ingest,query");
    let senders = Senders::start(4, seed);
    senders.aim(&door);
    let mut cuts = 0;
    for crash in 0..=crashes {
        let until_crash = (crash + 1) * cuts_wanted / (crashes + 1);
        let began = Instant::now();
        while cuts < until_crash {
            assert!(began.elapsed() < PATIENCE, "only {cuts} connections were there to be cut");
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND backend_type = 'client backend' \
                 ORDER BY random() LIMIT {}",
                cluster.name,
                1 + dice.below(4)
            );
            cuts += cluster.services.sql("postgres", &sql).map_or(0, |rows| rows.len() as u64);
            pause(dice.time_below(120));
        }
        if crash < crashes {
            let service = if crash % 3 == 2 { Service::Kafka } else { Service::Postgres };
            cluster.services.crash(service);
            pause(dice.time_below(1_500));
            cluster.services.resume(service);
        }
    }
    let before = senders.answered();
    until(PATIENCE, "events are taken again", || senders.answered() > before);
    let witness = senders.stop();
    audit(&door, &[]);
    say(&format!("{cuts} connections cut, {crashes} crashes, {} events answered", witness.answered()));
    judge(&cluster, &witness);
    drop(processors);
}

/// While the database is away events are taken as before, memory is bounded, and everything is counted afterwards.
#[test]
fn a_database_that_is_away_for_a_minute_is_caught_up_with() {
    let _turn = turn();
    let Some(services) = Services::own() else { return };
    let cluster = Cluster::new(services);
    let away = Duration::from_secs(dice::number("SG_OUTAGE_SECONDS", 60));
    let server = cluster.start("ingest,process,query");
    let senders = Senders::start(2, dice::seed("outage"));
    senders.aim(&server);
    until(PATIENCE, "events are taken", || senders.answered() > 100);
    cluster.services.crash(Service::Postgres);
    let began = Instant::now();
    let (mut before, mut resident_max) = (senders.answered(), 0);
    while began.elapsed() < away {
        pause(Duration::from_secs(2));
        let now = senders.answered();
        assert!(now > before, "events are taken without the database:\n{}", server.stderr());
        before = now;
        resident_max = resident_max.max(resident_mib(server.pid()));
    }
    assert_eq!(server.get("/readyz?role=ingest").status, 200, "it can take events");
    assert_eq!(server.get("/readyz").status, 503, "it cannot answer questions");
    cluster.services.resume(Service::Postgres);
    let witness = senders.stop();
    audit(&server, &["--patience", "120s"]);
    say(&format!("{} events answered, {resident_max} MiB at most while away", witness.answered()));
    judge(&cluster, &witness);
    assert!(resident_max < 512, "{resident_max} MiB");
    // What is tried every few seconds, by six partitions and others, says when that begins to fail and when it is over.
    let told = server.stderr();
    let lines = |text: &str| told.lines().filter(|line| line.contains(text)).count();
    let (begun, over) = (lines("; trying again until it succeeds"), lines(": succeeds again, after "));
    assert!((1..=40).contains(&begun) && (1..=40).contains(&over), "{begun} begun, {over} over:\n{told}");
    assert!(lines(" WARN ") <= 80, "{told}");
}

/// A flush does not wait for the database's disk: a crash right after it takes it back. The records are folded again,
/// also when no other comes to remind anybody.
#[test]
fn commits_that_the_database_lost_are_made_good_without_new_events() {
    let _turn = turn();
    let Some(services) = Services::own() else { return };
    let cluster = Cluster::new(services);
    let server = cluster.start("ingest,process,query");
    let mut sent = 0;
    for round in 0..4 {
        let event =
            |id: u32| format!("{{\"id\":\"{round}-{id}\",\"type\":\"a\",\"user_id\":\"{}\"}}", id % 50);
        let lines: Vec<String> = (0..300).map(event).collect();
        let ndjson = [("content-type", "application/x-ndjson")];
        assert_eq!(server.post("/events?wait=true", &ndjson, lines.join("\n")).status, 202);
        sent += 300;
        cluster.services.crash(Service::Postgres);
        cluster.services.resume(Service::Postgres);
        until(PATIENCE, "everything is counted", || {
            let sql = "SELECT coalesce(sum(event_count), 0) FROM hourly_aggregations";
            cluster.services.sql(&cluster.name, sql).is_some_and(|rows| rows[0] == sent.to_string())
        });
    }
    audit(&server, &[]);
}

/// Judges what the database holds.
fn judge(cluster: &Cluster, witness: &Witness) {
    let ask = |sql: &str| -> Vec<Vec<String>> {
        let rows = cluster.services.sql(&cluster.name, sql).expect("the database answers");
        rows.iter().map(|row| row.split('\t').map(str::to_owned).collect()).collect()
    };
    let rows = ask("SELECT event_id || E'\\t' || replace(metadata::text, ' ', '') FROM events");
    let rows: Vec<(String, String)> = rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let cells = ask(
        "SELECT to_char(window_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') || E'\\t' || event_type || E'\\t' \
         || event_count FROM hourly_aggregations",
    );
    let cell = |row: &Vec<String>| ((row[0].clone(), row[1].clone()), row[2].parse().expect("a number"));
    witness.judge_found(&rows, &cells.iter().map(cell).collect());
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1_024
}
