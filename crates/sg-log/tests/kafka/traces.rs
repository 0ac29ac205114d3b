//! Traces: the header that goes with the first record of a traced request, ours or another's.

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sg_core::ports::EventLog as _;
use sg_core::testing::log_suite::sample;
use sg_core::trace::TraceContext;

use crate::ground::{ground, open, read};

const PATIENCE: Duration = Duration::from_secs(30);

fn trace(span_id: u64, is_sampled: bool) -> TraceContext {
    TraceContext { trace_id: 7, span_id, is_sampled }
}

#[tokio::test]
async fn a_trace_comes_back_with_its_record() {
    let Some(ground) = ground() else { return };
    let topic = ground.topic("events", 1).await;
    let log = open(ground.options(vec![topic.clone()]));
    let mut batch = sample("events", 5, 4);
    batch.traces = vec![(0, trace(1, true)), (2, trace(2, true))];
    log.append(batch).await.expect("the log takes records");

    let producer: BaseProducer = ground.config().create().expect("a producer can be made");
    // Kept; not kept; none; and one under another name.
    let others = [trace(3, true).to_string(), trace(4, false).to_string(), "00-7-5-01".to_owned()];
    for (name, value) in others.iter().map(|value| ("traceparent", value)).chain([("trace", &others[0])]) {
        let headers = OwnedHeaders::new().insert(Header { key: name, value: Some(value) });
        let record = BaseRecord::<[u8], [u8]>::to(&topic.topic).partition(0).headers(headers);
        let record = record.payload(br#"{"event_type":"view"}"#);
        producer.send(record).map_err(|(error, _)| error).expect("the producer has room");
    }
    producer.flush(PATIENCE).expect("the broker takes records");

    let mut reader = log.open("events", 0, 0).await.expect("it can be opened");
    let mut seen = Vec::new();
    for batch in read(&mut *reader, 8).await {
        let traces = batch.events.traces.iter();
        seen.extend(traces.map(|(index, context)| (batch.place(*index as usize).0, *context)));
    }
    assert_eq!(seen, [(0, trace(1, true)), (2, trace(2, true)), (4, trace(3, true))]);
    ground.clear().await;
}
