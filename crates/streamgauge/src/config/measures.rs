//! Reads `[[rollup.measure]]`: each function takes its own keys, and what it does not take is an error.

use sg_core::definition::{Condition, Function, Measure, NumberField};
use sg_core::limits::SCALE_MAX;

use super::reader::{Errors, Reader};

/// The functions, as an error names them.
const FUNCTIONS: &str = "count, sum, min, max, avg, level, distinct, quantile or top";
/// Values that `top` names unless it says otherwise.
const TOP_DEFAULT: u64 = 10;
/// Values that `top` names at most: a cell keeps eight to fifteen times as many texts.
const TOP_MAX: u64 = 50;
/// The share that `quantile` reads unless it says otherwise: the median.
const QUANTILE_DEFAULT_PPM: u32 = 500_000;

/// Reads one measure.
pub(super) fn measure(mut item: Reader<'_>, errors: &mut Errors) -> Measure {
    let name = item.required("name", errors);
    let function = item.required("fn", errors);
    let read = match function.as_str() {
        "count" => Function::Count,
        "sum" => Function::Sum(number(&mut item, &function, errors)),
        "min" => Function::Min(number(&mut item, &function, errors)),
        "max" => Function::Max(number(&mut item, &function, errors)),
        "avg" => Function::Avg(number(&mut item, &function, errors)),
        "level" => level(&mut item, errors),
        "distinct" => Function::Distinct(field(&mut item, &function, errors)),
        "quantile" => Function::Quantile {
            field: number(&mut item, &function, errors),
            q_ppm: item.share_ppm("q", QUANTILE_DEFAULT_PPM, errors),
        },
        "top" => Function::Top { field: field(&mut item, &function, errors), k: named(&mut item, errors) },
        other => {
            // Whatever it was to be, its keys are not to blame.
            number(&mut item, "", errors);
            errors.add(&item.place("fn"), format!("is {FUNCTIONS}, not {other}"));
            Function::Count
        }
    };
    let filter = Condition(item.conditions("where", errors));
    item.finish(errors);
    Measure { name, function: read, filter }
}

fn field(item: &mut Reader<'_>, function: &str, errors: &mut Errors) -> String {
    let field = item.text("field", "", errors);
    if field.is_empty() && !function.is_empty() {
        errors.add(&item.place("field"), format!("a {function} needs a field"));
    }
    field
}

fn number(item: &mut Reader<'_>, function: &str, errors: &mut Errors) -> NumberField {
    let name = field(item, function, errors);
    let scale = item.count("scale", 0, errors);
    if scale > u64::from(SCALE_MAX) {
        errors.add(&item.place("scale"), format!("is at most {SCALE_MAX}"));
    }
    NumberField { name, scale: scale.min(u64::from(SCALE_MAX)) as u32 }
}

fn level(item: &mut Reader<'_>, errors: &mut Errors) -> Function {
    let up = Condition(item.conditions("up", errors));
    let down = Condition(item.conditions("down", errors));
    if up.0.is_empty() || down.0.is_empty() {
        errors.add(
            &item.place("up"),
            "a level needs up and down, such as up = { event_type = \"join\" }, down = { event_type = \"leave\" }",
        );
    }
    Function::Level { up, down }
}

fn named(item: &mut Reader<'_>, errors: &mut Errors) -> u32 {
    let k = item.count("k", TOP_DEFAULT, errors);
    if !(1..=TOP_MAX).contains(&k) {
        errors.add(&item.place("k"), format!("is between 1 and {TOP_MAX}"));
    }
    k.clamp(1, TOP_MAX) as u32
}
