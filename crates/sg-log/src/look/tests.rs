//! A log that is looked at says what opening it would, and stays as it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sg_core::ports::{ErrorKind, EventLog};
use sg_core::testing::log_suite::sample;
use sg_core::time::{Clock, Timestamp};

use super::{check, identity};
use crate::disk::RealDisk;
use crate::{EmbeddedLog, Options, Reached, names};

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
    paths.map(|path| (path.display().to_string(), std::fs::read(&path).expect("it can be read"))).collect()
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
