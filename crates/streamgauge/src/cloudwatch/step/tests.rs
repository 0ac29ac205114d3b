//! What a step publishes, and how it is written.

use super::*;

const RAW: Option<(&str, &str)> = Some(("writer", "raw"));

fn reading(name: &'static str, measured: Measured) -> Reading {
    Reading { name, tag: RAW, measured }
}

fn values(steps: &Steps, readings: &[Reading]) -> Vec<f64> {
    steps.since_published(readings).iter().map(|datum| datum.value).collect()
}

#[test]
fn a_step_has_what_came_since_the_last_that_was_published() {
    let mut steps = Steps::default();
    let now = |count, times, ms| {
        [
            reading("s3.writes", Measured::Grown(count)),
            reading("s3.write.duration", Measured::Took { times, ms }),
            reading("consumer.lag", Measured::Is(count)),
        ]
    };
    assert_eq!(values(&steps, &now(3, 2, 10.0)), [3.0, 5.0, 3.0]);
    // It was not published: the next has both.
    assert_eq!(values(&steps, &now(4, 3, 18.0)), [4.0, 6.0, 4.0]);
    steps.published(&now(4, 3, 18.0));
    assert_eq!(values(&steps, &now(4, 3, 18.0)), [0.0, 4.0], "no duration where nothing took any");
    assert_eq!(values(&steps, &now(9, 5, 20.0)), [5.0, 1.0, 9.0]);
}

#[test]
fn readings_of_one_name_are_told_apart_by_their_tag() {
    let mut steps = Steps::default();
    steps.published(&[reading("s3.writes", Measured::Grown(3))]);
    let all = Reading { tag: None, ..reading("s3.writes", Measured::Grown(7)) };
    assert_eq!(values(&steps, &[all, reading("s3.writes", Measured::Grown(4))]), [7.0, 1.0]);
}

#[test]
fn a_step_is_written_as_the_query_protocol_has_it() {
    let data = [
        Datum { name: "s3.writes", tag: RAW, value: 2.0, unit: "Count" },
        Datum { name: "s3.write.duration", tag: None, value: 1.5, unit: "Milliseconds" },
    ];
    let body = body("A b/c", &data, Timestamp(1_700_000_000_000));
    let pairs: Vec<String> = form_urlencoded::parse(body.as_bytes())
        .map(|(name, value)| format!("{}={value}", name.replace("MetricData.member.", "#")))
        .collect();
    assert_eq!(
        pairs,
        [
            "Action=PutMetricData",
            "Version=2010-08-01",
            "Namespace=A b/c",
            "#1.MetricName=s3.writes",
            "#1.Timestamp=2023-11-14T22:13:20Z",
            "#1.Unit=Count",
            "#1.Value=2",
            "#1.Dimensions.member.1.Name=writer",
            "#1.Dimensions.member.1.Value=raw",
            "#2.MetricName=s3.write.duration",
            "#2.Timestamp=2023-11-14T22:13:20Z",
            "#2.Unit=Milliseconds",
            "#2.Value=1.5",
        ]
    );
}
