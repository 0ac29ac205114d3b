//! `GET /v1/rollups` and the rows of one rollup as the commands read them. Numbers stay text: they are exact.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::Context as _;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Connection, percent_encoded};

/// Rows asked for at once: the most that the server gives.
const PAGE_ROWS: usize = 10_000;

/// What a rollup computes.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Definition {
    /// Its name.
    pub(crate) name: String,
    /// The stream it reads.
    pub(crate) stream: String,
    /// Window length in milliseconds.
    pub(crate) window_ms: i64,
    /// `correct` or `divert`.
    pub(crate) late: String,
    /// The dimensions, in order.
    pub(crate) by: Vec<String>,
    /// The measures, in order.
    pub(crate) measures: Vec<Measure>,
}

/// One number of a cell.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Measure {
    /// Its name.
    pub(crate) name: String,
    /// What is computed.
    #[serde(rename = "fn")]
    pub(crate) function: String,
    /// The field that is read as a number.
    #[serde(default)]
    pub(crate) field: Option<String>,
    /// Digits kept of it after the point.
    #[serde(default)]
    pub(crate) scale: u32,
    /// Fields that must have one of the values given.
    #[serde(default, rename = "where")]
    pub(crate) filter: Condition,
    /// Which events raise a level.
    #[serde(default)]
    pub(crate) up: Condition,
    /// Which events lower a level.
    #[serde(default)]
    pub(crate) down: Condition,
}

/// Fields that must have one of the values given.
pub(crate) type Condition = BTreeMap<String, OneOrMany>;

/// A value, or a list of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One.
    One(String),
    /// Any of these.
    Many(Vec<String>),
}

impl OneOrMany {
    /// Returns whether a value is among them.
    pub(crate) fn has(&self, value: &str) -> bool {
        match self {
            OneOrMany::One(one) => one == value,
            OneOrMany::Many(many) => many.iter().any(|one| one == value),
        }
    }
}

#[derive(Deserialize)]
struct Definitions {
    rollups: Vec<Definition>,
}

/// Asks which rollups there are.
///
/// # Errors
/// When the server does not answer, or not with definitions.
pub(crate) async fn definitions(connection: &mut Connection) -> anyhow::Result<Vec<Definition>> {
    let body = connection.get("/v1/rollups").await?.success("asking for the rollups")?;
    let read: Definitions = serde_json::from_slice(&body).context("reading the rollups")?;
    Ok(read.rollups)
}

/// The members of a row, by name, as JSON.
pub(crate) type Row<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// A page of rows.
#[derive(Deserialize)]
pub(crate) struct Page<'a> {
    /// The rows.
    #[serde(borrow)]
    pub(crate) data: Vec<Row<'a>>,
    /// Where the next page begins.
    pub(crate) next_cursor: Option<String>,
}

/// Asks for all pages of a rollup's rows between two times, and shows each to `take`.
///
/// # Errors
/// When the server does not answer, or not with rows; and the errors of `take`.
pub(crate) async fn each_page(
    connection: &mut Connection,
    rollup: &str,
    (from, to): (&str, &str),
    take: &mut dyn FnMut(&Page<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (name, from, to) = (percent_encoded(rollup), percent_encoded(from), percent_encoded(to));
    let first = format!("/v1/rollups/{name}?from={from}&to={to}&limit={PAGE_ROWS}");
    let mut path = first.clone();
    loop {
        let body: Bytes = connection.get(&path).await?.success("asking for rows")?;
        let page: Page<'_> =
            serde_json::from_slice(&body).with_context(|| format!("reading rows of {rollup}"))?;
        take(&page)?;
        let Some(cursor) = &page.next_cursor else { return Ok(()) };
        path = format!("{first}&cursor={}", percent_encoded(cursor));
    }
}
