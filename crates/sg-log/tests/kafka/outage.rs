//! A broker that goes away and comes back while records are appended and read.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sg_core::ports::{ErrorKind, EventLog};
use sg_core::testing::log_suite::{Row, placed, rows, sample};

use crate::ground::{PATIENCE, ground};

/// Nothing that was answered is missing or elsewhere, the reader never fails, and both go on by themselves.
#[tokio::test]
#[ignore = "stops the broker that other tests use; STREAMGAUGE_TEST_KAFKA_RESTART is a command that restarts it"]
async fn a_broker_restarted_under_appends_and_reads_loses_nothing() {
    let Some(ground) = ground() else { return };
    let restart = std::env::var("STREAMGAUGE_TEST_KAFKA_RESTART").expect("a command restarts the broker");
    let (log, _) = ground.log(&["events"]).await;
    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    let restarted = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_secs(1));
        let done = std::process::Command::new("sh").args(["-c", &restart]).status();
        assert!(done.expect("a shell is there").success(), "the command restarts the broker");
    });
    let end = Cell::new(u64::MAX);
    let append = async {
        let mut answered: Vec<(u64, Vec<Row>)> = Vec::new();
        let mut failures = 0;
        let mut seed = 0;
        while !restarted.is_finished() || seed % 50 != 0 {
            let batch = sample("events", seed, 20);
            let expected = rows(&batch);
            match log.append(batch).await {
                Ok(appended) => {
                    answered.push((appended[0].first_offset, expected));
                    seed += 1;
                }
                Err(error) => {
                    assert!(matches!(error.kind, ErrorKind::Retry | ErrorKind::Full), "{error}");
                    failures += 1;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        end.set(log.extent("events", 0).await.expect("the broker is back").end);
        (answered, failures)
    };
    let read = async {
        let mut read = Vec::new();
        let since = Instant::now();
        while reader.passed() < end.get() {
            assert!(since.elapsed() < PATIENCE * 3, "read up to {} of {}", reader.passed(), end.get());
            let batches = reader.next(1 << 20, Duration::from_millis(100)).await;
            read.extend(batches.expect("an outage is no failure").iter().flat_map(placed));
        }
        read
    };
    let ((answered, failures), read) = tokio::join!(append, read);
    for (first, expected) in &answered {
        let at = read.iter().position(|(offset, _)| offset == first).expect("what was answered is read");
        let found = read[at..at + expected.len()].iter().map(|(_, row)| row);
        assert!(found.eq(expected), "the batch at {first} is not what was answered");
    }
    let offsets: Vec<u64> = read.iter().map(|(offset, _)| *offset).collect();
    assert!(offsets.is_sorted_by(|left, right| left < right), "no record comes twice");
    say(answered.len(), failures);
    ground.clear().await;
}

#[expect(clippy::print_stdout, reason = "a run by hand wants to know")]
fn say(answered: usize, failures: u64) {
    println!("{answered} batches answered, {failures} failed");
}
