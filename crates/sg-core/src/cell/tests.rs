//! The merge laws of values, and cells found again.

use super::*;
use crate::definition::{Condition, NumberField};
use proptest::prelude::*;

fn functions() -> Vec<Function> {
    let field = NumberField { name: "x".into(), scale: 2 };
    vec![
        Function::Count,
        Function::Sum(field.clone()),
        Function::Min(field.clone()),
        Function::Max(field.clone()),
        Function::Avg(field.clone()),
        Function::Level { up: Condition::default(), down: Condition::default() },
        Function::Distinct("x".into()),
        Function::Quantile { field, q_ppm: 500_000 },
        Function::Top { field: "x".into(), k: 100 },
    ]
}

/// Returns the value of events whose number is given as whatever the function takes.
fn folded(function: &Function, numbers: &[Option<i128>]) -> Value {
    let mut value = Value::empty(function);
    for number in numbers {
        let text = number.map(|number| number.to_string());
        value.add(match (number, function) {
            (None, _) => Given::Event,
            (Some(number), Function::Level { .. }) => Given::Step((number % 2) as i64),
            (Some(_), _) if function.text().is_some() => Given::Text(text.as_deref().unwrap_or_default()),
            (Some(number), _) => Given::Number(*number),
        });
    }
    value
}

proptest! {
    #[test]
    fn splitting_and_order_do_not_show(
        numbers in prop::collection::vec(prop::option::of(-1_000i128..1_000), 0..40), at in 0usize..40,
    ) {
        let (left, right) = numbers.split_at(at.min(numbers.len()));
        for function in functions() {
            let (mut one, mut other) = (folded(&function, left), folded(&function, right));
            let (first, second) = (one.clone(), other.clone());
            one.merge(&second);
            other.merge(&first);
            prop_assert_eq!(&one, &folded(&function, &numbers));
            prop_assert_eq!(&one, &other);
            let mut with_empty = one.clone();
            with_empty.merge(&Value::empty(&function));
            prop_assert_eq!(with_empty, one);
        }
    }
}

#[test]
fn shows_all_digits() {
    let shown: Vec<_> = functions()
        .iter()
        .map(|function| folded(function, &[Some(100), None, Some(250)]).show(function))
        .collect();
    assert_eq!(
        shown,
        [
            Some("3".into()),
            Some("3.50".into()),
            Some("1.00".into()),
            Some("2.50".into()),
            Some("1.75000000".into()),
            Some("0".into()),
            Some("2".into()),
            Some("1.00".into()),
            Some(r#"[{"value":"100","count":1,"error":0},{"value":"250","count":1,"error":0}]"#.into()),
        ]
    );
    let none: Vec<_> = functions().iter().map(|function| Value::empty(function).show(function)).collect();
    let zero = || Some("0".to_owned());
    let expect = [zero(), Some("0.00".into()), None, None, None, zero(), zero(), None, Some("[]".into())];
    assert_eq!(none, expect);
}

#[test]
fn a_level_is_that_of_the_latest_pane_whatever_the_order() {
    let read = |pane, delta, reached| Value::Level(Level { delta, read_at: Timestamp(pane), reached });
    let cells = [read(0, 2, 5), read(60, -3, 2), read(120, 1, 3)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut merged = Value::Level(Level::moved(0));
        order.iter().for_each(|at: &usize| merged.merge(&cells[*at]));
        assert_eq!(merged, read(120, 0, 3));
    }
}

#[test]
fn sketches_come_back_from_their_bytes() {
    for function in functions() {
        let value = folded(&function, &[Some(1), Some(2), None, Some(2)]);
        let Some(bytes) = value.sketch_bytes() else {
            assert!(!function.is_sketch());
            continue;
        };
        assert_eq!(Value::from_sketch_bytes(&function, &bytes), Ok(value));
        assert!(Value::from_sketch_bytes(&function, b"none").is_err(), "{function:?}");
    }
}

#[test]
fn what_sketches_hold_is_seen_in_the_memory_of_cells() {
    let function = Function::Distinct("user_id".into());
    let mut cells = Cells::default();
    let before = cells.memory();
    let value = &mut cells.add(Timestamp(0), b"", false, &[Value::empty(&function)])[0];
    let held = value.memory();
    (0..10_000).for_each(|user: u32| value.add(Given::Text(&user.to_string())));
    let grown = value.memory() - held;
    cells.grown(grown);
    assert!(cells.memory() - before > 4_000, "{} bytes", cells.memory() - before);
}

#[test]
fn cells_are_told_apart_by_pane_and_every_dimension() {
    let mut cells = Cells::default();
    let empty = [Value::Count(0)];
    for (pane, dimensions) in [(0, ["a", "bc"]), (0, ["ab", "c"]), (1, ["a", "bc"]), (0, ["a", "bc"])] {
        let mut key = Vec::new();
        dimensions.iter().for_each(|text| push_dimension(&mut key, text.as_bytes()));
        cells.add(Timestamp(pane), &key, false, &empty)[0].add(Given::Event);
    }
    let rows: Vec<_> = cells
        .sorted()
        .iter()
        .map(|cell| (cell.pane.0, cell.dimensions().collect::<Vec<_>>(), cell.events))
        .collect();
    assert_eq!(rows, [(0, vec!["a", "bc"], 2), (0, vec!["ab", "c"], 1), (1, vec!["a", "bc"], 1)]);
}

#[test]
fn whole_cells_merge_with_those_that_are_there() {
    let mut cells = Cells::default();
    let dimensions = ["a".to_owned(), String::new()];
    cells.put(Timestamp(60), &dimensions, (3, 1), &[Value::Count(3), Value::Min(None)]);
    cells.put(Timestamp(0), &dimensions, (1, 0), &[Value::Count(1), Value::Min(Some(7))]);
    cells.put(Timestamp(60), &dimensions, (2, 2), &[Value::Count(2), Value::Min(Some(-5))]);
    let mut key = Vec::new();
    dimensions.iter().for_each(|dimension| push_dimension(&mut key, dimension.as_bytes()));
    cells.add(Timestamp(0), &key, false, &[])[0].add(Given::Event);
    let sorted = cells.sorted();
    let shown: Vec<_> = sorted.iter().map(|cell| (cell.pane.0, cell.events, cell.late)).collect();
    assert_eq!(shown, [(0, 2, 0), (60, 5, 3)]);
    assert_eq!(sorted[0].values, [Value::Count(2), Value::Min(Some(7))]);
    assert_eq!(sorted[1].values, [Value::Count(5), Value::Min(Some(-5))]);
    assert_eq!(sorted[0].dimensions().collect::<Vec<_>>(), ["a", ""]);
}
