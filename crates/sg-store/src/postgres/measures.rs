//! How each measure lies in a table of cells: its columns, how they merge, how they are sent, read and shown. The only
//! place that knows; a new function is a new arm in each of these.

use sg_core::cell::{Level, Value};
use sg_core::definition::Function;
use sg_core::query::Shown;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::unfit::{Unfit, to_integer};

use super::error::Error;
use super::wire::{Column, Decimal};

/// Returns the names and types of a measure's columns.
pub(crate) fn columns(function: &Function, at: usize) -> Vec<(String, Type)> {
    let value = format!("m{at}");
    match function {
        Function::Count | Function::Level { .. } | Function::Distinct(_) => vec![(value, Type::INT8)],
        Function::Sum(_) | Function::Min(_) | Function::Max(_) | Function::Quantile { .. } => {
            vec![(value, Type::NUMERIC)]
        }
        Function::Top { .. } => vec![(value, Type::TEXT)],
        Function::Avg(_) => vec![(value, Type::NUMERIC), (format!("m{at}_n"), Type::INT8)],
    }
}

/// Returns whether the measure's columns may be empty.
pub(crate) fn is_nullable(function: &Function) -> bool {
    matches!(function, Function::Min(_) | Function::Max(_) | Function::Quantile { .. })
}

/// Returns the assignments that merge `excluded` into the cell `c`.
pub(crate) fn merge(function: &Function, at: usize) -> String {
    let sum = |column: String| format!("{column} = c.{column} + excluded.{column}");
    match function {
        Function::Count | Function::Sum(_) | Function::Level { .. } => sum(format!("m{at}")),
        // What is read of a sketch is written when the sketch is.
        Function::Distinct(_) | Function::Quantile { .. } | Function::Top { .. } => {
            format!("m{at} = c.m{at}")
        }
        // Both pass over NULL.
        Function::Min(_) => format!("m{at} = least(c.m{at}, excluded.m{at})"),
        Function::Max(_) => format!("m{at} = greatest(c.m{at}, excluded.m{at})"),
        Function::Avg(_) => format!("{}, {}", sum(format!("m{at}")), sum(format!("m{at}_n"))),
    }
}

/// Appends a value to the columns of its measure.
pub(crate) fn push(function: &Function, value: &Value, columns: &mut [Column]) -> Result<(), Unfit> {
    let scale = function.number().map_or(0, |field| field.scale);
    let decimal = |value: i128| Some(Decimal { value, scale });
    match value {
        Value::Count(count) => columns[0].push_integer(to_integer(*count)?),
        Value::Sum(sum) => columns[0].push_decimal(decimal(*sum))?,
        Value::Min(_) | Value::Max(_) | Value::Quantile(_) => {
            columns[0].push_decimal(value.rank(function).and_then(decimal))?;
        }
        Value::Avg { sum, count } => {
            columns[0].push_decimal(decimal(*sum))?;
            columns[1].push_integer(to_integer(*count)?);
        }
        Value::Level(level) => columns[0].push_integer(level.delta),
        Value::Distinct(sketch) => columns[0].push_integer(to_integer(sketch.estimate())?),
        Value::Top(_) => columns[0].push_text(&value.show(function).unwrap_or_default()),
    }
    Ok(())
}

/// Reads a measure from the columns that begin at `first`: of a level how far it moved, of a sketch nothing.
pub(crate) fn read(function: &Function, row: &Row, first: usize) -> Result<Value, Error> {
    let scale = function.number().map_or(0, |field| field.scale);
    let exact = |decimal: Decimal| decimal.at_scale(scale).map_err(|error| Error::corrupt(error.to_string()));
    let some = || -> Result<i128, Error> { exact(row.try_get(first)?) };
    let optional = || row.try_get::<_, Option<Decimal>>(first)?.map(exact).transpose();
    Ok(match function {
        Function::Count => Value::Count(count(row, first)?),
        Function::Sum(_) => Value::Sum(some()?),
        Function::Min(_) => Value::Min(optional()?),
        Function::Max(_) => Value::Max(optional()?),
        Function::Avg(_) => Value::Avg { sum: some()?, count: count(row, first + 1)? },
        Function::Level { .. } => Value::Level(Level::moved(row.try_get(first)?)),
        Function::Distinct(_) | Function::Quantile { .. } | Function::Top { .. } => Value::empty(function),
    })
}

/// Reads what the columns that begin at `first` show of a sketch; nothing of other measures.
pub(crate) fn read_shown(function: &Function, row: &Row, first: usize) -> Result<Option<Shown>, Error> {
    Ok(Some(match function {
        Function::Distinct(_) => Shown::Number(Some(i128::from(row.try_get::<_, i64>(first)?))),
        Function::Quantile { .. } => {
            let scale = function.number().map_or(0, |field| field.scale);
            let number: Option<Decimal> = row.try_get(first)?;
            // What does not fit the scale was not written by us, and is not what the sketch says.
            Shown::Number(number.map(|number| number.at_scale(scale).unwrap_or(i128::MIN)))
        }
        Function::Top { .. } => Shown::Text(row.try_get(first)?),
        _ => return Ok(None),
    }))
}

/// Reads an offset or count; a negative one was not written by us.
pub(crate) fn count(row: &Row, at: usize) -> Result<u64, Error> {
    let value: i64 = row.try_get(at)?;
    u64::try_from(value).map_err(|_| Error::corrupt(format!("reading a count: it is {value}")))
}

/// Returns the expressions that merge a measure's columns over the panes of a window, each under its column's name.
pub(crate) fn over_panes(function: &Function, at: usize) -> String {
    match function {
        Function::Count | Function::Level { .. } => format!("sum(m{at})::bigint AS m{at}"),
        // A window of sketches is one pane.
        Function::Distinct(_) | Function::Quantile { .. } | Function::Top { .. } => {
            format!("min(m{at}) AS m{at}")
        }
        Function::Sum(_) => format!("sum(m{at}) AS m{at}"),
        Function::Min(_) => format!("min(m{at}) AS m{at}"),
        Function::Max(_) => format!("max(m{at}) AS m{at}"),
        Function::Avg(_) => format!("sum(m{at}) AS m{at}, sum(m{at}_n) AS m{at}_n"),
    }
}

/// Returns the expression that shows a measure, a number exactly, of a level how far it moved.
pub(crate) fn show(function: &Function, at: usize) -> String {
    match function {
        Function::Top { .. } => format!("m{at}::jsonb"),
        Function::Avg(_) => {
            let digits = function.scale() as usize;
            let (power, unit) = ("0".repeat(digits), "0".repeat(digits.saturating_sub(1)));
            format!("sg_average(m{at}, m{at}_n, 1{power}, 0.{unit}1)")
        }
        _ => format!("m{at}"),
    }
}
