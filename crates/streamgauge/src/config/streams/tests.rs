//! The files in `pipelines/` define what the built-in configuration defines: each a part of it, none another one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::layers::Layers;
use super::super::settings::Settings;

/// Each file with the streams and rollups that it defines.
const PIPELINES: [(&str, &[&str], &[&str]); 5] = [
    ("event-platform.toml", &["events"], &["hourly_aggregations"]),
    ("hourly-aggregations.toml", &["events"], &["hourly_aggregations"]),
    ("pageviews.toml", &["pageviews"], &["pageview_aggregates"]),
    ("stream-metrics.toml", &["stream.events"], &["stream_metrics_minute"]),
    ("web-analytics.toml", &["events"], &["hourly_aggregations"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines")
}

fn settings(file: Option<&str>) -> Settings {
    let mut layers = Layers::builtin().expect("the built-in configuration is TOML");
    if let Some(file) = file {
        layers.file(Some(&folder().join(file))).expect("the file is TOML");
    }
    Settings::resolve(&layers).expect("the configuration is right")
}

#[test]
fn a_pipeline_is_a_part_of_the_built_in_configuration() {
    let builtin = settings(None);
    let mut defined = BTreeSet::new();
    for (file, streams, rollups) in PIPELINES {
        let pipeline = settings(Some(file));
        let named: Vec<&str> = pipeline.streams.iter().map(|known| known.stream.name.as_str()).collect();
        assert_eq!(named, streams, "{file}");
        for found in &pipeline.streams {
            let name = &found.stream.name;
            let expect = builtin.streams.iter().find(|known| known.stream.name == *name);
            assert_eq!(Some(found), expect, "{file}: stream {name}");
            defined.insert(name.clone());
        }
        let named: Vec<&str> = pipeline.rollups.iter().map(|rollup| rollup.name.as_str()).collect();
        assert_eq!(named, rollups, "{file}");
        for found in &pipeline.rollups {
            let expect = builtin.rollups.iter().find(|known| known.name == found.name);
            assert_eq!(Some(found), expect, "{file}: rollup {}", found.name);
            assert_eq!(Some(found.hash()), expect.map(|rollup| rollup.hash()), "{file}: {}", found.name);
            defined.insert(found.name.clone());
        }
    }
    let streams = builtin.streams.into_iter().map(|known| known.stream.name);
    let all: BTreeSet<String> =
        streams.chain(builtin.rollups.into_iter().map(|rollup| rollup.name)).collect();
    assert_eq!(defined, all, "each stream and rollup belongs to a pipeline");
}

#[test]
fn every_file_is_known_here() {
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be read").file_name().to_string_lossy().into_owned())
        .collect();
    let known: BTreeSet<String> = PIPELINES.iter().map(|(file, ..)| (*file).to_owned()).collect();
    assert_eq!(files, known);
}
