//! A file of variables such as `.env`: lines of `NAME=value`. What the environment has itself comes first.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};

/// Returns the variables of a file under those of the environment.
pub(crate) fn variables(file: Option<&Path>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the variables of {}", path.display()))?;
        variables = parse(&text).with_context(|| format!("reading the variables of {}", path.display()))?;
    }
    variables.extend(std::env::vars());
    Ok(variables)
}

fn parse(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        // The value may be a secret: it is not shown.
        let Some((name, value)) = line.split_once('=') else {
            bail!("line {} is not NAME=value", number + 1);
        };
        variables.insert(name.trim().to_owned(), value_of(value.trim()).to_owned());
    }
    Ok(variables)
}

/// Takes quotes off; without them a value ends before a comment.
fn value_of(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((value, _)) = text.strip_prefix(quote).and_then(|rest| rest.rsplit_once(quote)) {
            return value;
        }
    }
    text.split_once(" #").map_or(text, |(value, _)| value.trim_end())
}

#[cfg(test)]
mod tests;
