//! Questions that take too long.

use super::*;

#[tokio::test]
async fn stops_what_takes_too_long() {
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let path = folder.path().join("store.db");
    Connection::open(&path)
        .and_then(|file| file.execute_batch("CREATE TABLE t (n)"))
        .expect("the folder is new");
    let pool = Pool::new(&path).within(Duration::from_millis(20));
    let endless = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n";
    let ask = |sql: &'static str| {
        pool.read("counting", move |connection, _| {
            Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)
        })
    };
    for _ in 0..3 {
        let stopped = ask(endless).await.expect_err("it does not end");
        assert_eq!(stopped.kind, ErrorKind::Retry);
        assert!(stopped.is_overdue(), "{stopped:?}");
        assert!(stopped.to_string().starts_with("counting: it took too long"), "{stopped}");
    }
    assert_eq!(ask("SELECT 7").await.expect("it is short"), 7);
}

#[test]
fn short_statements_look_at_the_clock_themselves() {
    assert!(Deadline::after(Duration::from_secs(3_600)).check().is_ok());
    let over = Deadline::after(Duration::ZERO).check().expect_err("it is over");
    let over = over.into_port("reading");
    assert_eq!((over.kind, over.is_overdue()), (ErrorKind::Retry, true), "{over:?}");
}
