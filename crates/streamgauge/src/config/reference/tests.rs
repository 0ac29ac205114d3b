//! Every key is described, nothing else is, and the page in `docs` is the one that the binary writes.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_key_is_described_and_nothing_else() {
    let keys = keys().expect("the keys can be listed");
    let known: BTreeSet<&str> = keys.iter().map(|key| key.place.as_str()).collect();
    let descriptions = descriptions().expect("TOML");
    let described: BTreeSet<&str> = descriptions.keys().map(String::as_str).collect();
    let missing: Vec<&&str> = known.difference(&described).collect();
    assert!(missing.is_empty(), "say in config/descriptions.toml what these keys mean: {missing:?}");
    let unknown: Vec<&&str> = described.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "config/descriptions.toml has keys that nobody asks for; if they are new, give their table a place in \
         config/every_key.toml: {unknown:?}"
    );
    assert!(descriptions.values().all(|about| about.as_str().is_some_and(|about| !about.contains('|'))));
}

#[test]
fn the_page_is_what_the_binary_writes() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let written = std::fs::read_to_string(path).expect("the page is there");
    let page = page().expect("the page can be written");
    let differing = page.lines().zip(written.lines()).find(|(now, before)| now != before);
    assert!(
        page == written,
        "docs/configuration.md is old: `streamgauge config keys > docs/configuration.md`; first {differing:?}"
    );
}

#[test]
fn variables_are_those_that_set_the_key() {
    for (place, expect) in [
        ("log", "STREAMGAUGE_LOG"),
        ("flush.interval", "STREAMGAUGE_FLUSH__INTERVAL"),
        ("listen.address", "STREAMGAUGE_LISTEN__N__ADDRESS"),
        ("stream.dedup.records", "STREAMGAUGE_STREAM__NAME__DEDUP__RECORDS"),
        ("rollup.stream", "STREAMGAUGE_ROLLUP__NAME__STREAM"),
        ("rollup.measure.field", "STREAMGAUGE_ROLLUP__NAME__MEASURE__NAME__FIELD"),
    ] {
        assert_eq!(variable(place), expect);
    }
    let mut layers = Layers::builtin().expect("TOML");
    let set = [
        ("STREAMGAUGE_STREAM__STREAM_EVENTS__DEDUP__RECORDS", "7"),
        ("STREAMGAUGE_ROLLUP__STREAM_METRICS_MINUTE__MEASURE__DONATIONS_USD__SCALE", "3"),
    ];
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    assert!(layers.environment(set).is_empty());
    let settings = Settings::resolve(&layers).expect("right");
    assert_eq!(settings.streams[2].stream.dedup.records, 7);
}

#[test]
fn defaults_are_shown_as_one_would_write_them() {
    let keys = keys().expect("the keys can be listed");
    let default = |place: &str| {
        let key = keys.iter().find(|key| key.place == place).unwrap_or_else(|| panic!("no {place}"));
        (key.kind, key.default.clone())
    };
    assert_eq!(default("flush.interval"), ("duration", "\"250ms\"".to_owned()));
    assert_eq!(default("embedded.segment"), ("size", "\"64MiB\"".to_owned()));
    assert_eq!(default("stream.max_future"), ("duration", "\"5m\"".to_owned()));
    assert_eq!(default("stream.outputs.closed").0, "text or table");
    assert_eq!(default("stream.topic"), ("text", String::new()), "it is the stream's name");
    assert_eq!(default("rollup.measure.q"), ("share", "0.5".to_owned()));
}
