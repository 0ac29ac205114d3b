//! Writes rows as JSON, NDJSON or CSV. Numbers keep all their digits: they are written as text, never through a float.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sg_core::definition::Rollup;
use sg_core::query::Row;
use sg_core::time::Timestamp;

use crate::error::ApiError;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Ndjson,
    Csv,
}

impl Format {
    pub(crate) fn parse(text: Option<&str>) -> Result<Format, ApiError> {
        match text {
            None | Some("json") => Ok(Format::Json),
            Some("ndjson") => Ok(Format::Ndjson),
            Some("csv") => Ok(Format::Csv),
            Some(other) => Err(ApiError::BadQuery(format!("format is json, csv or ndjson, not {other}"))),
        }
    }
}

/// Makes a response of one JSON text.
pub(crate) fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Makes a response of rows that are already JSON objects, one a line.
pub(crate) fn ndjson(rows: &[String]) -> Response {
    let mut text = rows.join("\n");
    if !rows.is_empty() {
        text.push('\n');
    }
    ([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response()
}

/// Adds where the next page begins to an answer whose body has no room for it.
pub(crate) fn with_cursor(mut answer: Response, cursor: Option<&str>) -> Response {
    if let Some(cursor) = cursor.and_then(|cursor| HeaderValue::from_str(cursor).ok()) {
        answer.headers_mut().insert("x-next-cursor", cursor);
    }
    answer
}

/// Returns a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a time as a JSON string; `null` before anything was seen.
pub(crate) fn time(at: Timestamp) -> String {
    if at == Timestamp::NEVER { "null".to_owned() } else { format!("\"{at}\"") }
}

/// Returns one row as a JSON object.
pub(crate) fn row_json(rollup: &Rollup, row: &Row, closed_to: Timestamp) -> String {
    let mut text = format!("{{\"window_start\":\"{}\",\"window_end\":\"{}\"", row.start, row.end);
    push_cell(&mut text, rollup, row);
    let is_final = row.end <= closed_to;
    text += &format!(
        ",\"late_count\":{},\"revision\":{},\"is_final\":{is_final}}}",
        row.late_count, row.revision
    );
    text
}

/// Appends the dimensions and measures of a row as members.
pub(crate) fn push_cell(text: &mut String, rollup: &Rollup, row: &Row) {
    for (name, value) in rollup.by.iter().zip(&row.dimensions) {
        *text += &format!(",{}:{}", quoted(name), quoted(value));
    }
    push_measures(text, rollup, row);
}

/// Appends the measures of a row as members.
pub(crate) fn push_measures(text: &mut String, rollup: &Rollup, row: &Row) {
    for (measure, value) in rollup.measures.iter().zip(&row.values) {
        let shown = value.show(&measure.function).unwrap_or_else(|| "null".to_owned());
        *text += &format!(",{}:{shown}", quoted(&measure.name));
    }
}

/// Writes rows as CSV with a heading. Texts that a spreadsheet would take for a formula get a leading apostrophe.
pub(crate) fn csv(rollup: &Rollup, rows: &[Row], closed_to: Timestamp) -> Result<Response, ApiError> {
    let failed = |error: csv::Error| ApiError::Internal(format!("writing CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut heading = vec!["window_start", "window_end"];
    heading.extend(rollup.by.iter().map(String::as_str));
    heading.extend(rollup.measures.iter().map(|measure| measure.name.as_str()));
    heading.extend(["late_count", "revision", "is_final"]);
    writer.write_record(&heading).map_err(failed)?;
    for row in rows {
        let mut record = vec![row.start.to_string(), row.end.to_string()];
        record.extend(row.dimensions.iter().map(|text| harmless(text)));
        let shown = rollup
            .measures
            .iter()
            .zip(&row.values)
            .map(|(measure, value)| value.show(&measure.function).unwrap_or_default());
        record.extend(shown);
        record.extend([
            row.late_count.to_string(),
            row.revision.to_string(),
            (row.end <= closed_to).to_string(),
        ]);
        writer.write_record(&record).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| ApiError::Internal(format!("writing CSV: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], bytes).into_response())
}

fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}
