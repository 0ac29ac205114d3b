//! What anybody sees who asks the database itself.

use sg_core::ports::ErrorKind;
use sg_core::testing::store_suite::{self as suite, Feed, StoreUnderTest, T0, rollups};

use super::server::{Fresh, select};

async fn filled() -> Option<Fresh> {
    let fresh = Fresh::new().await?;
    let mut feed = Feed::claim(&fresh, &rollups(), 0).await;
    let hour_before_1970 = -T0 - 3_600_000;
    let huge = "9999999999999999.99";
    let first =
        [(hour_before_1970, "old", "-1.50"), (0, "a", "1.25"), (59_999, "a", "2"), (90_000, "b", huge)];
    feed.write(&fresh, 120_000, &first).await;
    feed.write(&fresh, 120_000, &[(120_000, "c", "1"), (1_234, "a", "-0.5")]).await;
    Some(fresh)
}

/// Times are shown in the session's zone, windows are cut in UTC all the same.
#[tokio::test]
async fn shows_rollups_in_every_time_zone() {
    let Some(fresh) = filled().await else { return };
    let outside = fresh.outside().await;
    for (zone, midnight, before, last) in [
        ("UTC", "2025-01-01 00:0_:00+00", "1969-12-31 23:0_:00+00", "2025-01-01 01:00:00+00"),
        (
            "Asia/Kathmandu",
            "2025-01-01 05:4_:00+0545",
            "1970-01-01 04:3_:00+0530",
            "2025-01-01 06:45:00+0545",
        ),
    ] {
        outside.batch_execute(&format!("SET TIME ZONE '{zone}'")).await.expect("the zone is known");
        let at = |pattern: &str, minute: u32| {
            let base = if pattern.contains(":4_") { 5 } else { 0 };
            pattern
                .replace('_', &(base + minute).to_string())
                .replace("+0545", "+05:45")
                .replace("+0530", "+05:30")
        };
        let (m, b) = (|minute| at(midnight, minute), |minute| at(before, minute));
        let expect = format!(
            "event_type|window_start|window_end|event_count|total|least|most|mean|late_count|revision|is_final\n\
             old|{}|{}|1|-1.50|-1.50|-1.50|-1.50000000|0|0|t\n\
             a|{}|{}|3|2.75|-0.50|2.00|0.91666667|1|1|t\n\
             b|{}|{}|1|9999999999999999.99|9999999999999999.99|9999999999999999.99|9999999999999999.99000000|0|0|f\n\
             c|{}|{}|1|1.00|1.00|1.00|1.00000000|0|0|f",
            b(0),
            b(1),
            m(0),
            m(1),
            m(1),
            m(2),
            m(2),
            m(3)
        );
        assert_eq!(select(&outside, "SELECT * FROM by_type ORDER BY window_start").await, expect);
        let hours = select(&outside, "SELECT * FROM by_hour ORDER BY window_start").await;
        let whole = format!(
            "{}|{}|5|10000000000000003.74|-0.50|9999999999999999.99|2000000000000000.74800000|0|0|f",
            m(0),
            at(last, 0)
        );
        assert_eq!(hours.lines().nth(2), Some(whole.as_str()), "{hours}");
        assert_eq!(hours.lines().count(), 3, "{hours}");
    }
    fresh.drop().await;
}

#[tokio::test]
async fn shows_raw_events_under_two_names() {
    let Some(fresh) = filled().await else { return };
    let outside = fresh.outside().await;
    outside.batch_execute("SET TIME ZONE 'UTC'").await.expect("the zone is known");
    assert_eq!(
        select(&outside, "SELECT * FROM events WHERE event_name = 'a' ORDER BY timestamp LIMIT 1").await,
        "event_id|user_id|session_id|event_name|metadata|timestamp|processed_at\n\
         e0-1|u1||a|{\"amount\": \"1.25\"}|2025-01-01 00:00:00+00|2025-01-01 00:00:00+00"
    );
    assert_eq!(
        select(&outside, "SELECT *, payload->>'amount' AS amount FROM web_events WHERE id = 5").await,
        "id|event_id|session_id|event_type|ts|payload|amount\n\
         5|e0-5||a|2025-01-01 00:00:01.234+00|{\"amount\": \"-0.5\"}|-0.5"
    );
    assert_eq!(
        select(&outside, "SELECT pg_typeof(metadata), pg_typeof(timestamp) FROM events LIMIT 1").await,
        "pg_typeof|pg_typeof\njsonb|timestamp with time zone"
    );
    fresh.drop().await;
}

#[tokio::test]
async fn answers_the_query_of_the_hourly_aggregations() {
    let Some(fresh) = Fresh::new().await else { return };
    let mut hourly = rollups().remove(1);
    hourly.name = "hourly_aggregations".to_owned();
    hourly.by = vec!["event_type".to_owned()];
    hourly.measures.truncate(1);
    let mut feed = Feed::claim(&fresh, &[hourly], 0).await;
    let events = [(0, "a", "1"), (-1_800_000, "a", "1"), (-3_600_001, "a", "1"), (0, "b", "1")];
    feed.write(&fresh, 0, &events).await;
    let outside = fresh.outside().await;
    let sql = "SELECT event_type, SUM(event_count) AS total FROM hourly_aggregations GROUP BY event_type ORDER BY 1";
    assert_eq!(select(&outside, sql).await, "event_type|total\na|3\nb|1");
    let types = "SELECT DISTINCT pg_typeof(event_count) AS count, pg_typeof(is_final) AS final, \
                 pg_typeof(window_start) AS start FROM hourly_aggregations";
    assert_eq!(select(&outside, types).await, "count|final|start\nbigint|boolean|timestamp with time zone");
    fresh.drop().await;
}

/// A start that changes nothing changes no view: whoever reads one is not held up, and keeps the right to.
#[tokio::test]
async fn leaves_views_alone_that_are_as_they_should_be() {
    let Some(fresh) = filled().await else { return };
    let outside = fresh.outside().await;
    outside.batch_execute("CREATE VIEW mine AS SELECT * FROM by_type").await.expect("the name is free");
    outside
        .batch_execute("BEGIN; SELECT * FROM by_type; SELECT * FROM events")
        .await
        .expect("they are there");
    fresh.writer().prepare(&[suite::stream()], &rollups()).await.expect("nothing has changed");
    outside.batch_execute("COMMIT").await.expect("it only read");
    // One of an older binary is made anew, also when its columns were others.
    outside
        .batch_execute(
            "DROP VIEW mine; DROP VIEW by_type; CREATE VIEW by_type AS SELECT 1 AS window_end; \
             UPDATE sg_views SET definition = 'old' WHERE view = 'by_type'",
        )
        .await
        .expect("they are there");
    fresh.writer().prepare(&[suite::stream()], &rollups()).await.expect("the view is ours");
    assert!(select(&outside, "SELECT * FROM by_type").await.starts_with("event_type|window_start"));
    fresh.drop().await;
}

#[tokio::test]
async fn refuses_names_that_are_taken() {
    let Some(fresh) = Fresh::new().await else { return };
    let outside = fresh.outside().await;
    outside
        .batch_execute("CREATE TABLE mine (n int); CREATE VIEW yours AS SELECT 1")
        .await
        .expect("they are free");
    let long = "x".repeat(64);
    let cases = [
        ("sg_streams", "x"),
        ("pg_x", "x"),
        ("mine", "x"),
        ("yours", "x"),
        ("", "x"),
        (long.as_str(), "x"),
        ("fine", "window_start"),
        ("fine", long.as_str()),
    ];
    for (name, column) in cases {
        let mut rollup = rollups().remove(0);
        rollup.name = name.to_owned();
        rollup.measures[0].name = column.to_owned();
        let refused = fresh.writer().prepare(&[suite::stream()], &[rollup]).await.expect_err("it is taken");
        assert_eq!(refused.kind, ErrorKind::Invalid, "{name}: {refused}");
    }
    let mut twice = rollups();
    fresh.writer().prepare(&[suite::stream()], &twice[..1]).await.expect("it is alone");
    twice[0].name = "By_Type".to_owned();
    let refused = fresh.writer().prepare(&[suite::stream()], &twice[..1]).await.expect_err("it is stored");
    assert!(refused.to_string().contains("case only"), "{refused}");
    let mut odd = rollups().remove(0);
    odd.name = "odd \"name\"; DROP TABLE sg_streams --".to_owned();
    odd.by = vec!["a \"b\"".to_owned()];
    let mut longest = odd.clone();
    longest.name = format!("{}1", "ü".repeat(31));
    let mut as_long = odd.clone();
    as_long.name = format!("{}2", "ü".repeat(31));
    let mut stream = suite::stream();
    stream.name = "s".repeat(100);
    let all = [odd, longest, as_long];
    fresh.writer().prepare(&[suite::stream(), stream], &all).await.expect_err("two raw tables have one name");
    fresh.writer().prepare(&[suite::stream()], &all).await.expect("names are quoted, long ones cut");
    for rollup in &all {
        assert_eq!(suite::cells(&fresh, rollup).await, []);
    }
    fresh.drop().await;
}
