//! One who reads too slowly, and one who comes before there is anything to say.

use sg_core::ports::StoreStatus;
use sg_core::time::Timestamp;
use tokio::time::Instant;

use super::change::Said;
use super::feed::BEHIND_MAX;
use super::look::{Health, Process};
use super::*;

fn look(at: i64) -> Arc<Look> {
    Arc::new(Look {
        at: Timestamp(at),
        taken: Instant::now(),
        marks: Arc::new(Marks { pending: Ok(Vec::new()), status: Ok(StoreStatus::default()) }),
        process: Process::default(),
        health: Health { state: "ok", causes: Vec::new() },
        streams: Vec::new(),
        today: None,
        rollups: Vec::new(),
    })
}

fn watcher(feed: &Arc<Feed>) -> Watcher<impl Fn(&Look) -> String> {
    Watcher {
        feed: feed.clone(),
        draining: CancellationToken::new(),
        write_all: |look: &Look| format!("all of {}", look.at.0),
        receiver: feed.subscribe(),
        missed: Vec::new().into_iter(),
        needs_all: true,
    }
}

fn say(feed: &Feed, numbers: std::ops::RangeInclusive<i64>) {
    for number in numbers {
        feed.say(look(number), vec![Said { name: "stats", data: number.to_string() }]);
    }
}

async fn told<W: Fn(&Look) -> String>(watcher: &mut Watcher<W>) -> Option<(String, &'static str, String)> {
    let message = watcher.next().await?;
    Some((message.id.clone(), message.name, message.data.clone()))
}

#[tokio::test]
async fn a_slow_reader_is_told_of_the_gap_and_gets_everything_again() {
    let feed = Arc::new(Feed::default());
    say(&feed, 1..=1);
    let mut slow = watcher(&feed);
    assert_eq!(told(&mut slow).await, Some(("0-1".to_owned(), "reset", "all of 1".to_owned())));
    let last = 2 + BEHIND_MAX as i64;
    say(&feed, 2..=last);
    assert_eq!(told(&mut slow).await, Some((String::new(), "gap", "{\"missed\":1}".to_owned())));
    assert_eq!(told(&mut slow).await, Some((format!("0-{last}"), "reset", format!("all of {last}"))));
    say(&feed, last + 1..=last + 1);
    assert_eq!(
        told(&mut slow).await.map(|(_, name, data)| (name, data)),
        Some(("stats", (last + 1).to_string()))
    );
}

#[tokio::test]
async fn as_many_as_may_wait_are_all_told() {
    let feed = Arc::new(Feed::default());
    say(&feed, 1..=1);
    let mut slow = watcher(&feed);
    told(&mut slow).await;
    say(&feed, 2..=1 + BEHIND_MAX as i64);
    for number in 2..=1 + BEHIND_MAX as i64 {
        assert_eq!(told(&mut slow).await.map(|(_, _, data)| data), Some(number.to_string()));
    }
}

#[tokio::test]
async fn one_who_comes_first_waits_for_the_first_look() {
    let feed = Arc::new(Feed::default());
    let mut first = watcher(&feed);
    let speaker = feed.clone();
    let (heard, ()) = tokio::join!(told(&mut first), async move { say(&speaker, 1..=1) });
    assert_eq!(heard.map(|(_, name, data)| (name, data)), Some(("reset", "all of 1".to_owned())));
    first.draining.cancel();
    assert_eq!(told(&mut first).await, None);
}
