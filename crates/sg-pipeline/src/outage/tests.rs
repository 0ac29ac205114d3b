//! What is news, and what is told at the end.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_outage_is_news_once_and_over_once() {
    let mut outage = Outage::default();
    assert_eq!(outage.ends(), None);
    assert!(outage.begins());
    tokio::time::advance(Duration::from_secs(7)).await;
    assert!(!outage.begins());
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(outage.ends(), Some((2, Duration::from_secs(12))));
    assert_eq!(outage.ends(), None);
    assert!(outage.begins(), "the next one is news again");
}
