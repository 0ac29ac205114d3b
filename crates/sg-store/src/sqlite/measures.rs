//! How each measure lies in a table of cells: its columns, how they merge, how they are read and shown. The only
//! place that knows; a new function is a new arm in each of these.
//!
//! SQLite's integers overflow into floats, so a decimal is two of them: hi · 10¹⁵ + lo with 0 ≤ lo < 10¹⁵.

use rusqlite::Row;
use rusqlite::types::Value as Sql;
use sg_core::cell::{Level, Value};
use sg_core::definition::Function;
use sg_core::query::Shown;

use crate::unfit::{Unfit, to_integer};

use super::error::{Error, from_integer};

/// 10¹⁵: two of them still add up in 64 bits, and whole numbers below it are exact as floats.
const UNIT: i64 = 1_000_000_000_000_000;
/// Beyond every hi of a single value (|value| < 10²⁷): makes it positive, so that texts order as numbers do.
const HI_SHIFT: i64 = 10_000_000_000_000;

/// Returns the type of a measure's columns.
pub(crate) fn kind(function: &Function) -> &'static str {
    if matches!(function, Function::Top { .. }) { "TEXT" } else { "INTEGER" }
}

/// Returns the names of a measure's columns.
pub(crate) fn columns(function: &Function, at: usize) -> Vec<String> {
    let suffixes: &[&str] = match function {
        Function::Count | Function::Level { .. } | Function::Distinct(_) | Function::Top { .. } => &[""],
        Function::Sum(_) | Function::Min(_) | Function::Max(_) | Function::Quantile { .. } => &["_hi", "_lo"],
        Function::Avg(_) => &["_hi", "_lo", "_n"],
    };
    suffixes.iter().map(|suffix| format!("m{at}{suffix}")).collect()
}

/// Returns whether the measure's columns may be empty.
pub(crate) fn is_nullable(function: &Function) -> bool {
    matches!(function, Function::Min(_) | Function::Max(_) | Function::Quantile { .. })
}

/// Returns the assignments that merge `excluded` into a cell.
pub(crate) fn merge(function: &Function, at: usize) -> String {
    let (hi, lo, n) = (format!("m{at}_hi"), format!("m{at}_lo"), format!("m{at}_n"));
    let sum = format!(
        "{hi} = {hi} + excluded.{hi} + ({lo} + excluded.{lo}) / {UNIT}, {lo} = ({lo} + excluded.{lo}) % {UNIT}"
    );
    let extreme = |sign: &str| {
        let wins = format!(
            "excluded.{hi} IS NOT NULL AND ({hi} IS NULL OR (excluded.{hi}, excluded.{lo}) {sign} ({hi}, {lo}))"
        );
        format!("{hi} = iif({wins}, excluded.{hi}, {hi}), {lo} = iif({wins}, excluded.{lo}, {lo})")
    };
    match function {
        Function::Count | Function::Level { .. } => format!("m{at} = m{at} + excluded.m{at}"),
        // What is read of a sketch is written when the sketch is.
        Function::Distinct(_) | Function::Top { .. } => format!("m{at} = m{at}"),
        Function::Quantile { .. } => format!("{hi} = {hi}, {lo} = {lo}"),
        Function::Sum(_) => sum,
        Function::Min(_) => extreme("<"),
        Function::Max(_) => extreme(">"),
        Function::Avg(_) => format!("{sum}, {n} = {n} + excluded.{n}"),
    }
}

/// Appends what a measure's columns get for a value.
pub(crate) fn bind(function: &Function, value: &Value, parameters: &mut Vec<Sql>) -> Result<(), Error> {
    match value {
        Value::Count(count) => parameters.push(Sql::Integer(to_integer(*count)?)),
        Value::Sum(sum) => bind_decimal(*sum, parameters)?,
        Value::Min(_) | Value::Max(_) | Value::Quantile(_) => match value.rank(function) {
            Some(number) => bind_decimal(number, parameters)?,
            None => parameters.extend([Sql::Null, Sql::Null]),
        },
        Value::Avg { sum, count } => {
            bind_decimal(*sum, parameters)?;
            parameters.push(Sql::Integer(to_integer(*count)?));
        }
        Value::Level(level) => parameters.push(Sql::Integer(level.delta)),
        Value::Distinct(sketch) => parameters.push(Sql::Integer(to_integer(sketch.estimate())?)),
        Value::Top(_) => parameters.push(Sql::Text(value.show(function).unwrap_or_default())),
    }
    Ok(())
}

fn bind_decimal(value: i128, parameters: &mut Vec<Sql>) -> Result<(), Error> {
    let unit = i128::from(UNIT);
    let hi = i64::try_from(value.div_euclid(unit))
        .map_err(|_| Unfit(format!("the sum {value} does not fit its columns")))?;
    // Invariant: a remainder by 10¹⁵ fits.
    let lo = value.rem_euclid(unit) as i64;
    parameters.extend([Sql::Integer(hi), Sql::Integer(lo)]);
    Ok(())
}

/// Reads a measure from the columns that begin at `first`: of a level how far it moved, of a sketch nothing.
pub(crate) fn read(function: &Function, row: &Row<'_>, first: usize) -> Result<Value, rusqlite::Error> {
    let decimal = |at: usize| -> Result<i128, rusqlite::Error> {
        Ok(i128::from(row.get::<_, i64>(at)?) * i128::from(UNIT) + i128::from(row.get::<_, i64>(at + 1)?))
    };
    let optional = |at: usize| match row.get::<_, Option<i64>>(at)? {
        None => Ok::<_, rusqlite::Error>(None),
        Some(_) => Ok(Some(decimal(at)?)),
    };
    Ok(match function {
        Function::Count => Value::Count(from_integer(row.get(first)?)?),
        Function::Sum(_) => Value::Sum(decimal(first)?),
        Function::Min(_) => Value::Min(optional(first)?),
        Function::Max(_) => Value::Max(optional(first)?),
        Function::Avg(_) => Value::Avg { sum: decimal(first)?, count: from_integer(row.get(first + 2)?)? },
        Function::Level { .. } => Value::Level(Level::moved(row.get(first)?)),
        Function::Distinct(_) | Function::Quantile { .. } | Function::Top { .. } => Value::empty(function),
    })
}

/// Reads what the columns that begin at `first` show of a sketch; nothing of other measures.
pub(crate) fn read_shown(
    function: &Function,
    row: &Row<'_>,
    first: usize,
) -> Result<Option<Shown>, rusqlite::Error> {
    Ok(Some(match function {
        Function::Distinct(_) => Shown::Number(Some(i128::from(row.get::<_, i64>(first)?))),
        Function::Quantile { .. } => {
            let (hi, lo): (Option<i64>, Option<i64>) = (row.get(first)?, row.get(first + 1)?);
            let number = |(hi, lo): (i64, i64)| i128::from(hi) * i128::from(UNIT) + i128::from(lo);
            Shown::Number(hi.zip(lo).map(number))
        }
        Function::Top { .. } => Shown::Text(row.get(first)?),
        _ => return Ok(None),
    }))
}

/// Returns the expressions that merge a measure's columns over the panes of a window, each under its column's name.
pub(crate) fn over_panes(function: &Function, at: usize) -> String {
    let (hi, lo, n) = (format!("m{at}_hi"), format!("m{at}_lo"), format!("m{at}_n"));
    let sum = format!("sum({hi}) + sum({lo}) / {UNIT} AS {hi}, sum({lo}) % {UNIT} AS {lo}");
    let extreme = |fold: &str| {
        // An empty pane must not win: both functions pass over NULL.
        let key = format!("{fold}(iif({hi} IS NULL, NULL, printf('%014d%015d', {hi} + {HI_SHIFT}, {lo})))");
        format!(
            "CAST(substr({key}, 1, 14) AS INTEGER) - {HI_SHIFT} AS {hi}, CAST(substr({key}, 15) AS INTEGER) AS {lo}"
        )
    };
    match function {
        Function::Count | Function::Level { .. } => format!("sum(m{at}) AS m{at}"),
        // A window of sketches is one pane.
        Function::Distinct(_) | Function::Top { .. } => format!("min(m{at}) AS m{at}"),
        Function::Quantile { .. } => format!("min({hi}) AS {hi}, min({lo}) AS {lo}"),
        Function::Sum(_) => sum,
        Function::Min(_) => extreme("min"),
        Function::Max(_) => extreme("max"),
        Function::Avg(_) => format!("{sum}, sum({n}) AS {n}"),
    }
}

/// Returns the expression that shows a measure, of a level how far it moved. A number is a float where its 15 digits are
/// exact, else a text with all of them. An average with more digits, or of a sum from 10¹⁵ on, is the nearest float.
pub(crate) fn show(function: &Function, at: usize) -> String {
    let (hi, lo, n) = (format!("m{at}_hi"), format!("m{at}_lo"), format!("m{at}_n"));
    match function {
        Function::Count | Function::Level { .. } | Function::Distinct(_) | Function::Top { .. } => {
            format!("m{at}")
        }
        Function::Sum(field)
        | Function::Min(field)
        | Function::Max(field)
        | Function::Quantile { field, .. } => show_decimal(&hi, &lo, field.scale),
        Function::Avg(field) => show_average((&hi, &lo, &n), field.scale),
    }
}

/// Returns 10^`scale` as a float literal.
fn power(scale: u32) -> String {
    format!("1{}.0", "0".repeat(scale as usize))
}

fn show_decimal(hi: &str, lo: &str, scale: u32) -> String {
    let small =
        |value: &str| if scale == 0 { value.to_owned() } else { format!("({value}) / {}", power(scale)) };
    let positive = digits(hi, lo, scale);
    let negative = digits(&format!("-{hi} - ({lo} > 0)"), &format!("iif({lo} = 0, 0, {UNIT} - {lo})"), scale);
    format!(
        "CASE WHEN {hi} IS NULL THEN NULL WHEN {hi} = 0 THEN {} WHEN {hi} = -1 AND {lo} > 0 THEN {} \
         WHEN {hi} > 0 THEN {positive} ELSE '-' || {negative} END",
        small(lo),
        small(&format!("{lo} - {UNIT}")),
    )
}

/// Returns the text of hi · 10¹⁵ + lo, neither negative, with a point before the last `scale` ≤ 12 digits.
fn digits(hi: &str, lo: &str, scale: u32) -> String {
    if scale == 0 {
        return format!("printf('%d%015d', {hi}, {lo})");
    }
    let whole = 15 - scale;
    format!(
        "printf('%d', {hi}) || substr(printf('%015d', {lo}), 1, {whole}) || '.' || substr(printf('%015d', {lo}), -{scale})"
    )
}

fn show_average((hi, lo, n): (&str, &str, &str), scale: u32) -> String {
    let value = format!("({lo} + iif({hi} = 0, 0, -{UNIT}))");
    // Quotient and rest as floor division has them, then six more digits, rounded half to even: |rest| · 2 · 10⁶ fits.
    let rest = format!("((({value} % {n}) + {n}) % {n})");
    let quotient = format!("(({value} - {rest}) / {n})");
    let (more, left) = (format!("({rest} * 1000000 / {n})"), format!("({rest} * 1000000 % {n})"));
    let rounded = format!("({more} + ({left} * 2 > {n} OR ({left} * 2 = {n} AND {more} % 2 = 1)))");
    let float = format!("(({hi} * {}) + {lo}) / {n} / {}", power(15), power(scale));
    format!(
        "CASE WHEN {n} = 0 THEN NULL WHEN ({hi} = 0 OR ({hi} = -1 AND {lo} > 0)) AND abs({quotient}) < 900000000 \
         THEN ({quotient} * 1000000 + {rounded}) / {} ELSE {float} END",
        power(scale + 6),
    )
}

#[cfg(test)]
mod tests;
