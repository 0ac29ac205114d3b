//! x
#![allow(clippy::all, clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]
use std::sync::Arc; use std::time::*; use bytes::Bytes;
use sg_core::batch::*; use sg_core::ports::*; use sg_core::time::*; use sg_log::*;
struct C; impl Clock for C { fn now(&self)->Timestamp{ Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)}}
fn batch(n: usize)->EventBatch{
  let mut text=String::new(); let mut at=vec![];
  for i in 0..n { let e=format!("{{\"event_id\":\"{:08}-aaaa-bbbb\",\"event_type\":\"click\",\"stream_id\":\"s{:04}\",\"timestamp\":\"2025-01-01T00:00:00.{:03}Z\",\"user\":\"u{:06}\"}}",i,i%1000,i%1000,i); at.push((text.len(), e.len())); text.push_str(&e); text.push('\n'); }
  let mut b=EventBatch::new(Arc::from("events"), Bytes::from(text));
  for (i,(a,l)) in at.into_iter().enumerate(){ let raw=Span::main(a,l); let c=content_hash(b.bytes(raw));
    b.entries.push(Entry{raw,id:Span::main(a+13,18),kind:Span::main(a+48,5),key_hash:i as u64*7919,event_time:Some(Timestamp(1735689600000+i as i64*37%5000)),received_at:Some(Timestamp(1735689600000)),content:c}); }
  b }
fn main(){
  let rt=tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
  let dir=std::path::PathBuf::from(std::env::args().nth(1).unwrap()); let _=std::fs::remove_dir_all(&dir);
  let secs=4.0;
  rt.block_on(async {
    let log=EmbeddedLog::open(Options::new(&dir, Arc::new(C), Arc::new(RealDisk))).unwrap();
    let b=batch(1000); println!("event bytes {}", b.main.len()/1000);
    for tasks in [8usize,32] { let start=Instant::now(); let mut js=vec![];
      for _ in 0..tasks { let log=log.clone(); let b=b.clone(); js.push(tokio::spawn(async move { let mut n=0u64; while start.elapsed().as_secs_f64()<secs { log.append(b.clone()).await.unwrap(); n+=1000;} n})); }
      let mut t=0; for j in js { t+=j.await.unwrap(); } println!("{tasks} x 1000: {:.2} M/s, pool {:?} segs {:?}", t as f64/start.elapsed().as_secs_f64()/1e6, log.stats().pool_segments, log.stats().segments); 
      log.trim(&[("events".into(),0,u64::MAX)]).await.unwrap(); }
    let one=batch(1);
    for tasks in [1usize,64,256] { let s0=log.stats().syncs.load(std::sync::atomic::Ordering::Relaxed); let start=Instant::now(); let mut js=vec![];
      for _ in 0..tasks { let log=log.clone(); let b=one.clone(); js.push(tokio::spawn(async move { let mut n=0u64; while start.elapsed().as_secs_f64()<secs { log.append(b.clone()).await.unwrap(); n+=1;} n})); }
      let mut t=0; for j in js { t+=j.await.unwrap(); } let s1=log.stats().syncs.load(std::sync::atomic::Ordering::Relaxed); println!("{tasks} x 1: {:.1} k/s syncs {:.1} k/s", t as f64/start.elapsed().as_secs_f64()/1e3, (s1-s0) as f64/start.elapsed().as_secs_f64()/1e3); }
    log.close().await.unwrap();
    drop(log);
    let t=Instant::now(); let log=EmbeddedLog::open(Options::new(&dir, Arc::new(C), Arc::new(RealDisk))).unwrap(); println!("reopen {:?}", t.elapsed());
    let e=log.extent("events",0).await.unwrap(); let t=Instant::now(); let mut r=log.open("events",0,e.start).await.unwrap(); let mut n=0; let mut by=0; while n<e.end-e.start { let bs=r.next(4<<20,Duration::ZERO).await.unwrap(); for b in &bs { n+=b.events.len() as u64; by+=b.events.main.len(); } } println!("read {n} events {} MB in {:?}", by>>20, t.elapsed());
  });
}
