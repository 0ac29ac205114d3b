//! What the arguments mean, what each form means, and which of both goes before a variable.

use clap::Parser as _;
use sg_core::time::Timestamp;

use super::super::{Args, Form};
use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// The seed of forms that were given none.
const RANDOM: u64 = 77;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    let words = std::iter::once("simulate").chain(line.split_whitespace());
    Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).args
}

/// Works out `A=1 B=2 --flag …`.
fn planned(line: &str) -> Result<Plan, String> {
    let is_variable = |word: &&str| word.contains('=') && !word.starts_with("--");
    let (variables, words): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(is_variable);
    let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables = variables.into_iter().filter_map(pair).collect();
    Plan::new(&args(&words.join(" ")), &variables, NOW, RANDOM).map_err(|misused| misused.to_string())
}

fn plan(line: &str) -> Plan {
    planned(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn what_the_arguments_mean() {
    let check = |line: &str, events: u64, step_us: u64, start_ms: i64| {
        let shape = plan(line).shape;
        assert_eq!((shape.events, shape.step_us, shape.start.0), (events, step_us, start_ms), "{line}");
        assert_eq!(shape.seed, 1);
    };
    let new_year = 1_735_689_600_000;
    check("", 100_000, 36_000, new_year);
    check("--events 10 --duration 1s", 10, 100_000, new_year);
    check("--rate 20", 100_000, 50_000, new_year);
    check("--rate 20 --duration 5m", 6_000, 50_000, new_year);
    check("--rate 20 --duration 5m --events 3000", 3_000, 100_000, new_year);
    check("--start 2021-01-26T12:04:00Z", 100_000, 36_000, 1_611_662_640_000);
    // The run ends now, or when its last event will have been sent.
    check("--start now --events 1000", 1_000, 36_000, NOW.0 - 36_000);
    check("--start now --events 1000 --rate 10", 1_000, 100_000, NOW.0);
    check("--start now --events 1000 --rate 10 --duration 150s", 1_000, 150_000, NOW.0 - 50_000);
    // Another system's variables are no matter where none of its forms is meant.
    check("EVENT_COUNT=5 EVENTS_PER_SEC=1 KAFKA_BOOTSTRAP_SERVERS=broker:9092", 100_000, 36_000, new_year);
    assert!(planned("--events 0").is_err());
    assert!(planned("--rate 1 --duration 1ms").is_err());
}

/// Events, event time between two in microseconds, events of a request.
type Expected = (u64, u64, u64);

#[test]
fn forms_are_what_their_producers_are() {
    let check = |line: &str, expect: Expected, pace: Pace, dating: Dating| {
        let plan = plan(line);
        assert_eq!((plan.shape.events, plan.shape.step_us, plan.batch), expect, "{line}");
        assert_eq!((plan.pace, plan.dating), (pace, dating), "{line}");
        assert_eq!((plan.shape.start, plan.shape.seed), (NOW, RANDOM), "{line}");
    };
    let even = |events: u64, seconds: u64| Pace::Even { events, within: Duration::from_secs(seconds) };
    let irregular = |ms: u64| Pace::Irregular { mean: Duration::from_millis(ms) };
    let rush = Pace::AsAnswered;
    check("--form default", (u64::MAX, 0, 1), irregular(200), Dating::WhenMade);
    check("--form default --rate 50 --duration 10s", (500, 0, 1), irregular(20), Dating::WhenMade);
    check("--form bulk", (100_000, 0, 1_000), rush, Dating::WhenMade);
    check("EVENT_COUNT=500 --form bulk", (500, 0, 1_000), rush, Dating::WhenMade);
    check("EVENT_COUNT=500 --form bulk --events 7 --batch 2", (7, 0, 2), rush, Dating::WhenMade);
    check("EVENT_COUNT= --form bulk", (100_000, 0, 1_000), rush, Dating::WhenMade);
    // Five million a day: one in 17.28 ms.
    check("--form simulation", (208_333, 17_280, 5), even(208_333, 3_600), Dating::ByStep);
    check(
        "--form simulation --duration 24h",
        (5_000_000, 17_280, 5),
        even(5_000_000, 86_400),
        Dating::ByStep,
    );
    let day = "SIMULATION_DURATION_HOURS=24 TARGET_EVENT_COUNT=864000 --form simulation";
    check(day, (864_000, 100_000, 1), even(864_000, 86_400), Dating::ByStep);
    check(
        &format!("{day} --duration 12h --events 432000"),
        (432_000, 100_000, 1),
        even(432_000, 43_200),
        Dating::ByStep,
    );
    check(
        "SIMULATION_DURATION_HOURS=0.5 --form simulation",
        (104_166, 17_280, 5),
        even(104_166, 1_800),
        Dating::ByStep,
    );
    check("--form generator", (u64::MAX, 50_000, 2), even(20_000, 1_000), Dating::ByStep);
    check(
        "EVENTS_PER_SEC=0.5 --form generator --events 3",
        (3, 2_000_000, 1),
        even(500, 1_000),
        Dating::ByStep,
    );
    check(
        "EVENTS_PER_SEC=9 --form generator --rate 100 --duration 3s",
        (300, 10_000, 10),
        even(100_000, 1_000),
        Dating::ByStep,
    );
    check("--form send-events", (300, 0, 1), rush, Dating::WhenMade);
    check("--form send-events --rate 30", (300, 0, 1), even(30_000, 1_000), Dating::WhenMade);
    assert_eq!(plan("--form generator --seed 3").shape.seed, 3);
    assert_eq!(plan("--form bulk --late 2%").shape.late_ppm, 20_000);
}

#[test]
fn whom_events_are_about() {
    let crowd = |names: &[&str], users: u64| Cast::Crowd {
        streams: names.iter().map(|&name| name.to_owned()).collect(),
        users,
    };
    let check = |line: &str, cast: Cast| assert_eq!(plan(line).shape.cast, cast, "{line}");
    let usual = ["stream_1", "stream_2", "stream_3"];
    check("--form generator", crowd(&usual, 500));
    check("STREAM_IDS=a,b USER_COUNT=9 --form generator", crowd(&["a", "b"], 9));
    check("STREAM_IDS=2 --form generator --users 4", crowd(&usual[..2], 4));
    check("STREAM_IDS=a USER_COUNT=9 --form generator --stream-ids x,y", crowd(&["x", "y"], 9));
    check("--stream stream.events --users 4", crowd(&usual, 4));
    check("--form send-events", Cast::Named { users: 30 });
    check("--form bulk", Cast::Usual);
}

#[test]
fn where_events_go() {
    let check = |line: &str, url: &str, path: Option<&str>, brokers: Option<&str>| {
        let plan = plan(line);
        assert_eq!(
            (plan.target.url.as_str(), plan.path, plan.brokers.as_deref()),
            (url, path, brokers),
            "{line}"
        );
    };
    let usual = "http://127.0.0.1:8080";
    let variable = "KAFKA_BOOTSTRAP_SERVERS=broker:29092";
    check("--form bulk", usual, None, None);
    check(&format!("{variable} --form bulk"), usual, None, Some("broker:29092"));
    check(&format!("{variable} --form generator --kafka other:1"), usual, None, Some("other:1"));
    check(&format!("{variable} --form bulk --url http://a:1"), "http://a:1", None, None);
    check(&format!("{variable} --form bulk --url {usual}"), usual, None, None);
    check(&format!("{variable} --kafka"), usual, None, Some("broker:29092"));
    check(variable, usual, None, None);
    check(&format!("{variable} --form send-events"), "http://127.0.0.1:8004", Some("/events"), None);
    check("--form send-events --url http://a:1", "http://a:1", Some("/events"), None);
    check("--form send-events --url http://a:1/b/events", "http://a:1/b", Some("/events"), None);
}

#[test]
fn what_makes_no_sense_is_named() {
    for (line, told) in [
        ("--form bulk --rate 5", "--rate makes no sense with --form bulk"),
        ("--form bulk --duration 5s", "--duration makes no sense"),
        ("--form simulation --rate 5", "--rate makes no sense"),
        ("--form send-events --batch 5", "--batch makes no sense"),
        ("--form send-events --kafka a:1", "--kafka makes no sense"),
        ("--form default --batch 5", "--batch makes no sense"),
        ("--form bulk --users 5", "--users makes no sense"),
        ("--users 5", "--users makes no sense with --stream events"),
        ("--form generator --events 5 --duration 5s", "give one"),
        ("--form bulk --events 0", "nothing to send"),
        ("EVENT_COUNT=many --form bulk", "the variable EVENT_COUNT: many is no whole number"),
        ("EVENT_COUNT=-1 --form bulk", "EVENT_COUNT"),
        ("SIMULATION_DURATION_HOURS=1h --form simulation", "SIMULATION_DURATION_HOURS"),
        ("SIMULATION_DURATION_HOURS=0 --form simulation", "SIMULATION_DURATION_HOURS"),
        ("EVENTS_PER_SEC=0 --form generator", "EVENTS_PER_SEC"),
        ("STREAM_IDS=a,,b --form generator", "stream ids"),
        ("USER_COUNT=0 --form generator", "between 1 and 1000000 users"),
        ("--kafka", "names no brokers"),
    ] {
        let error = planned(line).expect_err(line);
        assert!(error.contains(told), "{line}: {error}");
    }
}

#[test]
fn a_form_decides_stream_and_start() {
    for line in ["--form bulk --stream events", "--form bulk --start now", "--form nothing"] {
        let words = std::iter::once("simulate").chain(line.split_whitespace());
        assert!(Line::try_parse_from(words).is_err(), "{line}");
    }
}

#[test]
fn the_table_names_each_form_as_it_is_typed() {
    for form in <Form as clap::ValueEnum>::value_variants() {
        let typed = clap::ValueEnum::to_possible_value(form).expect("every form can be typed");
        assert_eq!(typed.get_name(), form.row().name);
    }
}
