//! Files of variables as other tools read them.

use super::*;

#[test]
fn reads_lines() {
    let text = "# comment\n\nA=1\nexport B = two \nC=\"a # b\"\nD='x=y'\nE=plain # comment\nF=\n";
    let variables = parse(text).expect("a file of variables");
    let expected = [("A", "1"), ("B", "two"), ("C", "a # b"), ("D", "x=y"), ("E", "plain"), ("F", "")];
    let read: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(read, expected);
}

#[test]
fn refuses_others_without_showing_them() {
    let error = parse("A=1\nhunter2\n").expect_err("no variable").to_string();
    assert_eq!(error, "line 2 is not NAME=value");
}
