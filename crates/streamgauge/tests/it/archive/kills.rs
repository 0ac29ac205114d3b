//! Processes that are killed while they archive into a folder.

use crate::harness::dice::{self, Dice};
use crate::harness::witness::{Senders, audit};
use crate::harness::{HOURLY, Launch, PATIENCE, Server, pause, say, until};

use super::{agree_with_the_ledger, archived, lines};

/// Small files, and many: the way from a cut to the manifest is where a kill finds most.
fn config(folder: &std::path::Path, packed: &str) -> String {
    format!(
        r#"
        archive = "file:{}"
        [flush]
        interval = "5ms"
        [embedded]
        segment = "1MiB"
        pool = "2MiB"
        keep = "1MiB"
        [[stream]]
        name = "events"
        paths = ["/events"]
        partition_by = ["session_id", "user_id"]
        raw_table = {{ name = "events", keep = "7d" }}
        archive = {{ layout = "e/{{yyyy}}/{{MM}}/{{dd}}/{{HH}}/events-{{ts}}.json", rows = 20, age = "150ms", {packed} }}
        {HOURLY}"#,
        folder.display()
    )
}

#[test]
fn kills_at_random_moments_leave_every_event_in_a_file_once() {
    let kills = dice::number("SG_KILLS", 30);
    let seed = dice::seed("archive kills");
    let mut dice = Dice::new(seed);
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    let archive = tempfile::tempdir().expect("a temporary folder can be made");
    let packings = ["", "compression = \"gzip\"", "compression = \"zstd\""];
    let senders = Senders::start(2, seed);
    for _ in 0..kills {
        let packed = packings[dice.below(3) as usize];
        let launch = Launch::new().data_dir(data.path()).config(&config(archive.path(), packed));
        let mut server = Server::ready(&launch);
        senders.aim(&server);
        pause(dice.time_below(400));
        server.kill9();
    }
    let launch = Launch::new().data_dir(data.path()).config(&config(archive.path(), ""));
    let server = Server::ready(&launch);
    senders.aim(&server);
    let before = senders.answered();
    until(PATIENCE, "the last server takes events", || senders.answered() > before);
    let witness = senders.stop();
    audit(&server, &[]);
    archived(&server);
    let lines = lines(&server, archive.path(), "events");
    agree_with_the_ledger(&server, &lines);
    drop(server);
    witness.judge(data.path());
    say(&format!("kills: {kills}, {} records archived", lines.len()));
    assert!(witness.resent() > 0, "resent events are part of the test");
}
