//! What alarms of pageviews watch is published to CloudWatch, in their namespace and under their names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::archive::archived;
use crate::harness::receiver::{Received, Receiver};
use crate::harness::{Launch, PATIENCE, Server, run_with, until};

const KEYS: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "the-key"),
    ("AWS_SECRET_ACCESS_KEY", "the-secret"),
    ("AWS_REGION", "eu-west-1"),
    ("STREAMGAUGE_CLOUDWATCH__ENABLED", "true"),
];

/// A metric's name, with its dimension where it has one.
type Name = (String, Option<String>);

/// Returns the namespace and the numbers of one request.
fn numbers(received: &Received) -> (String, BTreeMap<Name, f64>) {
    let mut members: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut namespace = String::new();
    for (name, value) in form_urlencoded::parse(&received.body) {
        match name.strip_prefix("MetricData.member.").and_then(|rest| rest.split_once('.')) {
            Some((member, part)) => {
                members.entry(member.to_owned()).or_default().insert(part.to_owned(), value.into_owned());
            }
            None if name == "Namespace" => namespace = value.into_owned(),
            None => {}
        }
    }
    let number = |member: &BTreeMap<String, String>| {
        let tag = member.get("Dimensions.member.1.Name");
        let tag = tag.map(|name| format!("{name}={}", member["Dimensions.member.1.Value"]));
        ((member["MetricName"].clone(), tag), member["Value"].parse().expect("a number"))
    };
    (namespace, members.values().map(number).collect())
}

/// Adds up what was published of a metric.
fn sum(receiver: &Receiver, name: &str, tag: Option<&str>) -> f64 {
    let name = (name.to_owned(), tag.map(str::to_owned));
    receiver.received().iter().filter_map(|received| numbers(received).1.get(&name).copied()).sum()
}

#[test]
fn the_alarms_of_terraform_see_what_is_published() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let archive = format!("file:{}", folder.path().display());
    let more = [
        ("AWS_ENDPOINT_URL_CLOUDWATCH", receiver.url()),
        ("STREAMGAUGE_STREAM__PAGEVIEWS__ARCHIVE__AGE", "1s"),
    ];
    let launch = Launch::new().args(&["--archive", &archive]).variables(&KEYS).variables(&more);
    let mut server = Server::ready(&launch);
    until(PATIENCE, "the first step is published at once", || !receiver.received().is_empty());
    let pageview = r#"{"user_id":1,"postcode":"SW19","webpage":"w","timestamp":1611662684}"#;
    assert_eq!(server.post("/api/pageviews", &[], pageview).status, 202);
    assert_eq!(server.post("/api/pageviews/batch", &[], format!("[{pageview},{pageview}]")).status, 202);
    archived(&server);
    assert_eq!(server.terminate().code(), Some(0), "{}", server.stderr());

    assert_eq!(sum(&receiver, "pageviews.produced", None), 3.0);
    assert_eq!(sum(&receiver, "pageviews.produced", Some("endpoint=single")), 1.0);
    assert_eq!(sum(&receiver, "pageviews.produced", Some("endpoint=batch")), 2.0);
    assert!(sum(&receiver, "s3.writes", None) >= 1.0);
    assert_eq!(sum(&receiver, "s3.writes", None), sum(&receiver, "s3.writes", Some("writer=raw")));
    assert!(sum(&receiver, "s3.write.duration", Some("writer=raw")) > 0.0);
    assert_eq!(sum(&receiver, "s3.errors", None), 0.0);
    let all = receiver.received();
    let (namespace, last) = numbers(&all[all.len() - 1]);
    assert_eq!(last[&("streams.up".to_owned(), None)], 1.0);
    assert_eq!(last[&("consumer.lag".to_owned(), None)], 0.0);

    let terraform = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/terraform").join(file);
        std::fs::read_to_string(path).expect("it is there")
    };
    let (alarms, variables) = (terraform("main.tf"), terraform("variables.tf"));
    let value = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
    let is_name = |line: &&str| line.trim_start().starts_with("metric_name");
    let watched: BTreeSet<String> = alarms.lines().filter(is_name).map(value).collect();
    assert_eq!(watched.len(), 4, "{watched:?}");
    assert!(!alarms.contains("dimensions"), "alarms watch what is of all: {alarms}");
    for name in watched {
        assert!(last.contains_key(&(name.clone(), None)), "{name} is watched and not published: {last:?}");
    }
    assert!(variables.contains(&format!("default     = \"{namespace}\"")), "{namespace} in\n{variables}");
}

#[test]
fn requests_are_signed_and_hold_no_secret() {
    let receiver = Receiver::start();
    let server =
        Server::ready(&Launch::new().variables(&KEYS).variables(&[("AWS_ENDPOINT_URL", receiver.url())]));
    until(PATIENCE, "a step is published", || !receiver.received().is_empty());
    let request = receiver.received().remove(0);
    let signed = &request.headers["authorization"];
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=the-key/"), "{signed}");
    assert!(signed.contains("/eu-west-1/monitoring/aws4_request"), "{signed}");
    assert!(signed.contains("content-type;host;"), "{signed}");
    assert!(!format!("{request:?}").contains("the-secret"));
    assert!(!server.stderr().contains("the-secret"));
    // Without an archive there is nothing to say of it.
    assert!(!numbers(&request).1.keys().any(|(name, _)| name.starts_with("s3.")), "{request:?}");
}

#[test]
fn what_cloudwatch_does_not_take_is_said_once_and_stops_nothing() {
    // Nobody listens on port 9 of this machine.
    let away = [("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")];
    let mut server = Server::ready(&Launch::new().variables(&KEYS).variables(&away));
    assert_eq!(server.post("/v1/events", &[], r#"{"event_type":"a"}"#).status, 202);
    assert_eq!(server.terminate().code(), Some(0), "{}", server.stderr());
    assert_eq!(server.stderr().matches("publishing to CloudWatch").count(), 1, "{}", server.stderr());
}

#[test]
fn it_needs_a_region() {
    let output = run_with(&[("STREAMGAUGE_CLOUDWATCH__ENABLED", "true")], &["config", "check"]);
    assert_eq!(output.status.code(), Some(78));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("cloudwatch.enabled: there is no region: name it in AWS_REGION"), "{stderr}");
}
