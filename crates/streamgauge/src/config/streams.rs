//! Reads `[[stream]]` and `[[rollup]]` into the core's definitions.

use std::collections::BTreeSet;
use std::time::Duration;

use sg_core::archive::FileKind;
use sg_core::definition::{Dedup, FieldType, Keep, LatePolicy, LettersKept, RawTable, Rollup, Stream};
use sg_core::time::millis;
use sg_http::Answers;
use toml::Value;

use super::archive;
use super::fields;
use super::layers::Layers;
use super::measures::measure;
use super::outputs;
use super::reader::{Errors, Reader};
use super::settings::StreamSettings;

const DAY: Duration = Duration::from_secs(86_400);
const DEFAULT_MAX_FUTURE: Duration = Duration::from_secs(300);
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_DEDUP: Dedup = Dedup { records: 500_000, horizon: DAY };
const DEFAULT_RAW_KEEP: Duration = Duration::from_secs(7 * 86_400);
/// Cells of panes under an hour are many, so they are kept for a shorter time.
const DEFAULT_KEEP: (Duration, Duration) =
    (Duration::from_secs(90 * 86_400), Duration::from_secs(400 * 86_400));
const HOUR_MS: i64 = 3_600_000;
/// Parameters of queries, beside which dimensions stand.
const QUERY_PARAMETERS: [&str; 10] =
    ["from", "to", "interval", "tz", "fill", "limit", "cursor", "format", "by", "n"];
/// Columns that every rollup's view has.
const RESERVED_COLUMNS: [&str; 5] = ["window_start", "window_end", "late_count", "revision", "is_final"];

/// Reads all streams.
pub(crate) fn streams(reader: &mut Reader<'_>, errors: &mut Errors) -> Vec<StreamSettings> {
    let mut all = Vec::new();
    let mut names = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for mut item in reader.tables("stream", errors) {
        let read = stream(&mut item, errors);
        check_name(&item.place("name"), &read.stream.name, errors);
        if !names.insert(read.stream.name.clone()) {
            errors.add(&item.place("name"), format!("{} stands twice", read.stream.name));
        }
        for path in &read.paths {
            if !path.starts_with('/') || path.contains(['{', '}', '?', '#', ' ']) {
                errors.add(
                    &item.place("paths"),
                    format!("{path} is no path: it begins with / and has no braces"),
                );
            }
            if !paths.insert(path.clone()) {
                errors.add(&item.place("paths"), format!("{path} belongs to two streams"));
            }
        }
        item.finish(errors);
        all.push(read);
    }
    if all.is_empty() {
        errors.add("stream", "at least one stream is needed");
    }
    all
}

fn stream(item: &mut Reader<'_>, errors: &mut Errors) -> StreamSettings {
    let name = item.required("name", errors);
    let topic = item.text("topic", &name, errors);
    let raw_table = item.table_or_off("raw_table", errors).map(|mut table| {
        let raw = RawTable {
            name: table.required("name", errors),
            keep: table.duration("keep", DEFAULT_RAW_KEEP, errors),
            rows_max: rows_max(&mut table, errors),
        };
        check_name(&table.place("name"), &raw.name, errors);
        table.finish(errors);
        raw
    });
    let dedup = item.table("dedup", errors).map_or(DEFAULT_DEDUP, |mut table| {
        let dedup = Dedup {
            records: table.count("records", DEFAULT_DEDUP.records, errors),
            horizon: table.duration("horizon", DEFAULT_DEDUP.horizon, errors),
        };
        if !(1..=1_000_000_000).contains(&dedup.records) {
            errors.add(&table.place("records"), "is between 1 and 1000000000");
        }
        table.finish(errors);
        dedup
    });
    let outputs = outputs::outputs(item, errors);
    StreamSettings {
        archive: archive::stream(item, &name, errors),
        archive_closed: archive::lines(item, FileKind::Closed, (&name, &outputs), errors),
        archive_late: archive::lines(item, FileKind::Late, (&name, &outputs), errors),
        topic,
        paths: item.texts("paths", errors),
        answer: answer(item, errors),
        stream: Stream {
            default_type: item.text("default_type", "", errors),
            derive_id: item.switch("derive_id", false, errors),
            fields: fields::names(item, errors),
            partition_by: item.texts("partition_by", errors),
            require: item.texts("require", errors),
            types: types(item, errors),
            max_future: item.duration("max_future", DEFAULT_MAX_FUTURE, errors),
            idle_timeout: item.duration("idle_timeout", DEFAULT_IDLE_TIMEOUT, errors),
            outputs,
            letters: LettersKept {
                dead_letters: kept(item, "dead_letters", errors),
                late: kept(item, "late_events", errors),
            },
            raw_table,
            dedup,
            name,
        },
    }
}

/// Reads how long rows of a kind are kept.
fn kept(item: &mut Reader<'_>, key: &'static str, errors: &mut Errors) -> Keep {
    let default = Keep::default();
    let Some(mut table) = item.table(key, errors) else { return default };
    let keep =
        Keep { age: table.duration("keep", default.age, errors), rows_max: rows_max(&mut table, errors) };
    table.finish(errors);
    keep
}

fn rows_max(table: &mut Reader<'_>, errors: &mut Errors) -> Option<u64> {
    Some(table.count("max_rows", 0, errors)).filter(|rows| *rows > 0)
}

fn types(item: &mut Reader<'_>, errors: &mut Errors) -> Vec<(String, FieldType)> {
    let place = item.place("types");
    let mut types = Vec::new();
    for (name, kind) in item.pairs("types", errors) {
        match kind.as_str() {
            "text" => types.push((name, FieldType::Text)),
            "number" => types.push((name, FieldType::Number)),
            other => errors.add(&place, format!("{name} is text or number, not {other}")),
        }
    }
    types
}

fn answer(item: &mut Reader<'_>, errors: &mut Errors) -> Answers {
    match item.text("answer", "counts", errors).as_str() {
        "counts" => Answers::Counts,
        "empty" => Answers::Empty,
        other => {
            errors.add(&item.place("answer"), format!("is counts or empty, not {other}"));
            Answers::Counts
        }
    }
}

/// Reads all rollups.
pub(crate) fn rollups(
    reader: &mut Reader<'_>,
    streams: &[StreamSettings],
    errors: &mut Errors,
) -> Vec<Rollup> {
    let mut all = Vec::new();
    let mut names: BTreeSet<String> = streams
        .iter()
        .filter_map(|settings| settings.stream.raw_table.as_ref())
        .map(|table| table.name.clone())
        .collect();
    for mut item in reader.tables("rollup", errors) {
        let rollup = rollup(&mut item, errors);
        check_name(&item.place("name"), &rollup.name, errors);
        if !names.insert(rollup.name.clone()) {
            errors.add(&item.place("name"), format!("{} stands twice", rollup.name));
        }
        if !streams.iter().any(|settings| settings.stream.name == rollup.stream) {
            let there: Vec<&str> = streams.iter().map(|settings| settings.stream.name.as_str()).collect();
            errors.add(
                &item.place("stream"),
                format!(
                    "there is no stream {} for the rollup {}, only {}; a file that defines streams defines its rollups too",
                    rollup.stream,
                    rollup.name,
                    there.join(", ")
                ),
            );
        }
        check_columns(&item, &rollup, errors);
        item.finish(errors);
        all.push(rollup);
    }
    all
}

fn rollup(item: &mut Reader<'_>, errors: &mut Errors) -> Rollup {
    let name = item.required("name", errors);
    let stream = item.required("stream", errors);
    let window_ms = millis(item.duration("window", Duration::ZERO, errors));
    let pane_ms = millis(item.duration("pane", Duration::from_millis(window_ms.unsigned_abs()), errors));
    if window_ms <= 0 || window_ms % 1_000 != 0 {
        errors.add(&item.place("window"), "is at least 1s, in whole seconds");
    } else if pane_ms <= 0 || pane_ms % 1_000 != 0 || window_ms % pane_ms != 0 {
        errors.add(&item.place("pane"), "divides the window, in whole seconds");
    }
    let late = match item.text("late", "correct", errors).as_str() {
        "correct" => LatePolicy::Correct,
        "divert" => LatePolicy::Divert,
        other => {
            errors.add(&item.place("late"), format!("is correct or divert, not {other}"));
            LatePolicy::Correct
        }
    };
    let keep = if pane_ms < HOUR_MS { DEFAULT_KEEP.0 } else { DEFAULT_KEEP.1 };
    let grace_ms = millis(item.duration("grace", Duration::ZERO, errors));
    let keep_ms = millis(item.duration("keep", keep, errors));
    let by = item.texts("by", errors);
    let measures = item
        .tables("measure", errors)
        .into_iter()
        .map(|measure_item| measure(measure_item, errors))
        .collect::<Vec<_>>();
    if measures.is_empty() {
        errors.add(&item.place("measure"), "at least one [[rollup.measure]] is needed");
    }
    let rollup = Rollup { name, stream, window_ms, pane_ms, grace_ms, late, keep_ms, by, measures };
    if rollup.has_levels() && late == LatePolicy::Divert {
        errors.add(&item.place("late"), "a level counts every event: with a level it is correct, not divert");
    }
    if rollup.has_sketches() && pane_ms != window_ms {
        errors
            .add(&item.place("pane"), "with distinct, quantile or top the pane is the window: leave it out");
    }
    rollup
}

/// Names become tables, columns, metrics and paths.
fn check_name(place: &str, name: &str, errors: &mut Errors) {
    let is_fine = !name.is_empty()
        && name.len() <= 60
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-'));
    if !is_fine {
        errors.add(
            place,
            format!("{name:?} is no name: at most 60 letters, digits, _ . -, beginning with a letter"),
        );
    }
    if name.starts_with("sg_") {
        errors.add(place, "names that begin with sg_ belong to Streamgauge");
    }
}

fn check_columns(item: &Reader<'_>, rollup: &Rollup, errors: &mut Errors) {
    for name in rollup.by.iter().filter(|name| QUERY_PARAMETERS.contains(&name.as_str())) {
        errors.add(
            &item.place("by"),
            format!("{name} is a parameter of every query: a dimension of that name could not be asked for"),
        );
    }
    let mut columns = BTreeSet::new();
    let measures = rollup.measures.iter().map(|measure| &measure.name);
    for column in rollup.by.iter().chain(measures) {
        if RESERVED_COLUMNS.contains(&column.as_str()) {
            errors.add(
                &item.place("measure"),
                format!("{column} is a column of every rollup: choose another name"),
            );
        }
        if !columns.insert(column.to_ascii_lowercase()) {
            errors
                .add(&item.place("measure"), format!("{column} stands twice among dimensions and measures"));
        }
    }
}

/// Says which built-in rollups a file's own have taken the place of, where the streams that they are of are still there.
pub(crate) fn displaced(streams: &[StreamSettings], rollups: &[Rollup]) -> Option<String> {
    let builtin = Layers::builtin().ok()?;
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_left_out = |item: &&Value| {
        let (name, of) = (text(item, "name"), text(item, "stream"));
        streams.iter().any(|stream| Some(&stream.stream.name) == of.as_ref())
            && !rollups.iter().any(|rollup| Some(&rollup.name) == name.as_ref())
    };
    let all = builtin.table.get("rollup")?.as_array()?.iter();
    let names: Vec<String> = all.filter(is_left_out).filter_map(|item| text(item, "name")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "the built-in rollups {} are not in this configuration and not counted: a file with a [[rollup]] defines all of them",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests;
