//! A log that is looked at says what opening it would, and stays as it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sg_core::ports::{ErrorKind, EventLog, PortError};
use sg_core::testing::log_suite::sample;
use sg_core::time::{Clock, Timestamp};

use super::{Closed, identity};
use crate::disk::RealDisk;
use crate::{EmbeddedLog, Options, Reached, names};

/// Looks at all of a log.
fn check(options: &Options) -> Result<(), PortError> {
    super::check(options, Instant::now() + Duration::from_secs(600)).map(drop)
}

struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }
}

fn options(dir: &Path) -> Options {
    let options = Options::new(dir, Arc::new(StandingClock), Arc::new(RealDisk));
    Options { segment_bytes: 64 << 10, pool_bytes_max: 0, ..options }
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let files = paths.filter(|path| path.is_file());
    files.map(|path| (path.display().to_string(), std::fs::read(&path).expect("it can be read"))).collect()
}

#[tokio::test]
async fn it_says_what_opening_would_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a test machine has room for temporary folders");
    let dir = folder.path().join("log");
    assert_eq!(identity(&dir).expect("nothing is wrong with none"), None);
    check(&options(&dir)).expect("nothing is wrong with none");
    assert!(!dir.try_exists().expect("it can be looked for"), "nothing is made");

    let log = EmbeddedLog::open(options(&dir)).expect("it opens");
    for seed in 0..2 {
        log.append(sample("s", seed, 3)).await.expect("it is taken");
    }
    log.close().await.expect("it closes");
    assert_eq!(identity(&dir).expect("it can be read"), Some(log.identity("s").await.expect("it has one")));
    let ends_at = |offset: u64| {
        let log_identity = identity(&dir).expect("it can be read").expect("there is one");
        let reached = vec![Reached { log_identity, stream: "s".to_owned(), offset }];
        check(&Options { reached, ..options(&dir) }).map_err(|error| error.kind)
    };
    assert_eq!((ends_at(6), ends_at(7)), (Ok(()), Err(ErrorKind::Corrupt)));

    let segment = names::segment(&dir, 1);
    let whole = std::fs::read(&segment).expect("there is a segment");
    let damage = |position: usize, expected: Result<(), ErrorKind>| {
        let mut bytes = whole.clone();
        bytes[position] ^= 0xff;
        std::fs::write(&segment, &bytes).expect("it can be written");
        std::fs::write(dir.join("begun.tmp"), "x").expect("it can be written");
        let before = files(&dir);
        let checked = check(&options(&dir)).map_err(|error| error.kind);
        assert_eq!(checked, expected, "byte {position}");
        assert_eq!(files(&dir), before, "byte {position}");
    };
    let frames: Vec<usize> = memchr::memmem::find_iter(&whole, &crate::frame::MAGIC).collect();
    let (first_events, last_events) = (frames[frames.len() - 2], frames[frames.len() - 1]);
    // Behind the first there is one that was made durable later; behind the last nothing, and it passes for torn.
    damage(first_events + 40, Err(ErrorKind::Corrupt));
    damage(last_events + 40, Ok(()));
}

#[tokio::test]
async fn closed_segments_are_looked_at_from_the_newest_on_while_there_is_time() {
    let folder = tempfile::tempdir().expect("a test machine has room for temporary folders");
    let dir = folder.path().join("log");
    let log = EmbeddedLog::open(options(&dir)).expect("it opens");
    let mut seed = 0;
    while !names::segment(&dir, 4).try_exists().expect("it can be looked for") {
        log.append(sample("s", seed, 100)).await.expect("it is taken");
        seed += 1;
    }
    log.close().await.expect("it closes");
    let look = |seconds: u64| {
        let before = files(&dir);
        let Closed { segments, looked_at, damaged } =
            super::check(&options(&dir), Instant::now() + Duration::from_secs(seconds)).expect("it opens");
        assert_eq!(files(&dir), before);
        let told = damaged.iter().map(|error| (error.kind, error.to_string())).collect::<Vec<_>>();
        (segments, looked_at, told)
    };
    assert_eq!(look(600), (3, 3, Vec::new()));
    assert_eq!(look(0), (3, 1, Vec::new()));

    for number in [1, 3] {
        let segment = names::segment(&dir, number);
        let mut bytes = std::fs::read(&segment).expect("there is a segment");
        let last = bytes.iter().rposition(|byte| *byte != 0).expect("there are frames");
        bytes[last] ^= 0xff;
        std::fs::write(&segment, &bytes).expect("it can be written");
    }
    let (segments, looked_at, told) = look(600);
    assert_eq!((segments, looked_at, told.len()), (3, 3, 2), "{told:?}");
    for ((kind, why), number) in told.iter().zip([3, 1]) {
        assert_eq!(*kind, ErrorKind::Corrupt, "{why}");
        assert!(why.contains(&names::segment(&dir, number).display().to_string()), "{why}");
        assert!(why.contains("--salvage"), "{why}");
    }
    let (segments, looked_at, told) = look(0);
    assert_eq!((segments, looked_at, told.len()), (3, 1, 1), "{told:?}");

    let salvaged = EmbeddedLog::open(Options { salvage: true, ..options(&dir) }).expect("it opens");
    salvaged.close().await.expect("it closes");
    assert_eq!(look(600), (3, 3, Vec::new()), "what was salvaged is whole");
}
