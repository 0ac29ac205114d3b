//! Reads where and how streams are archived.

use std::time::Duration;

use sg_archive::Place;
use sg_core::archive::{ArchiveRules, Compression, FILE_BYTES_MAX, Format, HourOf, Layout};

use super::reader::{Errors, Reader};

/// How a stream is archived, and where to if not where the others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamArchive {
    pub(crate) place: Option<Place>,
    pub(crate) rules: ArchiveRules,
}

/// Rows, bytes and age of a file unless the stream says otherwise.
const DEFAULTS: (u64, u64, Duration) = (1_000, FILE_BYTES_MAX, Duration::from_secs(60));

/// Reads `archive = "off" | URL`; `None` when it is off.
pub(crate) fn place(place: &str, url: &str, errors: &mut Errors) -> Option<Place> {
    if url == "off" {
        return None;
    }
    Place::parse(url).map_err(|why| errors.add(place, why)).ok()
}

/// Reads a stream's `archive`; `None` when it is off.
pub(crate) fn stream(item: &mut Reader<'_>, stream: &str, errors: &mut Errors) -> Option<StreamArchive> {
    let is_off = item.is_off("archive");
    let Some(mut table) = item.table_or_off("archive", errors) else {
        let layout = default_layout(stream);
        return (!is_off).then(|| StreamArchive { place: None, rules: rules(layout) });
    };
    let url = table.text("url", "", errors);
    let place = if url.is_empty() { None } else { place(&table.place("url"), &url, errors) };
    let layout = layout(&mut table, stream, errors);
    let mut rules = rules(layout);
    rules.hour_of = match table.text("hour_of", "received", errors).as_str() {
        "received" => HourOf::Received,
        "event" => HourOf::Event,
        other => {
            errors.add(&table.place("hour_of"), format!("is received or event, not {other}"));
            HourOf::Received
        }
    };
    rules.format = match table.text("format", "ndjson", errors).as_str() {
        "ndjson" => Format::Ndjson,
        "parquet" => Format::Parquet,
        other => {
            errors.add(&table.place("format"), format!("is ndjson or parquet, not {other}"));
            Format::Ndjson
        }
    };
    rules.compression = compression(&mut table, rules.format, errors);
    rules.rows = table.count("rows", DEFAULTS.0, errors);
    rules.bytes = table.size("bytes", DEFAULTS.1, errors);
    rules.age = table.duration("age", DEFAULTS.2, errors);
    let keep = table.duration("keep", Duration::ZERO, errors);
    rules.keep = (!keep.is_zero()).then_some(keep);
    check(&table, &rules, errors);
    table.finish(errors);
    Some(StreamArchive { place, rules })
}

fn check(table: &Reader<'_>, rules: &ArchiveRules, errors: &mut Errors) {
    if !(1..=1_000_000_000).contains(&rules.rows) {
        errors.add(&table.place("rows"), "is between 1 and 1000000000");
    }
    if !(1..=FILE_BYTES_MAX).contains(&rules.bytes) {
        errors.add(&table.place("bytes"), "is between 1 and 64MiB");
    }
    if !(Duration::from_millis(100)..=Duration::from_secs(86_400)).contains(&rules.age) {
        errors.add(&table.place("age"), "is between 100ms and 1d");
    }
}

fn layout(table: &mut Reader<'_>, stream: &str, errors: &mut Errors) -> Layout {
    let text = table.text("layout", "", errors);
    if text.is_empty() {
        return default_layout(stream);
    }
    Layout::parse(&text).unwrap_or_else(|why| {
        errors.add(&table.place("layout"), format!("{text} {why}"));
        default_layout(stream)
    })
}

/// Names of streams are made of what paths may hold.
fn default_layout(stream: &str) -> Layout {
    let text = format!("{stream}/{{yyyy}}/{{MM}}/{{dd}}/{{HH}}/events-{{ts}}.ndjson");
    let plain = || Layout::parse("events-{ts}.ndjson").expect("the layout is right");
    // A stream whose name is none is an error of its own.
    Layout::parse(&text).unwrap_or_else(|_| plain())
}

fn compression(table: &mut Reader<'_>, format: Format, errors: &mut Errors) -> Compression {
    let text = table.text("compression", "none", errors);
    if format == Format::Parquet && text != "none" {
        errors.add(&table.place("compression"), "is left out with parquet, which packs its columns itself");
    }
    match text.as_str() {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        other => {
            errors.add(&table.place("compression"), format!("is none, gzip or zstd, not {other}"));
            Compression::None
        }
    }
}

fn rules(layout: Layout) -> ArchiveRules {
    let (rows, bytes, age) = DEFAULTS;
    let (hour_of, format, compression) = (HourOf::Received, Format::Ndjson, Compression::None);
    ArchiveRules { layout, hour_of, format, compression, rows, bytes, age, keep: None }
}
