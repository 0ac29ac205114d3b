//! How failures are gathered and told.

use super::*;

#[test]
fn each_kind_is_told_once_the_most_frequent_first() {
    let mut failures = Failures::default();
    assert_eq!(failures.lines(), Vec::<String>::new());
    for sentence in ["a", "b", "b", "c", "d", "e", "f", "b", "f", "a"] {
        failures.add(sentence.to_owned());
    }
    let expect =
        ["3 times: b", "2 times: a", "1 times: c", "1 times: d", "1 times: e", "2 times: something else"];
    assert_eq!(failures.lines(), expect);
    let mut all = Failures::default();
    all.add("f".to_owned());
    all.merge(failures);
    assert_eq!(
        all.lines()
            .iter()
            .map(|line| line.split(' ').next().expect("a number").parse::<u64>().expect("a number"))
            .sum::<u64>(),
        11
    );
    assert_eq!(all.json()[0]["says"], "a");
}

#[test]
fn a_problem_is_told_with_its_code_and_its_first_event() {
    for (status, body, expect) in [
        (503, "", "503"),
        (502, "<html>", "502"),
        (
            404,
            r#"{"code":"unknown_stream","detail":"there is no stream x"}"#,
            "404 unknown_stream: there is no stream x",
        ),
        (
            422,
            r#"{"code":"all_rejected","detail":"none of the 2 events was accepted","errors":[{"index":0,"code":"bad_field","detail":"no"}]}"#,
            "422 all_rejected: none of the 2 events was accepted; the first: bad_field (no)",
        ),
        (
            202,
            r#"{"accepted":1,"rejected":1,"errors":[{"index":1,"code":"bad_field","detail":"no"}]}"#,
            "202; the first: bad_field (no)",
        ),
    ] {
        assert_eq!(told_in(status, body.as_bytes()), expect);
    }
}
