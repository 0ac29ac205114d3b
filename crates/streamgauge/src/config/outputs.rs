//! Reads `outputs` of a stream: topics for what becomes known, and the shape of their records.

use sg_core::definition::Rollup;
use sg_core::output::{CELL_FIELDS, CellShape, ClosedOutput, Outputs};

use super::reader::{Errors, Reader};
use super::settings::StreamSettings;

/// Characters of a topic's name, as Kafka has it.
const TOPIC_CHARS_MAX: usize = 249;

/// Reads the topics of a stream; none where nothing is said.
pub(crate) fn outputs(item: &mut Reader<'_>, errors: &mut Errors) -> Outputs {
    let Some(mut table) = item.table("outputs", errors) else { return Outputs::default() };
    let closed = closed(&mut table, errors);
    let late = Some(table.text("late", "", errors)).filter(|topic| !topic.is_empty());
    let dead_letters = table.texts("dead_letters", errors);
    let place = table.place("dead_letters");
    for (at, topic) in dead_letters.iter().enumerate() {
        if dead_letters[..at].contains(topic) {
            errors.add(&place, format!("{topic} stands twice"));
        }
    }
    let outputs = Outputs { closed, late, dead_letters, ..Outputs::default() };
    for topic in outputs.topics().into_iter().filter(|topic| !is_topic(topic)) {
        let rule = "letters, digits, . _ and -, at most 249";
        errors.add(&item.place("outputs"), format!("{topic:?} is no topic's name: {rule}"));
    }
    table.finish(errors);
    outputs
}

/// A topic alone, or a table that also says what its records look like.
fn closed(table: &mut Reader<'_>, errors: &mut Errors) -> Option<ClosedOutput> {
    if !table.holds_table("closed") {
        let topic = table.text("closed", "", errors);
        return (!topic.is_empty()).then(|| ClosedOutput { topic, shape: plain() });
    }
    let mut closed = table.table("closed", errors)?;
    let output = ClosedOutput {
        topic: closed.required("topic", errors),
        shape: CellShape {
            has_zone: closed.switch("zone", true, errors),
            fields: closed.texts("fields", errors),
        },
    };
    closed.finish(errors);
    Some(output)
}

fn plain() -> CellShape {
    CellShape { has_zone: true, fields: Vec::new() }
}

fn is_topic(name: &str) -> bool {
    let is_fine = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    !matches!(name, "" | "." | "..") && name.len() <= TOPIC_CHARS_MAX && name.chars().all(is_fine)
}

/// Checks what takes all streams and rollups: fields that there are, and topics that feed no stream.
pub(crate) fn check(streams: &[StreamSettings], rollups: &[Rollup], errors: &mut Errors) {
    for (at, settings) in streams.iter().enumerate() {
        let (stream, place) = (&settings.stream, format!("stream.{at}.outputs"));
        for topic in stream.outputs.topics() {
            if let Some(fed) = streams.iter().find(|other| other.topic == topic) {
                errors.add(
                    &place,
                    format!(
                        "{topic} is the topic of the stream {}: what is written there would come in again",
                        fed.stream.name
                    ),
                );
            }
        }
        let topic = stream.outputs.closed.as_ref().map(|closed| &closed.shape);
        // What files have from the topic is wrong there already.
        let own = |shape: &&CellShape| topic.is_none_or(|topic| topic.fields != shape.fields);
        let shapes = [
            ("outputs.closed", topic),
            ("archive_closed", settings.archive_closed.as_ref().map(|files| &files.shape).filter(own)),
            ("archive_late", settings.archive_late.as_ref().map(|files| &files.shape).filter(own)),
        ];
        let of_stream = || rollups.iter().filter(|rollup| rollup.stream == stream.name);
        for (key, shape) in shapes {
            let fields = shape.into_iter().flat_map(|shape| &shape.fields);
            for (field, rollup) in fields.flat_map(|field| of_stream().map(move |rollup| (field, rollup))) {
                if !is_field(field, rollup) {
                    errors.add(
                        &format!("stream.{at}.{key}.fields"),
                        format!("{field} is no dimension or measure of {}", rollup.name),
                    );
                }
            }
        }
    }
}

fn is_field(field: &String, rollup: &Rollup) -> bool {
    let is_measure = rollup.measures.iter().any(|measure| measure.name == *field);
    is_measure || rollup.by.contains(field) || CELL_FIELDS.contains(&field.as_str())
}

/// Takes the outputs away where there is no Kafka to write to; returns what the operator should know of it.
pub(crate) fn without_kafka(streams: &mut [StreamSettings]) -> Option<String> {
    let mut names = Vec::new();
    for settings in streams.iter_mut().filter(|settings| !settings.stream.outputs.has_no_topics()) {
        settings.stream.outputs = Outputs::default();
        names.push(settings.stream.name.as_str());
    }
    (!names.is_empty()).then(|| {
        format!(
            "outputs of {} need a Kafka log: with an embedded one no topics are written",
            names.join(", ")
        )
    })
}
