//! Values through a table and back, merged by SQL, and shown: all against the core's own arithmetic.

use proptest::prelude::*;
use rusqlite::{Connection, params_from_iter};
use sg_core::cell::Given;
use sg_core::definition::NumberField;

use super::*;

fn functions(scale: u32) -> [Function; 5] {
    let field = || NumberField { name: "amount".to_owned(), scale };
    [
        Function::Count,
        Function::Sum(field()),
        Function::Min(field()),
        Function::Max(field()),
        Function::Avg(field()),
    ]
}

/// Upserts each pane's values one by one; returns the table.
fn table(function: &Function, panes: &[Vec<Option<i128>>]) -> Connection {
    let columns = columns(function, 0);
    let connection = Connection::open_in_memory().expect("memory is there");
    let declared: Vec<String> = columns.iter().map(|column| format!("{column} INTEGER")).collect();
    connection
        .execute_batch(&format!(
            "CREATE TABLE cells (pane INTEGER PRIMARY KEY, {}) STRICT",
            declared.join(", ")
        ))
        .expect("the columns are sound");
    let upsert = format!(
        "INSERT INTO cells VALUES (?{}) ON CONFLICT DO UPDATE SET {}",
        ", ?".repeat(columns.len()),
        merge(function, 0)
    );
    for (pane, numbers) in panes.iter().enumerate() {
        for number in numbers {
            let mut value = Value::empty(function);
            value.add(number.map_or(Given::Event, Given::Number));
            let mut parameters = vec![Sql::Integer(pane as i64)];
            bind(function, &value, &mut parameters).expect("the values are small");
            connection.execute(&upsert, params_from_iter(parameters)).expect("the values fit");
        }
    }
    connection
}

/// Returns what a reader of the view sees, without zeros at the end.
fn shown(connection: &Connection, function: &Function, from: &str) -> Option<String> {
    let sql = format!("SELECT {} FROM {from}", show(function, 0));
    let value: Sql = connection.query_row(&sql, [], |row| row.get(0)).expect("there is one row");
    match value {
        Sql::Null => None,
        Sql::Integer(value) => Some(value.to_string()),
        Sql::Real(value) => Some(format!("{value}")),
        Sql::Text(text) => Some(text),
        Sql::Blob(_) => panic!("no measure is a blob"),
    }
    .map(|text| trimmed(&text))
}

fn trimmed(text: &str) -> String {
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn check(function: &Function, panes: &[Vec<Option<i128>>]) {
    let connection = table(function, panes);
    let mut whole = Value::empty(function);
    for numbers in panes {
        for number in numbers {
            whole.add(number.map_or(Given::Event, Given::Number));
        }
    }
    let mut statement = connection.prepare("SELECT * FROM cells ORDER BY pane").expect("the table exists");
    let values = statement.query_map([], |row| read(function, row, 1)).expect("the table is read");
    let mut merged = Value::empty(function);
    for value in values {
        merged.merge(&value.expect("the columns are ours"));
    }
    assert_eq!(merged, whole, "{function:?} of {panes:?}");
    let is_average = matches!(whole, Value::Avg { .. });
    let is_long = |value: &Value| value.rank(function).is_some_and(|rank| rank.abs() >= 900_000_000_000_000);
    let is_sum_long = matches!(whole, Value::Avg { sum, .. } if sum.abs() >= 1_000_000_000_000_000);
    // A long average is shown as the nearest float.
    if !is_average || !(is_long(&whole) || is_sum_long) {
        let from = format!("(SELECT {} FROM cells)", over_panes(function, 0));
        let expect = whole.show(function).map(|text| trimmed(&text));
        assert_eq!(shown(&connection, function, &from), expect, "{function:?} of {panes:?}");
    }
}

#[test]
fn shows_numbers_at_the_borders() {
    let unit = i128::from(UNIT);
    for number in
        [0, 1, -1, 99, -100, unit - 1, unit, unit + 1, -unit + 1, -unit, -unit - 1, 7 * unit, 10i128.pow(26)]
    {
        for scale in [0, 2, 12] {
            for function in functions(scale) {
                check(&function, &[vec![Some(number)]]);
                check(&function, &[vec![Some(number), None], vec![None], vec![Some(-number), Some(number)]]);
            }
        }
    }
}

#[test]
fn shows_nothing_where_there_is_nothing() {
    for function in functions(2) {
        check(&function, &[vec![None], vec![None]]);
    }
}

#[test]
fn rounds_averages_half_to_even() {
    let average = &functions(0)[4];
    let halves = |sum: i128, count: usize| {
        let mut numbers = vec![Some(0); count];
        numbers[0] = Some(sum);
        vec![numbers]
    };
    for sum in [-5, -3, -1, 1, 3, 5] {
        // 64 · 10⁻⁶ of a half: the seventh digit decides.
        check(average, &halves(sum, 64));
        check(average, &halves(sum, 128));
        check(average, &halves(sum, 3));
    }
}

#[test]
fn refuses_a_sum_that_does_not_fit() {
    let mut parameters = Vec::new();
    let error = bind(&Function::Count, &Value::Sum(i128::MAX), &mut parameters)
        .expect_err("its upper part has 24 digits");
    assert!(error.is_bad_data(), "{error}");
}

proptest! {
    #[test]
    fn keeps_the_arithmetic_of_the_core(
        panes in prop::collection::vec(
            prop::collection::vec(prop::option::of(prop_oneof![
                -1_000..1_000i128,
                -2_000_000_000_000_000..2_000_000_000_000_000i128,
                -(10i128.pow(27) - 1)..10i128.pow(27),
            ]), 1..6),
            1..4,
        ),
        scale in 0..=12u32,
    ) {
        for function in functions(scale) {
            check(&function, &panes);
        }
    }
}
