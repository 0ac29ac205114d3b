//! The merge laws of values, and cells found again.

use super::*;
use crate::definition::NumberField;
use proptest::prelude::*;

fn functions() -> Vec<Function> {
    let field = NumberField { name: "x".into(), scale: 2 };
    vec![
        Function::Count,
        Function::Sum(field.clone()),
        Function::Min(field.clone()),
        Function::Max(field.clone()),
        Function::Avg(field),
    ]
}

fn folded(function: &Function, numbers: &[Option<i128>]) -> Value {
    let mut value = Value::empty(function);
    numbers.iter().for_each(|number| value.add(*number));
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
            let (first, second) = (one, other);
            one.merge(second);
            other.merge(first);
            prop_assert_eq!(one, folded(&function, &numbers));
            prop_assert_eq!(one, other);
            let mut with_empty = one;
            with_empty.merge(Value::empty(&function));
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
            Some("1.75000000".into())
        ]
    );
    let none: Vec<_> = functions().iter().map(|function| Value::empty(function).show(function)).collect();
    assert_eq!(none, [Some("0".into()), Some("0.00".into()), None, None, None]);
}

#[test]
fn cells_are_told_apart_by_pane_and_every_dimension() {
    let mut cells = Cells::default();
    let empty = [Value::Count(0)];
    for (pane, dimensions) in [(0, ["a", "bc"]), (0, ["ab", "c"]), (1, ["a", "bc"]), (0, ["a", "bc"])] {
        let mut key = Vec::new();
        dimensions.iter().for_each(|text| push_dimension(&mut key, text.as_bytes()));
        cells.add(Timestamp(pane), &key, false, &empty)[0].add(None);
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
    cells.add(Timestamp(0), &key, false, &[])[0].add(None);
    let sorted = cells.sorted();
    let shown: Vec<_> = sorted.iter().map(|cell| (cell.pane.0, cell.events, cell.late)).collect();
    assert_eq!(shown, [(0, 2, 0), (60, 5, 3)]);
    assert_eq!(sorted[0].values, [Value::Count(2), Value::Min(Some(7))]);
    assert_eq!(sorted[1].values, [Value::Count(5), Value::Min(Some(-5))]);
    assert_eq!(sorted[0].dimensions().collect::<Vec<_>>(), ["a", ""]);
}
