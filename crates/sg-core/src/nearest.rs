//! The name that was meant by one that is not known: a sentence's end for those who mistyped it.

/// How like a name must be to be worth a question; between nothing (0) and the same (1).
pub const NAME_LIKENESS_MIN: f64 = 0.75;

/// Returns the name that is most like another, if it is at least so much like it.
pub fn find<'a>(name: &str, known: impl Iterator<Item = &'a str>, likeness_min: f64) -> Option<&'a str> {
    let likeness = |other: &str| strsim::jaro_winkler(other, name);
    let nearest = known.max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    nearest.filter(|nearest| likeness(nearest) > likeness_min)
}

/// Returns what follows "there is no such name": the one that may be meant, or else all that there are.
pub fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match find(name, known.iter().copied(), NAME_LIKENESS_MIN) {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None if known.is_empty() => "; there are none".to_owned(),
        None => format!("; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests;
