//! throw-away
use std::sync::Arc;
use std::time::{Duration, Instant};
use bytes::Bytes;
use sg_core::batch::*;
use sg_core::definition::*;
use sg_core::fold::Fold;
use sg_core::plan::*;
use sg_core::ports::*;
use sg_core::time::*;
use sg_store::sqlite::SqliteStore;
struct C;
impl Clock for C { fn now(&self) -> Timestamp { Timestamp(1_735_689_600_000) } }
fn cpu() -> u64 { for t in std::fs::read_dir("/proc/self/task").unwrap() { let p = t.unwrap().path(); if std::fs::read_to_string(p.join("comm")).unwrap().trim() == "store-writer" { return std::fs::read_to_string(p.join("schedstat")).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap() / 1000; } } 0 }
fn rss() -> u64 { std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap()*4/1024 }
fn main() {
    let mode = std::env::args().nth(1).unwrap();
    let flushes: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let per: usize = std::env::args().nth(3).unwrap().parse().unwrap();
    let dir = std::env::args().nth(4).unwrap_or("/tmp/speed".into());
    let _ = std::fs::remove_dir_all(&dir); std::fs::create_dir_all(&dir).unwrap();
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    rt.block_on(async move {
        let store = Arc::new(SqliteStore::open(format!("{dir}/s.db").as_ref(), Arc::new(C)).unwrap());
        let raw = mode == "raw";
        let stream = Stream { name: "events".into(), default_type: "".into(), derive_id: false, partition_by: vec![], require: vec![],
            raw_table: raw.then(|| RawTable { name: "events".into(), keep: Duration::from_secs(86400*7) }), dedup: Dedup { records: 100_000, horizon: Duration::from_secs(86400) }, max_future: Duration::from_secs(300), idle_timeout: Duration::from_secs(30) };
        let rollup = Rollup { name: "r".into(), stream: "events".into(), window_ms: 60_000, pane_ms: 60_000, grace_ms: if mode=="late" {-1_000_000_000} else {30_000}, late: LatePolicy::Correct, keep_ms: 86_400_000*90, by: vec![if raw {"event_type".into()} else {"user_id".into()}],
            measures: if mode == "sum" { vec![Measure { name: "c".into(), function: Function::Count, filter: Condition::default() }, Measure { name: "s".into(), function: Function::Sum(NumberField { name: "amount".into(), scale: 2 }), filter: Condition::default() }] } else { vec![Measure { name: "c".into(), function: Function::Count, filter: Condition::default() }] } };
        store.prepare(&[stream.clone()], &[rollup.clone()]).await.unwrap();
        let plan = Arc::new(Plan::new(stream, &[rollup]));
        let cp = store.claim(&Claim { plan: plan.clone(), partition: 0, owner: "x".into(), log_identity: "l".into(), start: 0 }).await.unwrap();
        let mut fold = Fold::resume(plan.clone(), 0, &cp, 1);
        let mut at = 0u64; let mut times = vec![]; let t0 = 1_735_689_600_000i64; let mut total = Duration::ZERO; let mut rng = 12345u64;
        for f in 0..flushes {
            let mut text = String::new(); let mut ends = vec![];
            for i in 0..per {
                rng ^= rng << 13; rng ^= rng >> 7; rng ^= rng << 17;
                let ts = t0 + (f as i64 / 4) * 60_000 + (i as i64 % 1000);
                let user = if raw { rng % 10_000 } else { i as u64 };
                text += &format!(r#"{{"event_id":"{:016x}{:08x}","event_type":"t{}","timestamp":{ts},"user_id":"user-{user:06}","properties":{{"path":"/home","amount":"1.25"}}}}"#, rng, at + i as u64, i % 10);
                ends.push(text.len());
            }
            let mut b = EventBatch::new(plan.name.clone(), Bytes::from(text)); let main = b.main.clone();
            let mut s = 0; for e in ends { let mut n = || String::new(); let mut a = Arrival { received_at: Timestamp(t0 + 86_400_000), new_id: &mut n }; plan.accept(std::str::from_utf8(&main[s..e]).unwrap(), &mut a, &mut b).unwrap(); s = e; }
            fold.batch(&LogBatch { events: Arc::new(b), first_offset: at, appended_at: Timestamp(t0 + 86_400_000), places: None }, u64::MAX);
            at += per as u64;
            let flush = Arc::new(fold.take().unwrap());
            let t = Instant::now();
            assert_eq!(store.flush(flush).await.unwrap(), FlushOutcome::Done);
            let d = t.elapsed(); total += d; times.push(d.as_micros());
            if f % 4 == 3 { store.outbox_sent("events", i64::MAX).await.unwrap(); }
        }
        times.sort();
        let t = Instant::now(); store.sync().await.unwrap();
        println!("writer cpu: {:.0} k rows/s", (flushes*per) as f64 / cpu() as f64 * 1e3);
        println!("{mode} {flushes}x{per}: {:.0} k rows/s; flush p50 {} us p90 {} p99 {} max {}; sync {:?}; rss {} MiB; db {} MiB wal {} MiB", (flushes*per) as f64 / total.as_secs_f64() / 1e3, times[times.len()/2], times[times.len()*9/10], times[times.len()*99/100], times[times.len()-1], t.elapsed(), rss(), std::fs::metadata(format!("{dir}/s.db")).unwrap().len() >> 20, std::fs::metadata(format!("{dir}/s.db-wal")).map(|m| m.len()>>20).unwrap_or(0));
    });
}
