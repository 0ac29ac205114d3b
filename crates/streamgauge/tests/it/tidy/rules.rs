//! The rules, each a pure function from a file's path and text to its faults. Words that no file may contain are put
//! together from pieces here, so that this file may be looked at too.

use std::collections::BTreeSet;

use super::code::code_only;

/// A rule over one text file.
type Rule = fn(path: &str, text: &str) -> Vec<String>;

/// Every rule over one text file.
pub(super) const ALL: &[Rule] = &[
    opening,
    length,
    inline_tests,
    functions,
    contents_only,
    unfinished,
    refused_code,
    unwraps,
    sleeps,
    edges,
    lints,
    places,
];

const LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const CONTENTS_LINES_MAX: usize = 30;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["utils", "common", "helpers", "manager", "handler", "impl", "v2"];

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("/benches/")
}

/// Files that programs write.
fn is_generated(path: &str) -> bool {
    path.ends_with(".lock") || path.ends_with("package-lock.json") || path.ends_with(".lock.hcl")
}

fn at_line(line: usize, fault: &str) -> String {
    format!("line {}: {fault}", line + 1)
}

/// Files and folders of code are called after the one thing in them.
pub(super) fn name_faults(path: &str) -> Vec<String> {
    if !path.starts_with("crates/") && !path.starts_with("tools/") {
        return Vec::new();
    }
    let stem = |part: &str| part.split('.').next().unwrap_or_default().to_owned();
    let parts: Vec<String> = path.split('/').map(stem).collect();
    let words = parts.iter().flat_map(|part| part.split(['_', '-']));
    words
        .filter(|word| EMPTY_NAMES.contains(word))
        .map(|word| format!("{path}: {word} names nothing of the domain"))
        .collect()
}

/// A file opens by saying what it is.
pub(super) fn opening(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || text.starts_with("//! ") {
        return Vec::new();
    }
    vec!["opens with `//!`: what it is, and what it deliberately does not do".to_owned()]
}

/// A file can be read in one go.
pub(super) fn length(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let is_source = [".rs", ".ts", ".tsx", ".sql", ".sh"].iter().any(|ending| path.ends_with(ending));
    if !is_source || lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!("{lines} lines; a file has at most {LINES_MAX}")]
}

/// Tests stand in files of their own, so that a file's length is that of its code.
pub(super) fn inline_tests(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) {
        return Vec::new();
    }
    let code = code_only(text);
    let inline = code.lines().enumerate().filter(|(_, line)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words
            .windows(3)
            .any(|three| three[0] == "mod" && three[1].ends_with("tests") && three[2].starts_with('{'))
    });
    inline.map(|(line, _)| at_line(line, "tests stand in a file of their own")).collect()
}

/// A function fits on a screen. Blank lines and comments are not counted.
pub(super) fn functions(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) {
        return Vec::new();
    }
    let code = code_only(text);
    let mut faults = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_word = at == 0 || code[..at].ends_with([' ', '\n', '(']);
        let Some((open, close)) = body(&code, at).filter(|_| is_word) else { continue };
        let lines = code[open + 1..close].lines().filter(|line| !line.trim().is_empty()).count();
        if lines > FUNCTION_LINES_MAX {
            let line = code[..at].matches('\n').count();
            faults.push(at_line(
                line,
                &format!("a function of {lines} lines; it has at most {FUNCTION_LINES_MAX}"),
            ));
        }
    }
    faults
}

/// Returns where the braces of the function at `at` stand; `None` for one without a body.
fn body(code: &str, at: usize) -> Option<(usize, usize)> {
    let mut depth = 0_usize;
    let mut nested = 0_usize;
    let mut open = None;
    for (index, character) in code[at..].char_indices() {
        match character {
            '(' | '[' => nested += 1,
            ')' | ']' => nested = nested.saturating_sub(1),
            ';' if nested == 0 && open.is_none() => return None,
            '{' => {
                depth += 1;
                open.get_or_insert(at + index);
            }
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some((open?, at + index));
                }
            }
            _ => {}
        }
    }
    None
}

/// A `mod.rs` is a table of contents: what it would hold besides has a name.
pub(super) fn contents_only(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if !path.ends_with("/mod.rs") || lines <= CONTENTS_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{lines} lines; a mod.rs is a table of contents of at most {CONTENTS_LINES_MAX}")]
}

/// What is on the main branch is done.
pub(super) fn unfinished(path: &str, text: &str) -> Vec<String> {
    const WORDS: [&str; 4] =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
    if is_generated(path) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split(|character: char| !character.is_alphanumeric() && character != '_');
        if let Some(word) = words.find(|word| WORDS.contains(word)) {
            faults.push(at_line(number, &format!("{word}: do it, or write it down outside the code")));
        }
    }
    faults
}

/// Left-overs of debugging, and tests that do not test.
pub(super) fn refused_code(path: &str, text: &str) -> Vec<String> {
    const REFUSED: [(&str, &str); 5] = [
        ("todo!", "do it"),
        ("unimplemented!", "do it"),
        ("dbg!", "a left-over"),
        ("#[ignore", "a test that does not run holds nothing"),
        ("#[should_panic", "check the error instead of any panic"),
    ];
    if !is_rust(path) {
        return Vec::new();
    }
    let code = code_only(text);
    let lines = code.lines().enumerate();
    let found = lines.flat_map(|(number, line)| {
        let of_line = REFUSED.iter().filter(move |(refused, _)| line.contains(refused));
        of_line.map(move |(refused, why)| at_line(number, &format!("{refused}: {why}")))
    });
    found.collect()
}

/// A failure is answered; where there can be none, `expect` says why.
pub(super) fn unwraps(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || is_test(path) {
        return Vec::new();
    }
    lines_with(text, &[".unwrap()"], "answer the failure, or `expect` with the reason why there is none")
}

/// A test that sleeps is either slow or wrong on a busy machine.
pub(super) fn sleeps(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || !is_test(path) {
        return Vec::new();
    }
    lines_with(
        text,
        &["thread::sleep(", "time::sleep("],
        "pause the time, or wait for a condition with a deadline",
    )
}

fn lines_with(text: &str, refused: &[&str], fault: &str) -> Vec<String> {
    let code = code_only(text);
    let found =
        code.lines().enumerate().filter(|(_, line)| refused.iter().any(|refused| line.contains(refused)));
    found.map(|(number, _)| at_line(number, fault)).collect()
}

/// Returns the name of the crate of the workspace whose manifest this is.
fn manifest_of(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml").filter(|name| !name.contains('/'))
}

/// A crate sees only the core; only the binary sees all. Development dependencies are free.
pub(super) fn edges(path: &str, text: &str) -> Vec<String> {
    let Some(name) = manifest_of(path) else { return Vec::new() };
    let may_see = |other: &str| match name {
        "streamgauge" => true,
        "sg-core" => false,
        _ => other == "sg-core",
    };
    let mut section = String::new();
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let mut dependency = None;
        if let Some(heading) = line.strip_prefix('[') {
            section = heading.trim_end_matches(']').to_owned();
            // `[dependencies.name]` is a section of its own.
            dependency = section.rsplit_once("dependencies.").map(|(_, name)| name.to_owned());
        } else if section.ends_with("dependencies") {
            dependency = line.split(['.', '=', ' ']).next().map(|name| name.trim_matches('"').to_owned());
        }
        let is_free = section.contains("dev-dependencies");
        let Some(other) = dependency.filter(|other| other.starts_with("sg-") || other == "streamgauge")
        else {
            continue;
        };
        if !is_free && !may_see(&other) {
            faults.push(at_line(number, &format!("{name} must not see {other}")));
        }
    }
    faults
}

/// Every crate has the workspace's lints, and those forbid unsafe code.
pub(super) fn lints(path: &str, text: &str) -> Vec<String> {
    let wanted = match path {
        "Cargo.toml" => "unsafe_code = \"forbid\"",
        _ if manifest_of(path).is_some() => "[lints]\nworkspace = true",
        _ => return Vec::new(),
    };
    if text.contains(wanted) { Vec::new() } else { vec![format!("{wanted} is missing")] }
}

/// The software does not know on which machine it was written, nor where its parts were fetched from.
pub(super) fn places(path: &str, text: &str) -> Vec<String> {
    const PLACES: [&str; 12] = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("crates", ".io"),
        concat!("npmjs", ".org"),
        concat!("pypi", ".org"),
        concat!("python", "hosted.org"),
        concat!("proxy.", "golang.org"),
        concat!("maven", ".org"),
        concat!("maven.", "apache.org"),
        concat!("deb.", "debian.org"),
    ];
    if is_generated(path) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(place) = PLACES.iter().find(|place| line.contains(**place)) {
            faults.push(at_line(
                number,
                &format!("{place} is a place that others do not have or need not know"),
            ));
        }
    }
    faults
}

/// Returns the codes in a source file: quoted `snake_case` words behind `=>`, behind `StatusCode::X,`, or in front of
/// a status in a pair such as `("code", 400)`.
pub(super) fn codes(source: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    // Odd pieces between quotes are literals; none of the files has a quote inside one that would look like a code.
    let pieces: Vec<&str> = source.split('"').collect();
    for around in pieces.windows(3) {
        let [before, literal, after] = [around[0].trim_end(), around[1], around[2].trim_start()];
        let is_word = literal.starts_with(|first: char| first.is_ascii_lowercase())
            && literal.chars().all(|character| {
                character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_'
            });
        if is_word && stands_as_code(before, after) {
            codes.insert(literal.to_owned());
        }
    }
    codes
}

fn stands_as_code(before: &str, after: &str) -> bool {
    let behind_status = before.strip_suffix(',').is_some_and(|before| {
        let word = before.rsplit(['(', ' ', '\n']).next().unwrap_or_default();
        word.starts_with("StatusCode::")
    });
    let before_status = before.ends_with('(')
        && after.strip_prefix(',').is_some_and(|after| {
            let after = after.trim_start();
            after.starts_with("StatusCode::") || after.starts_with(|first: char| first.is_ascii_digit())
        });
    let is_arm = before.ends_with("=>") && after.starts_with(',');
    is_arm || behind_status || before_status
}

/// Returns what one of the two sides lacks.
pub(super) fn unpaired(codes: &BTreeSet<String>, pages: &BTreeSet<String>) -> Vec<String> {
    let no_page =
        codes.difference(pages).map(|code| format!("the code {code} has no page docs/errors/{code}.md"));
    let no_code = pages.difference(codes).map(|page| format!("docs/errors/{page}.md is the page of no code"));
    no_page.chain(no_code).collect()
}
