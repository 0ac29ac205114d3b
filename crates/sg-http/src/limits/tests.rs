//! Rates by a clock that stands until it is set, one below, at and one above; addresses behind proxies; turns.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;

use std::sync::Arc;

use super::bucket::{BURST_S, Sender};
use super::*;

fn rates(events: Option<u64>, bytes: Option<u64>) -> Rates {
    Rates { events, bytes }
}

fn send(sender: &mut Sender, now_ms: u64, events: u64, bytes: u64) -> Result<Standing, ApiError> {
    sender.take(Load { events, bytes }, OF_KEY, Duration::from_millis(now_ms))
}

fn waits(answer: Result<Standing, ApiError>) -> Option<Duration> {
    match answer {
        Ok(_) => None,
        Err(ApiError::RateLimited { wait, .. }) => Some(wait),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_sender_sends_its_rate_and_a_burst() {
    let mut sender = Sender::new(rates(Some(5), None));
    for _ in 0..49 {
        assert_eq!(waits(send(&mut sender, 0, 1, 9_999)), None);
    }
    let last = send(&mut sender, 0, 1, 0).expect("the fiftieth fits");
    assert_eq!(last, Standing { burst: 50, remaining: 0, full_in: Duration::from_secs(10) });
    assert_eq!(waits(send(&mut sender, 0, 1, 0)), Some(Duration::from_millis(200)));
    // What was refused costs nothing: one comes every 200 ms.
    assert_eq!(waits(send(&mut sender, 199, 1, 0)), Some(Duration::from_millis(1)));
    assert_eq!(waits(send(&mut sender, 200, 1, 0)), None);
    assert_eq!(waits(send(&mut sender, 399, 1, 0)), Some(Duration::from_millis(1)));
    assert_eq!(waits(send(&mut sender, 1_200, 5, 0)), None);
    assert_eq!(waits(send(&mut sender, 1_200, 1, 0)), Some(Duration::from_millis(200)));
    assert!(!sender.is_rested(Duration::from_millis(11_199)));
    assert!(sender.is_rested(Duration::from_millis(11_200)));
    assert_eq!(waits(send(&mut sender, 60_000, 50, 0)), None);
}

#[test]
fn a_batch_that_never_fits_is_told_so() {
    let mut sender = Sender::new(rates(Some(2), Some(100)));
    assert_eq!(waits(send(&mut sender, 0, 2 * BURST_S, 100 * BURST_S)), None);
    let many = send(&mut sender, 60_000, 2 * BURST_S + 1, 1);
    assert!(matches!(many, Err(ApiError::TooManyEvents(20))), "{many:?}");
    let large = send(&mut sender, 60_000, 1, 100 * BURST_S + 1);
    assert!(matches!(large, Err(ApiError::BodyTooLarge(1_000))), "{large:?}");
}

#[test]
fn what_one_bucket_refuses_the_other_does_not_pay() {
    let mut sender = Sender::new(rates(Some(10), Some(10)));
    assert_eq!(waits(send(&mut sender, 0, 1, 100)), None);
    assert_eq!(waits(send(&mut sender, 0, 99, 1)), Some(Duration::from_millis(100)));
    assert_eq!(waits(send(&mut sender, 100, 99, 1)), None);
}

#[test]
fn the_highest_rate_is_exact() {
    let mut sender = Sender::new(rates(None, Some(sg_core::key::RATE_MAX)));
    assert_eq!(waits(send(&mut sender, 0, 1, sg_core::key::RATE_MAX * BURST_S)), None);
    assert_eq!(waits(send(&mut sender, 999, 1, sg_core::key::RATE_MAX)), Some(Duration::from_millis(1)));
    assert_eq!(waits(send(&mut sender, 1_000, 1, sg_core::key::RATE_MAX)), None);
}

#[test]
fn a_million_addresses_take_no_more_room_than_fits() {
    let mut senders: Senders<IpAddr> = Senders::new(ADDRESSES_MAX);
    let limit = rates(Some(1), None);
    let address = |n: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(n));
    let one = Load { events: 1, bytes: 1 };
    let mut taken = 0;
    for n in 0..1_000_000 {
        let sender = senders.of(&address(n), limit, Duration::ZERO);
        taken += usize::from(sender.take(one, OF_KEY, Duration::ZERO).is_ok());
    }
    assert_eq!(senders.len(), ADDRESSES_MAX);
    // Each of those that are known had its own, and the others one among them.
    assert_eq!(taken, ADDRESSES_MAX + BURST_S as usize);
    // Those who were there before keep theirs; the quiet ones make room.
    let known = senders.of(&address(0), limit, Duration::ZERO);
    assert_eq!(known.take(one, OF_KEY, Duration::ZERO).expect("it has some left").remaining, 8);
    senders.of(&address(2_000_000), limit, Duration::from_millis(1_000));
    assert_eq!(senders.len(), 2, "all but the first have been quiet for as long as they had sent");
}

fn limits(key: Rates, address: Rates, proxies: &[&str]) -> (Limits, Arc<AtomicU64>) {
    let now_ms = Arc::new(AtomicU64::new(0));
    let shown = now_ms.clone();
    let proxies = proxies.iter().map(|proxy| proxy.parse().expect("a network")).collect();
    let stopwatch = Box::new(move || Duration::from_millis(shown.load(Ordering::Relaxed)));
    (Limits::new(key, address, proxies, stopwatch), now_ms)
}

fn from(address: &str) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(Peer(address.parse().expect("an address")));
    extensions
}

fn forwarded(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("x-forwarded-for", HeaderValue::from_str(value).expect("text"));
    }
    headers
}

#[test]
fn only_a_trusted_proxy_is_believed() {
    let (limits, _) = limits(Rates::default(), Rates::default(), &["10.0.0.0/8", "::1"]);
    for (peer, told, expect) in [
        ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
        ("10.1.2.3", &[], "10.1.2.3"),
        ("10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", &["1.1.1.1", "203.0.113.9, 10.9.9.9"], "203.0.113.9"),
        ("10.1.2.3", &["10.0.0.7, 10.9.9.9"], "10.0.0.7"),
        ("10.1.2.3", &["203.0.113.9, nonsense"], "10.1.2.3"),
        ("10.1.2.3", &["203.0.113.9, nonsense, 10.9.9.9"], "10.9.9.9"),
        ("::ffff:10.1.2.3", &["::ffff:203.0.113.9"], "203.0.113.9"),
        ("::1", &["2001:db8::1"], "2001:db8::1"),
    ] {
        let client = limits.client(peer.parse().expect("an address"), &forwarded(told));
        assert_eq!(client.to_string(), expect, "{peer} {told:?}");
    }
}

#[test]
fn addresses_have_rates_of_their_own() {
    let (limits, now_ms) = limits(Rates::default(), rates(Some(1), None), &[]);
    let take = |address: &str| limits.take(&from(address), &HeaderMap::new(), (10, 1));
    assert!(take("192.0.2.1").is_ok());
    let refused = take("192.0.2.1").expect_err("the burst is used up").into_response();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let header = |name: &str| refused.headers()[name].to_str().expect("text").to_owned();
    let shown =
        ["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(header);
    assert_eq!(shown, ["10", "10", "0", "10"]);
    assert!(take("192.0.2.2").is_ok());
    assert!(take("2001:db8::1").is_ok());
    assert!(take("2001:db8::2").is_err(), "they are one household");
    assert!(take("2001:db8:0:1::1").is_ok());
    now_ms.store(9_999, Ordering::Relaxed);
    assert!(take("192.0.2.1").is_err());
    now_ms.store(10_000, Ordering::Relaxed);
    assert!(take("192.0.2.1").is_ok());
}

#[test]
fn networks_are_compared_by_their_bits() {
    for (network, address, expect) in [
        ("10.0.0.0/8", "10.255.255.255", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3/31", "10.1.2.2", true),
        ("10.1.2.3", "10.1.2.2", false),
        ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "::1", true),
        ("fd00::/8", "fd12::1", true),
        ("fd00::/8", "fe80::1", false),
    ] {
        let network: Network = network.parse().expect("a network");
        assert_eq!(network.contains(address.parse().expect("an address")), expect, "{network:?} {address}");
    }
    for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0/8", "/8", "10.0.0.0/-1", "proxy"] {
        assert!(wrong.parse::<Network>().is_err(), "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn questions_take_turns() {
    let turns = Arc::new(Turns::new(2, 2));
    let first = turns.take().await.expect("there is room");
    let _second = turns.take().await.expect("there is room");
    let ask = |turns: &Arc<Turns>| {
        let turns = turns.clone();
        tokio::spawn(async move { turns.take().await })
    };
    let (third, fourth) = (ask(&turns), ask(&turns));
    while turns.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(turns.take().await, Err(ApiError::TooManyQuestions)), "two wait already");
    drop(first);
    let third = third.await.expect("it ran").expect("its turn came");
    // The other has waited for too long before anybody was done.
    assert!(matches!(fourth.await.expect("it ran"), Err(ApiError::TooManyQuestions)));
    assert_eq!(turns.waiting(), 0);
    drop(third);
    assert!(turns.take().await.is_ok());
}
