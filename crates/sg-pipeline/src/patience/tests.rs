//! How pauses grow, and how they end.

use std::future::{pending, ready};
use std::time::Duration;

use super::{Patience, passes};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);

#[test]
fn pauses_grow_to_the_longest_and_begin_again() {
    let mut patience = Patience::new((FIRST, LONGEST));
    for _ in 0..3 {
        for due in [100, 200, 400, 800, 1_000, 1_000].map(Duration::from_millis) {
            let pause = patience.next_pause();
            assert!(pause >= due / 2 && pause < due * 3 / 2, "{pause:?} where {due:?} was due");
        }
        patience.reset();
    }
}

#[test]
fn two_that_fail_together_do_not_try_together() {
    let pauses = || {
        let mut patience = Patience::new((FIRST, LONGEST));
        [(); 8].map(|()| patience.next_pause())
    };
    assert_ne!(pauses(), pauses());
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_when_told_to_stop() {
    assert!(passes(LONGEST, pending()).await);
    assert!(!passes(LONGEST, ready(())).await);
}
