//! What comes back: our own records as the door decided, those of others as the plan reads them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sg_core::batch::{Entry, EventBatch, Span, content_hash, key_hash};
use sg_core::ports::{ErrorKind, EventLog};
use sg_core::reason::Code;
use sg_core::testing::log_suite::{placed, rows, sample};
use sg_core::time::Timestamp;

use crate::ground::{ground, open, pause, plan, read, read_to_failure};

/// A batch of one event with a partition key.
fn keyed(stream: &str, key: &str) -> EventBatch {
    let raw = br#"{"event_id":"x","event_type":"t"}"#;
    let mut batch = EventBatch::new(Arc::from(stream), Bytes::from_static(raw));
    let (id, kind, key) = (batch.push_side(b"x"), batch.push_side(b"t"), batch.push_side(key.as_bytes()));
    batch.entries.push(Entry {
        raw: Span::main(0, raw.len()),
        id,
        kind,
        key_hash: key_hash(batch.bytes(key)),
        key,
        event_time: None,
        received_at: Some(Timestamp(1_735_689_700_000)),
        content: content_hash(raw),
    });
    batch
}

/// Hashes as Kafka's own Java tests have them, and the partition that Java makes of them.
#[tokio::test]
async fn keys_go_where_java_sends_them() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 7).await;
    let log = open(ground.options(vec![topic]));
    for (key, murmur2) in [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ] {
        let appended = log.append(keyed("events", key)).await.expect("the log takes records");
        let expected = (murmur2 & i32::MAX) % 7;
        assert_eq!(i64::from(appended[0].partition), i64::from(expected), "{key}");
    }
    ground.clear().await;
}

/// A batch over several partitions is answered with each of them, and each keeps the batch's order.
#[tokio::test]
async fn a_batch_is_spread_by_key_in_order() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 4).await;
    let log = open(ground.options(vec![topic]));
    let batch = sample("events", 3, 2_000);
    let expected = rows(&batch);
    let appended = log.append(batch).await.expect("the log takes records");
    assert_eq!(appended.iter().map(|range| range.partition).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let mut came = 0;
    for range in appended {
        let count = (range.next_offset - range.first_offset) as usize;
        let mut reader =
            log.open("events", range.partition, range.first_offset).await.expect("it can be opened");
        let batches = read(&mut *reader, count).await;
        let read: Vec<_> = batches.iter().flat_map(placed).collect();
        let mut last = 0;
        for (_, row) in &read {
            let at = expected.iter().position(|other| other == row).expect("every record was appended");
            assert!(at >= last, "the order of the batch is kept");
            last = at;
        }
        came += read.len();
    }
    assert_eq!(came, expected.len());
    ground.clear().await;
}

#[tokio::test]
async fn records_of_others_are_read_by_the_plan() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 1).await;
    let log = open(ground.options(vec![topic.clone()]));
    let name = &topic.topic;
    ground.produce(
        name,
        &[
            (Some(br#"{"event_id":"a","event_type":"view","user_id":"u","timestamp":1735689600000}"#), None),
            (Some(br#"{"event_type":"view"}"#), None),
            (Some(br#"{"event_type":"#), None),
            (None, None),
            (Some(b"\xff\xfe"), None),
            (Some(br#"{"event_id":"z","event_type":"view"}"#), None),
        ],
    );
    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    let batches = read(&mut *reader, 6).await;
    let mut seen = Vec::new();
    for batch in &batches {
        let events = &batch.events;
        let fields = events.fields.as_ref().expect("records of others are parsed when they are read");
        assert_eq!(fields.texts.len(), events.len() * plan("events").text_slots());
        for (index, entry) in events.entries.iter().enumerate() {
            assert_eq!(entry.received_at, None);
            assert!(batch.place(index).1 > Timestamp(1_700_000_000_000), "A is the broker's time");
            let refused = events.refusal(index).map(|refusal| refusal.code);
            seen.push((
                events.text(entry.id).to_owned(),
                events.text(entry.kind).to_owned(),
                entry.event_time,
                refused,
            ));
        }
    }
    let time = Some(Timestamp(1_735_689_600_000));
    let row = |id: &str, kind: &str, time, refused| (id.to_owned(), kind.to_owned(), time, refused);
    assert_eq!(
        seen,
        [
            row("a", "view", time, None),
            row(&format!("{name}-0-1"), "view", None, None),
            row(&format!("{name}-0-2"), "", None, Some(Code::InvalidJson)),
            row(&format!("{name}-0-3"), "", None, Some(Code::InvalidJson)),
            row(&format!("{name}-0-4"), "", None, Some(Code::InvalidJson)),
            row("z", "view", None, None),
        ]
    );
    ground.clear().await;
}

#[tokio::test]
async fn both_kinds_in_one_batch_come_back_right() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 1).await;
    let log = open(ground.options(vec![topic.clone()]));
    let own = "1\t1735689700000\t-\t00000000000000ff\t4\tkindmine";
    let foreign = br#"{"event_id":"a","event_type":"view","user_id":"u"}"#;
    ground.produce(
        &topic.topic,
        &[
            (Some(foreign), None),
            (Some(br#"{"event_type":"other"}"#), Some(own)),
            (Some(b"{"), None),
            (Some(br#"{"event_type":"other"}"#), Some(own)),
            (Some(foreign), None),
        ],
    );
    // Lets all of them be fetched, so that they come as one batch.
    pause(Duration::from_millis(300)).await;
    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    let batch = loop {
        pause(Duration::from_millis(300)).await;
        let batches = reader.next(1 << 20, Duration::ZERO).await.expect("records can be read");
        if let Some(batch) = batches.into_iter().next() {
            break batch;
        }
    };
    assert_eq!(batch.events.len(), 5, "they come together");
    assert!(batch.events.fields.is_none(), "the fold reads them");
    assert_eq!(batch.events.refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2]);
    let mut events = EventBatch::clone(&batch.events);
    plan("events").read_back(&mut events);
    assert_eq!(events.refused.len(), 1, "what was refused stays refused, once");
    let slots = plan("events").text_slots();
    let fields = events.fields.as_ref().expect("the plan filled them in");
    assert_eq!(fields.texts.len(), 5 * slots);
    let users: Vec<&str> = fields.texts.chunks(slots).map(|row| events.text(row[0])).collect();
    assert_eq!(users, ["u", "", "", "", "u"]);
    let entry = events.entries[1];
    assert_eq!((events.text(entry.kind), events.text(entry.id), entry.key_hash), ("kind", "mine", 0xff));
    assert_eq!(entry.received_at, Some(Timestamp(1_735_689_700_000)));
    ground.clear().await;
}

#[tokio::test]
async fn a_header_of_a_newer_program_stops_the_partition() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 1).await;
    let log = open(ground.options(vec![topic.clone()]));
    let good: (Option<&[u8]>, _) = (Some(br#"{"event_type":"view"}"#), None);
    ground.produce(&topic.topic, &[good, (good.0, Some("9\tsomething")), good]);
    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    let (error, before) = read_to_failure(&mut *reader).await;
    assert_eq!(error.kind, ErrorKind::Corrupt);
    let text = error.to_string();
    assert!(text.contains("version \"9\"") && text.contains("offset 1"), "{text}");
    assert_eq!(before, [0], "what came before was read");
    assert_eq!(reader.passed(), 1);
    let again = reader.next(1 << 20, Duration::ZERO).await.err().map(|error| error.to_string());
    assert_eq!(again, Some(text), "it stays so");
    ground.clear().await;
}

#[tokio::test]
async fn a_record_without_the_brokers_time_stops_the_partition_and_names_the_remedy() {
    let Some(ground) = ground() else { return };
    let name = ground.name("events");
    ground.make(&name, 1, &[("message.timestamp.type", "CreateTime")]).await;
    let log =
        open(ground.options(vec![sg_log::kafka::Topic { stream: "events".into(), topic: name.clone() }]));
    log.append(sample("events", 1, 3)).await.expect("the log takes records");
    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    let (error, before) = read_to_failure(&mut *reader).await;
    assert_eq!((error.kind, before.len()), (ErrorKind::Corrupt, 0));
    assert!(error.to_string().contains("streamgauge topics ensure"), "{error}");
    ground.clear().await;
}

/// A newer reader of a partition takes it from the older one, whose records it must not get.
#[tokio::test]
async fn opening_again_begins_anew_and_ends_the_older_reader() {
    let Some(ground) = ground() else { return };
    let (log, _) = ground.log(&["events"]).await;
    log.append(sample("events", 1, 5_000)).await.expect("the log takes records");
    for from in [0_u64, 4_000, 17, 0, 2_500] {
        let mut older = log.open("events", 0, 4_900).await.expect("it can be opened");
        read(&mut *older, 1).await;
        let mut reader = log.open("events", 0, from).await.expect("it can be opened");
        let first = read(&mut *reader, 1).await[0].first_offset;
        assert_eq!(first, from);
        let ended = older.next(1 << 20, Duration::ZERO).await.err().map(|error| error.kind);
        assert_eq!(ended, Some(ErrorKind::Retry));
        drop(older);
        let rest = 5_000 - reader.passed() as usize;
        if rest > 0 {
            read(&mut *reader, rest).await;
        }
        assert_eq!(reader.passed(), 5_000);
    }
    ground.clear().await;
}
