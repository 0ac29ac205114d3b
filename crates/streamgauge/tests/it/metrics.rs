//! What servers announce to Prometheus is what `docs/metrics.md` lists, and what rules and alerts ask for is among it;
//! each alert has its part of the runbook and its test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::harness::collector::Collector;
use crate::harness::services::Services;
use crate::harness::{Launch, PATIENCE, Server, until};

/// What is known of a metric: its kind, its labels, what it means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Known {
    kind: String,
    labels: BTreeSet<String>,
    meaning: String,
}

type Metrics = BTreeMap<String, Known>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Adds what a text in Prometheus's format announces; a metric without a line beside its help is not looked at.
fn announced(text: &str, into: &mut Metrics) {
    let mut meanings = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            meanings.insert(name, help.trim_end_matches('.'));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let known = into.entry(name.to_owned()).or_default();
            (known.kind, known.meaning) = (kind.to_owned(), meanings[name].to_owned());
        } else if let Some((name, rest)) = line.split_once('{') {
            let suffixes = ["_bucket", "_sum", "_count"];
            let base = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
            let base = base.filter(|base| into.contains_key(*base)).unwrap_or(name);
            let labels = rest.split_once('}').map_or("", |(labels, _)| labels);
            let names = labels.split(',').filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
            let known = into.get_mut(base).unwrap_or_else(|| panic!("{base} has no # TYPE"));
            known.labels.extend(names.filter(|name| *name != "le").map(str::to_owned));
        }
    }
}

/// Returns what the page lists.
fn listed() -> Metrics {
    let page = read("docs/metrics.md");
    // What goes to CloudWatch has names of its own.
    let page = page.split("## CloudWatch").next().unwrap_or_default();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("four cells, not {row}") };
        let labels = labels.split(',').map(str::trim).filter(|label| !label.is_empty());
        let known = Known {
            kind: kind.to_owned(),
            labels: labels.map(str::to_owned).collect(),
            meaning: meaning.to_owned(),
        };
        (name.trim_end_matches('`').to_owned(), known)
    };
    rows.map(row).collect()
}

/// Makes every metric have a line, and reads both pages.
fn scrape(server: &Server, into: &mut Metrics) {
    let event = r#"{"event_type":"chat_message","stream_id":"s1"}"#;
    assert_eq!(server.post("/v1/events", &[], event).status, 202);
    assert_eq!(server.post("/v1/flush", &[], "").status, 200);
    assert_eq!(server.get("/metrics?minutes=10").status, 200);
    let mut text = String::new();
    let lines = ["watermark_timestamp_seconds", "archive_lost_records_total", "archive_failing"];
    let lines = lines.map(|name| format!("streamgauge_{name}{{"));
    until(PATIENCE, "the watermark and the archive have lines", || {
        text = server.get("/metrics").text();
        lines.iter().all(|line| text.contains(line))
    });
    announced(&text, into);
    announced(&server.get("/prometheus").text(), into);
}

const STREAM: &str = r#"
    [[stream]]
    name = "stream.events"
    archive_closed = { age = "1s" }
    [[rollup]]
    name = "stream_metrics_minute"
    stream = "stream.events"
    window = "1m"
    by = ["stream_id"]
    [[rollup.measure]]
    name = "active_viewers"
    fn = "level"
    up = { event_type = "viewer_join" }
    down = { event_type = "viewer_leave" }
    [[rollup.measure]]
    name = "chat_messages"
    fn = "count"
    [[rollup.measure]]
    name = "donations_usd"
    fn = "sum"
    field = "amount_usd"
"#;

#[test]
fn the_page_lists_what_servers_announce_and_nothing_else() {
    let collector = Collector::start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let archive = format!("file:{}", folder.path().display());
    let launch = |toml: String| {
        let traced = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())];
        Server::ready(&Launch::new().config(&toml).args(&["--archive", &archive]).variables(&traced))
    };
    let mut served = Metrics::new();
    scrape(&launch(STREAM.to_owned()), &mut served);
    let mut expected = listed();
    if let Some(services) = Services::shared() {
        let name = format!("metrics_{}", std::process::id());
        let (kafka, database) = (services.kafka(), services.database(&name));
        let stream = STREAM.replace("[[rollup]]", &format!("topic = \"{name}\"\n[[rollup]]"));
        let toml = format!(
            "log = \"kafka://{kafka}\"\nstore = \"{database}\"\n[kafka]\ngroup = \"{name}\"\n{stream}"
        );
        scrape(&launch(toml), &mut served);
    } else {
        expected.retain(|name, _| !name.starts_with("streamgauge_kafka_"));
    }
    for (name, known) in &served {
        let listed =
            expected.get(name).unwrap_or_else(|| panic!("docs/metrics.md does not list {name}: {known:?}"));
        assert_eq!(known, listed, "{name}, as it is served and as docs/metrics.md has it");
    }
    let missing: Vec<&String> = expected.keys().filter(|name| !served.contains_key(*name)).collect();
    assert!(missing.is_empty(), "docs/metrics.md lists what nobody serves: {missing:?}");
}

#[test]
fn the_times_of_events_are_told_when_queries_see_them() {
    let server = Server::start(&[]);
    let body = r#"[{"event_type":"a"},{"event_type":"a","event_id":"e"},{"event_type":"a","event_id":"e"}]"#;
    assert_eq!(server.post("/v1/events?wait=true", &[], body).status, 202);
    let text = server.get("/metrics").text();
    // A copy takes its time like any record, and is counted in no window.
    for (name, count) in [("commit_latency", 3), ("visible_latency", 3), ("lateness", 2)] {
        let line = format!("streamgauge_event_{name}_seconds_count{{stream=\"events\"}} {count}\n");
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
    let bucket = |bound: &str| {
        let line =
            format!("streamgauge_event_visible_latency_seconds_bucket{{stream=\"events\",le=\"{bound}\"}} ");
        text.lines().find_map(|text| text.strip_prefix(&line)?.parse::<u64>().ok())
    };
    assert_eq!((bucket("3600"), bucket("+Inf")), (Some(3), Some(3)), "it took no hour");
}

/// Returns the values of a key in a file of rules.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let strip =
        |line: &'t str| line.trim_start().trim_start_matches("- ").strip_prefix(key)?.strip_prefix(": ");
    text.lines().filter_map(strip).map(|value| value.trim_matches(['\'', '"'])).collect()
}

/// Returns the words of a text that may be names of metrics of ours or of what rules record.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|at: char| !at.is_ascii_alphanumeric() && at != '_' && at != ':');
    words.filter(|word| word.starts_with("streamgauge_") || word.starts_with("streamgauge:")).collect()
}

#[test]
fn rules_and_panels_ask_for_metrics_that_are_listed() {
    let (rules, alerts) = (read("deploy/prometheus/rules.yml"), read("deploy/prometheus/alerts.yml"));
    let recorded: BTreeSet<&str> = values(&rules, "record").into_iter().collect();
    let listed = listed();
    let is_known = |name: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_series = base.and_then(|base| listed.get(base)).is_some_and(|known| known.kind == "histogram");
        listed.contains_key(name) || recorded.contains(name) || is_series
    };
    let mut texts = vec![rules.clone(), alerts];
    let dashboards = std::fs::read_dir(root().join("deploy/grafana/dashboards")).expect("a folder");
    for file in dashboards {
        let path = file.expect("an entry").path();
        let dashboard: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).expect("a dashboard")).expect("JSON");
        let panels = dashboard["panels"].as_array().expect("panels").iter();
        let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
        texts.extend(targets.filter_map(|target| Some(target["expr"].as_str()?.to_owned())));
    }
    assert!(texts.len() > 40, "{} expressions", texts.len());
    for text in &texts {
        let unknown: Vec<&str> = names(text).into_iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "nobody serves {unknown:?}, for which this asks: {text}");
    }
}

#[test]
fn every_alert_has_its_part_of_the_runbook_and_its_tests() {
    let (alerts, tests, runbook) =
        (read("deploy/prometheus/alerts.yml"), read("deploy/prometheus/tests.yml"), read("docs/runbook.md"));
    let (names, urls) = (values(&alerts, "alert"), values(&alerts, "runbook_url"));
    assert!(names.len() == urls.len() && names.len() > 20, "{} alerts, {} urls", names.len(), urls.len());
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    let anchors: BTreeSet<String> =
        headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect();
    let (fires, rests) =
        (values(&tests, "alertname"), tests.lines().filter(|line| line.contains("exp_alerts: []")));
    let rests: String = rests.collect();
    for (name, url) in names.iter().zip(&urls) {
        let anchor = url.strip_prefix("docs/runbook.md#").unwrap_or_else(|| panic!("{name}: {url}"));
        assert!(anchors.contains(anchor), "{name}: docs/runbook.md has no {anchor}");
        assert!(runbook.contains(&format!("`{name}`")), "{name} is not named in docs/runbook.md");
        assert!(fires.contains(name), "deploy/prometheus/tests.yml does not make {name} fire");
        assert!(
            rests.contains(&format!("alertname: {name},")),
            "tests.yml has no healthy server beside {name}"
        );
    }
}
