//! An address has so many connections and no more; some are not counted.

use super::*;

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let spared = vec!["10.0.0.0/8".parse().expect("a network")];
    let each = Each { max: 2, spares_loopback: true, spared };
    let places = Places::new(100, each);
    let enter = |address: &str| places.of_address(address.parse().expect("an address"));
    let first = enter("192.0.2.1").expect("one below");
    let _second = enter("192.0.2.1").expect("at it");
    assert!(enter("192.0.2.1").is_none(), "one above");
    assert!(enter("::ffff:192.0.2.1").is_none(), "it is the same");
    let _other = enter("192.0.2.2").expect("another has its own");
    drop(first);
    let _third = enter("192.0.2.1").expect("a place is free again");
    let _household = [enter("2001:db8::1"), enter("2001:db8::2")];
    assert!(enter("2001:db8::3").is_none());
    for spared in ["127.0.0.1", "::1", "10.1.2.3"] {
        let many: Vec<_> = (0..10).map(|_| enter(spared)).collect();
        assert!(many.iter().all(Option::is_some), "{spared}");
    }
    assert_eq!(places.counts.lock().expect("nobody panicked").len(), 3);
}
