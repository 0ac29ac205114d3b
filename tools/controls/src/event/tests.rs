//! Made-up events can be read back, and what is no event is refused.

use super::*;

#[test]
fn made_up_events_read_back() {
    let (mut body, mut random, postcodes) = (Vec::new(), Random(7), postcodes());
    for _ in 0..3 {
        let places = write(&mut body, &mut random, &postcodes, 1_735_689_600_000);
        assert_eq!(&body[places.timestamp..places.timestamp + TIMESTAMP_BYTES], b"1735689600000");
        body.push(b'\n');
    }
    let events = read_all(&body).expect("made-up events are events");
    assert_eq!(events.len(), 3);
    assert!(
        events.iter().all(|event| event.event_id.len() == ID_BYTES && event.timestamp == 1_735_689_600_000)
    );
    assert_ne!(events[0].event_id, events[1].event_id);
}

#[test]
fn a_line_that_is_no_event_refuses_the_body() {
    let good = r#"{"event_id":"a","user_id":1,"event_type":"t","postcode":"SW19","timestamp":1}"#;
    assert!(read_all(good.as_bytes()).is_some());
    for bad in ["{}", "[]", "x", &good.replace(r#":"a""#, r#":"""#), &good.replace(":1}", ":0}")] {
        assert!(read_all(format!("{good}\n{bad}").as_bytes()).is_none(), "{bad}");
    }
}
