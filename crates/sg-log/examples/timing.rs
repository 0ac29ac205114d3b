//! x
use sg_log::kafka::*; use sg_core::ports::*; use std::time::*; use sg_core::testing::log_suite::sample;
use sg_core::definition::*; use std::sync::Arc;
#[tokio::main]
async fn main() {
  let topic = std::env::args().nth(1).unwrap();
  let stream = Stream { name: "events".into(), default_type: String::new(), derive_id: false, partition_by: vec![], require: vec![], raw_table: None, dedup: Dedup{records:1,horizon:Duration::from_secs(1)}, max_future: Duration::from_secs(1), idle_timeout: Duration::from_secs(1) };
  let plan = Arc::new(sg_core::plan::Plan::new(stream, &[]));
  let t=Instant::now();
  let log = KafkaLog::open(KafkaOptions{brokers:"127.0.0.1:29192".into(), group:"g".into(), topics: vec![Topic{stream:"events".into(),topic}], plans: vec![plan], properties: vec![], in_flight_bytes_max: 64<<20, read_bytes_max: 64<<20, session_timeout: Duration::from_secs(6)}).unwrap();
  println!("new {:?}", t.elapsed());
  for _ in 0..2 {
  let t=Instant::now(); log.partitions("events").await.unwrap(); println!("partitions {:?}", t.elapsed());
  let t=Instant::now(); println!("{}", log.identity("events").await.unwrap()); println!("identity {:?}", t.elapsed());
  let t=Instant::now(); println!("{:?}", log.extent("events", 0).await.unwrap()); println!("extent {:?}", t.elapsed());
  let t=Instant::now(); log.append(sample("events", 1, 100)).await.unwrap(); println!("append {:?}", t.elapsed());
  let e = log.extent("events",0).await.unwrap();
  let t=Instant::now(); let mut r = log.open("events", 0, e.start).await.unwrap(); println!("open {:?}", t.elapsed());
  let t=Instant::now(); let b = r.next(1<<20, Duration::from_secs(5)).await.unwrap(); println!("first {:?} {}", t.elapsed(), b[0].events.len());
  let t=Instant::now(); drop(r); println!("drop {:?}", t.elapsed());
  }
  let t=Instant::now(); log.close().await.unwrap(); println!("close {:?}", t.elapsed());
}
