//! `streamgauge config`: what is in effect and why, whether it is right, and a file to start from.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use toml::Value;

use crate::cmd::{fail, print_line};
use crate::config::redacted::{is_secret, without_password};
use crate::config::{Layers, Origin, Settings, env_file};
use crate::exit;

/// Prints the effective configuration with the origin of each value; secrets show as ***.
///
/// Examples: `streamgauge config`, `STREAMGAUGE_FLUSH__INTERVAL=1s streamgauge config`,
/// `streamgauge config check`, `streamgauge config init > streamgauge.toml`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// The configuration file; streamgauge.toml where it exists.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// A file of variables, NAME=value by line, that counts as part of the environment.
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Explains every error of the configuration at once; exits with 78 when there is one.
    Check,
    /// Prints the built-in configuration, to start a file of your own from.
    Init,
    /// Prints every key with its type, default, variable and meaning, as Markdown.
    Keys,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    if matches!(args.action, Some(Action::Init)) {
        return print_line(crate::config::layers::BUILTIN.trim_end());
    }
    if matches!(args.action, Some(Action::Keys)) {
        return match crate::config::reference::page() {
            Ok(page) => print_line(page.trim_end()),
            Err(error) => fail(exit::INTERNAL, &error),
        };
    }
    let (layers, mut errors) = match layers(args.config.as_deref(), args.env_file.as_deref()) {
        Ok(read) => read,
        Err(error) => return fail(exit::CONFIGURATION, &error),
    };
    let mut notes = Vec::new();
    match Settings::resolve(&layers) {
        Ok(settings) => notes = settings.notes,
        Err(more) => errors.extend(more),
    }
    if args.action.is_none() {
        print_line(&show(&layers));
        return report(&errors, false);
    }
    let code = report(&errors, true);
    for note in notes {
        print_line(&format!("note: {note}"));
    }
    code
}

/// Reads all layers but flags; returns the errors of variables beside them.
pub(crate) fn layers(
    file: Option<&std::path::Path>,
    env_file: Option<&std::path::Path>,
) -> anyhow::Result<(Layers, Vec<String>)> {
    let mut layers = Layers::builtin()?;
    layers.file(file)?;
    let errors = layers.environment(env_file::variables(env_file)?.into_iter());
    Ok((layers, errors))
}

/// Prints the errors of a configuration; says so when there are none and that was the question.
pub(crate) fn report(errors: &[String], is_question: bool) -> ExitCode {
    if errors.is_empty() {
        return if is_question { print_line("the configuration is right") } else { ExitCode::SUCCESS };
    }
    let listed: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
    let count = errors.len();
    fail(
        exit::CONFIGURATION,
        &anyhow::anyhow!("the configuration has {count} error(s):\n{}", listed.join("\n")),
    )
}

/// Writes the values as TOML, each with its origin where that is not the built-in configuration.
fn show(layers: &Layers) -> String {
    let mut out = String::new();
    let (tables, values): (Vec<_>, Vec<_>) = layers.table.iter().partition(|(_, value)| is_table_like(value));
    for (key, value) in values {
        push_value(&mut out, layers, key, key, value);
    }
    for (key, value) in tables {
        push_table(&mut out, layers, key, value);
    }
    out.trim_end().to_owned()
}

fn is_table_like(value: &Value) -> bool {
    match value {
        Value::Table(_) => true,
        Value::Array(items) => items.first().is_some_and(Value::is_table),
        _ => false,
    }
}

fn push_value(out: &mut String, layers: &Layers, key: &str, path: &str, value: &Value) {
    let origin = layers.origin(path);
    let note = if origin == Origin::Default { String::new() } else { format!("  # {origin}") };
    let is_given = value.as_str().is_some_and(|text| !text.is_empty());
    let shown = if is_given && is_secret(key) { "\"***\"".to_owned() } else { redacted(value) };
    *out += &format!("{key} = {shown}{note}\n");
}

fn push_table(out: &mut String, layers: &Layers, path: &str, value: &Value) {
    let items: Vec<(String, &toml::Table)> = match value {
        Value::Table(table) => vec![(path.to_owned(), table)],
        Value::Array(items) => items
            .iter()
            .enumerate()
            .filter_map(|(at, item)| Some((format!("{path}.{at}"), item.as_table()?)))
            .collect(),
        _ => Vec::new(),
    };
    let heading: Vec<&str> = path.split('.').filter(|part| part.parse::<usize>().is_err()).collect();
    for (place, table) in items {
        let (open, close) = if value.is_array() { ("[[", "]]") } else { ("[", "]") };
        let origin = layers.origin(&place);
        let note = if origin == Origin::Default { String::new() } else { format!("  # {origin}") };
        *out += &format!("\n{open}{}{close}{note}\n", heading.join("."));
        let (nested, plain): (Vec<_>, Vec<_>) =
            table.iter().partition(|(_, value)| value.is_array() && is_table_like(value));
        for (key, value) in plain {
            push_value(out, layers, key, &format!("{place}.{key}"), value);
        }
        for (key, value) in nested {
            push_table(out, layers, &format!("{place}.{key}"), value);
        }
    }
}

/// Hides the password of a URL such as postgres://user:password@host, and secrets among settings of a library.
fn redacted(value: &Value) -> String {
    if let Value::Table(table) = value {
        let shown = |(key, value): (&String, &Value)| {
            let value = if is_secret(key) { Value::String("***".to_owned()) } else { value.clone() };
            (key.clone(), value)
        };
        return Value::Table(table.iter().map(shown).collect()).to_string();
    }
    match value.as_str() {
        Some(text) => Value::String(without_password(text)).to_string(),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
