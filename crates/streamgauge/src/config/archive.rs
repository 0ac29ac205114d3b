//! Reads where and how streams are archived.

use std::time::Duration;

use sg_archive::Place;
use sg_core::archive::{ArchiveRules, Compression, FILE_BYTES_MAX, FileKind, Format, HourOf, Layout};
use sg_core::output::{CellShape, Outputs};

use super::reader::{Errors, Reader};

/// How a stream is archived, and where to if not where the others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamArchive {
    pub(crate) place: Option<Place>,
    pub(crate) rules: ArchiveRules,
}

/// How a stream's files of lines are archived, and what the lines look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineArchive {
    pub(crate) place: Option<Place>,
    pub(crate) rules: ArchiveRules,
    pub(crate) shape: CellShape,
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
    let layout = layout(&mut table, default_layout(stream), errors);
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
    sizes(&mut table, &mut rules, errors);
    table.finish(errors);
    Some(StreamArchive { place, rules })
}

/// Reads the files of closed windows or late events of a stream; `None` when there are none. Their lines look like the
/// records of the topic of closed windows unless it is said otherwise.
pub(crate) fn lines(
    item: &mut Reader<'_>,
    kind: FileKind,
    (stream, outputs): (&str, &Outputs),
    errors: &mut Errors,
) -> Option<LineArchive> {
    let key = if kind == FileKind::Late { "archive_late" } else { "archive_closed" };
    let mut table = item.table_or_off(key, errors)?;
    let url = table.text("url", "", errors);
    let place = if url.is_empty() { None } else { place(&table.place("url"), &url, errors) };
    let default = format!("{stream}/{{yyyy}}/{{MM}}/{{dd}}/{}-{{ts}}.ndjson", kind.name());
    let layout = layout(&mut table, parsed(&default), errors);
    let mut rules = rules(layout);
    match table.text("format", "ndjson", errors).as_str() {
        "ndjson" => {}
        "parquet" => errors.add(
            &table.place("format"),
            "is ndjson: these files hold lines as their topics do; only raw events can be parquet",
        ),
        other => errors.add(&table.place("format"), format!("is ndjson, not {other}")),
    }
    rules.compression = compression(&mut table, rules.format, errors);
    sizes(&mut table, &mut rules, errors);
    let of_topic = outputs.closed.as_ref().map(|closed| &closed.shape);
    let has_zone = table.switch("zone", of_topic.is_none_or(|shape| shape.has_zone), errors);
    let mut fields = table.texts("fields", errors);
    if fields.is_empty() {
        fields = of_topic.map(|shape| shape.fields.clone()).unwrap_or_default();
    }
    table.finish(errors);
    Some(LineArchive { place, rules, shape: CellShape { has_zone, fields } })
}

/// Reads when a file ends and how long it is kept.
fn sizes(table: &mut Reader<'_>, rules: &mut ArchiveRules, errors: &mut Errors) {
    rules.rows = table.count("rows", DEFAULTS.0, errors);
    rules.bytes = table.size("bytes", DEFAULTS.1, errors);
    rules.age = table.duration("age", DEFAULTS.2, errors);
    let keep = table.duration("keep", Duration::ZERO, errors);
    rules.keep = (!keep.is_zero()).then_some(keep);
    let bytes_max = table.size("max_bytes", 0, errors);
    rules.keep_bytes_max = (bytes_max > 0).then_some(bytes_max);
    check(table, rules, errors);
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

fn layout(table: &mut Reader<'_>, default: Layout, errors: &mut Errors) -> Layout {
    let text = table.text("layout", "", errors);
    if text.is_empty() {
        return default;
    }
    Layout::parse(&text).unwrap_or_else(|why| {
        errors.add(&table.place("layout"), format!("{text} {why}"));
        default
    })
}

/// Names of streams are made of what paths may hold.
fn default_layout(stream: &str) -> Layout {
    parsed(&format!("{stream}/{{yyyy}}/{{MM}}/{{dd}}/{{HH}}/events-{{ts}}.ndjson"))
}

fn parsed(text: &str) -> Layout {
    let plain = || Layout::parse("events-{ts}.ndjson").expect("the layout is right");
    // A stream whose name is none is an error of its own.
    Layout::parse(text).unwrap_or_else(|_| plain())
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
    ArchiveRules { layout, hour_of, format, compression, rows, bytes, age, keep: None, keep_bytes_max: None }
}
