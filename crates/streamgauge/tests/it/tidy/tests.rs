//! Every rule can fail: for each a text that breaks it, and one beside it that does not.

use std::collections::BTreeSet;

use super::code::code_only;
use super::rules::*;

fn check(faults: &[String], expect: usize, what: &str) {
    assert_eq!(faults.len(), expect, "{what}: {faults:?}");
}

fn function_of(lines: usize) -> String {
    format!("//! A file.\n\nfn long() {{\n{}}}\n", "    step();\n\n    // why\n".repeat(lines))
}

#[test]
fn every_rule_can_fail() {
    let long = |lines: usize| "x\n".repeat(lines);
    let note = concat!("// TO", "DO later\n");
    let machine = concat!("see /wo", "rk/notes\n");
    let host = concat!("from https://crates", ".io\n");
    for (rule, path, text, expect) in [
        (opening as fn(&str, &str) -> Vec<String>, "a.rs", "use std::fs;\n".to_owned(), 1),
        (opening, "a.rs", "//! A file.\n".to_owned(), 0),
        (opening, "a.md", "A page.\n".to_owned(), 0),
        (length, "a.rs", long(501), 1),
        (length, "a.rs", long(500), 0),
        (length, "a.md", long(501), 0),
        (inline_tests, "a.rs", "#[cfg(test)]\nmod tests {\n}\n".to_owned(), 1),
        (inline_tests, "a.rs", "#[cfg(test)]\nmod tests;\n// mod tests {\n".to_owned(), 0),
        (functions, "a.rs", function_of(71), 1),
        (functions, "a.rs", function_of(70), 0),
        (functions, "a.rs", format!("trait T {{\n fn no_body(&self, a: [u8; 2]);\n}}\n{}", long(100)), 0),
        (contents_only, "a/mod.rs", long(31), 1),
        (contents_only, "a/mod.rs", long(30), 0),
        (contents_only, "a/b.rs", long(31), 0),
        (unfinished, "a.rs", note.to_owned(), 1),
        (unfinished, "a.md", note.to_owned(), 1),
        (unfinished, "a.rs", "// todos are kept elsewhere; \\uXXXX\n".to_owned(), 0),
        (refused_code, "a.rs", "fn a() { todo!() }\n".to_owned(), 1),
        (refused_code, "a.rs", "fn a() { dbg!(1); }\n".to_owned(), 1),
        (refused_code, "a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n".to_owned(), 1),
        (refused_code, "a.rs", "#[should_panic]\nfn a() {}\n".to_owned(), 1),
        (refused_code, "a.rs", "// no dbg!\nfn a() -> &'static str { \"#[ignore]\" }\n".to_owned(), 0),
        (unwraps, "src/a.rs", "let a = b.unwrap();\n".to_owned(), 1),
        (unwraps, "src/a.rs", "let a = b.unwrap_or(1); // not .unwrap()\n".to_owned(), 0),
        (unwraps, "src/a/tests.rs", "let a = b.unwrap();\n".to_owned(), 0),
        (sleeps, "src/a/tests.rs", "std::thread::sleep(wait);\n".to_owned(), 1),
        (sleeps, "tests/it/tests/a.rs", "tokio::time::sleep(wait).await;\n".to_owned(), 1),
        (sleeps, "src/a.rs", "tokio::time::sleep(wait).await;\n".to_owned(), 0),
        (places, "a.md", machine.to_owned(), 1),
        (places, "a.md", host.to_owned(), 1),
        (places, "Cargo.lock", host.to_owned(), 0),
        (places, "a.md", "see docs/ and {\"path\":\"/home\"}\n".to_owned(), 0),
        (lints, "Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"deny\"\n".to_owned(), 1),
        (lints, "Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n".to_owned(), 0),
        (lints, "crates/sg-a/Cargo.toml", "[package]\n".to_owned(), 1),
        (lints, "crates/sg-a/Cargo.toml", "[lints]\nworkspace = true\n".to_owned(), 0),
    ] {
        check(&rule(path, &text), expect, &format!("{path}: {text}"));
    }
}

#[test]
fn names_say_what_is_inside() {
    for (path, expect) in [
        ("crates/sg-log/src/utils.rs", 1),
        ("crates/sg-log/src/segment_helpers.rs", 1),
        ("crates/common/src/lib.rs", 1),
        ("tools/controls/src/manager/a.rs", 1),
        ("crates/sg-log/src/segment.rs", 0),
        ("docs/v2/common.md", 0),
    ] {
        check(&name_faults(path), expect, path);
    }
}

#[test]
fn crates_see_what_they_may() {
    for (name, text, expect) in [
        ("sg-log", "[dependencies]\nsg-core.workspace = true\nbytes.workspace = true\n", 0),
        ("sg-log", "[dependencies]\nsg-store.workspace = true\n", 1),
        ("sg-log", "[dependencies]\nsg-store = { path = \"../sg-store\" }\n", 1),
        ("sg-log", "[dependencies.sg-store]\nworkspace = true\n", 1),
        ("sg-log", "[target.'cfg(unix)'.dependencies]\nsg-http.workspace = true\n", 1),
        ("sg-log", "[build-dependencies]\nsg-http.workspace = true\n", 1),
        ("sg-log", "[dev-dependencies]\nsg-store.workspace = true\n", 0),
        ("sg-log", "[dev-dependencies.sg-store]\nworkspace = true\n", 0),
        ("sg-core", "[dependencies]\nsg-log.workspace = true\n", 1),
        ("sg-http", "[dependencies]\nstreamgauge.workspace = true\n", 1),
        ("streamgauge", "[dependencies]\nsg-log.workspace = true\nsg-store.workspace = true\n", 0),
    ] {
        check(&edges(&format!("crates/{name}/Cargo.toml"), text), expect, &format!("{name}: {text}"));
    }
    check(&edges("tools/controls/Cargo.toml", "[dependencies]\nsg-log = \"1\"\n"), 0, "not of the workspace");
}

#[test]
fn codes_are_found_however_they_are_written() {
    let set = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<BTreeSet<String>>();
    for (source, expect) in [
        (r#"match self { Code::A => "bad_a", Code::B => "bad_b", }"#, &["bad_a", "bad_b"][..]),
        (r#"E::A(_) => (StatusCode::BAD_REQUEST, "bad_a"),"#, &["bad_a"]),
        ("E::A => (\n    StatusCode::BAD_REQUEST,\n    \"bad_a\",\n),", &["bad_a"]),
        (
            r#"const CODES: [(&str, u16); 2] = [("bad_a", 400), ("bad_b", StatusCode::GONE)];"#,
            &["bad_a", "bad_b"],
        ),
        (r#"E::A => "the body is empty".to_owned(), problem["field"] = json!({"status": 1});"#, &[]),
        (r#"E::A => "plain".to_owned(),"#, &[]),
    ] {
        assert_eq!(codes(source), set(expect), "{source}");
    }
    check(&unpaired(&set(&["a", "b"]), &set(&["b", "c"])), 2, "one code and one page stand alone");
    check(&unpaired(&set(&["a"]), &set(&["a"])), 0, "a pair");
}

#[test]
fn prose_is_no_code() {
    for (source, expect) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"a("b\"c") d"#, "a(      ) d"),
        (r##"r#"a"b"# c"##, "         c"),
        (r#"br"a" c"#, "b     c"),
        ("'\"' b", "    b"),
        ("fn a<'b>(c: &'b str) {}", "fn a<'b>(c: &'b str) {}"),
        ("for \"x\"", "for    "),
        ("\"open", "     "),
    ] {
        assert_eq!(code_only(source).trim_end(), expect.trim_end(), "{source}");
    }
}
