//! House rules that a program can hold: every file of the repository goes through every rule, so that reviews need not
//! speak of them. The rules are pure functions in `tidy/rules.rs`; what needs several files at once is here.
//! What rustfmt and clippy hold is left to them, but for the length of functions, which hold without clippy too.

mod code;
mod rules;
mod tests;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a file: larger ones do not belong into a repository.
const FILE_BYTES_MAX: usize = 1 << 20;

const PAGES: &str = "docs/errors/";
const REASONS: &str = "crates/sg-core/src/reason.rs";
const API_ERRORS: &str = "crates/sg-http/src/error.rs";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the paths of all files that are in the repository or about to be, with `/` between parts.
fn paths() -> Vec<String> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output =
        Command::new("git").args(list).current_dir(root()).output().expect("git is there to list the files");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("paths in the repository are UTF-8");
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// Returns a file's bytes; `None` when it was deleted but git still lists it.
fn read(path: &str) -> Option<Vec<u8>> {
    match std::fs::read(root().join(path)) {
        Ok(bytes) => Some(bytes),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => None,
        Err(error) => panic!("reading {path}: {error}"),
    }
}

fn read_text(path: &str) -> String {
    read(path).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

#[test]
fn every_file_keeps_the_house_rules() {
    let mut faults = Vec::new();
    for path in paths() {
        let Some(bytes) = read(&path) else { continue };
        if bytes.len() > FILE_BYTES_MAX {
            faults.push(format!("{path}: {} bytes; a file has at most {FILE_BYTES_MAX}", bytes.len()));
        }
        faults.extend(rules::name_faults(&path));
        // Pictures and the like have no lines to look at.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        for rule in rules::ALL {
            faults.extend(rule(&path, &text).into_iter().map(|fault| format!("{path}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let mut codes = rules::codes(&read_text(REASONS));
    assert!(!codes.is_empty(), "no codes were found in {REASONS}");
    let of_requests = rules::codes(&read_text(API_ERRORS));
    assert!(!of_requests.is_empty(), "no codes were found in {API_ERRORS}");
    codes.extend(of_requests);
    let pages: BTreeSet<String> = paths()
        .iter()
        .filter(|path| read(path).is_some())
        .filter_map(|path| path.strip_prefix(PAGES)?.strip_suffix(".md").map(str::to_owned))
        .filter(|page| page != "README")
        .collect();
    let faults = rules::unpaired(&codes, &pages);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let index = read_text(&format!("{PAGES}README.md"));
    for page in &pages {
        assert!(index.contains(&format!("({page}.md)")), "{PAGES}README.md does not list {page}");
        let first = format!("# {page}");
        assert_eq!(
            read_text(&format!("{PAGES}{page}.md")).lines().next(),
            Some(first.as_str()),
            "{PAGES}{page}.md"
        );
    }
}
