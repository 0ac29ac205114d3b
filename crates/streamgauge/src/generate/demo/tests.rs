//! What the demo sends, and that it goes on over errors and stops when told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::client::flaky::{Flaky, serve};

const NOW: Timestamp = Timestamp(1_735_689_600_000);

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }
}

#[test]
fn bursts_are_irregular_with_a_few_late_and_repeated_events() {
    let mut producer = Producer::new(3);
    let (mut seen, mut repeated, mut late, mut lines, mut pauses_ms) =
        (std::collections::HashSet::new(), 0, 0, 0, 0);
    let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
    for _ in 0..4_000 {
        let burst = producer.burst(NOW);
        assert_ne!(burst.stream, Stream::Pageview);
        (shortest, longest) = (shortest.min(burst.pause), longest.max(burst.pause));
        pauses_ms += burst.pause.as_millis() as usize;
        for line in std::str::from_utf8(&burst.body).expect("it is text").lines() {
            let members =
                sg_core::event::Members::read(line, &sg_core::event::SHARED).expect("it is an event");
            let at = members.timestamp().expect("the time is good").expect("it is there");
            assert!(at <= NOW);
            lines += 1;
            let is_fresh = seen.insert(line.to_owned());
            repeated += usize::from(!is_fresh);
            late += usize::from(is_fresh && NOW.0 - at.0 >= 75 * 60_000);
        }
    }
    let share = |count: usize| count * 1_000 / lines;
    assert!((5..=30).contains(&share(repeated)), "{repeated} of {lines} repeated");
    assert!((3..=20).contains(&share(late)), "{late} of {lines} late");
    assert!((3..=50).contains(&(lines * 1_000 / pauses_ms)), "{lines} in {pauses_ms} ms");
    assert!(shortest < Duration::from_millis(60) && longest > Duration::from_millis(1_500));
}

#[tokio::test]
async fn it_resends_what_was_dropped_and_stops_when_told() {
    let stop = CancellationToken::new();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let (kept, told, requests) = (bodies.clone(), stop.clone(), AtomicUsize::new(0));
    let address = serve(move |asked| {
        kept.lock().expect("no test panics with it").push((asked.path, asked.body));
        match requests.fetch_add(1, Ordering::Relaxed) {
            0 => Flaky::Drop,
            1 => Flaky::Answer(503, String::new()),
            2 | 3 => Flaky::Answer(202, String::new()),
            _ => {
                told.cancel();
                Flaky::Answer(202, String::new())
            }
        }
    })
    .await;
    let (_switch, is_on) = watch::channel(true);
    let ended = tokio::time::timeout(
        Duration::from_secs(30),
        run(
            (format!("http://{address}"), "key".to_owned()),
            (is_on, vec![Stream::Web, Stream::Broadcast]),
            stop,
            Arc::new(Still),
        ),
    );
    ended.await.expect("it stops");
    let bodies = bodies.lock().expect("no test panics with it");
    assert!(bodies[0] == bodies[1] && bodies[1] == bodies[2], "the same bytes until they are answered");
    assert_ne!(bodies[2], bodies[3]);
    assert!(bodies.iter().all(|(path, _)| !path.contains("pageviews")));
}
