//! What `[cloudwatch]` and the variables of AWS mean together.

use super::*;

fn read(toml: &str, variables: &[(&str, &str)]) -> Result<Option<CloudWatchSettings>, Vec<String>> {
    let table: toml::Table = toml.parse().expect("TOML");
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (mut reader, mut errors) = (Reader::new(&table, ""), Errors::default());
    let settings = cloudwatch(&mut reader, &owned.collect(), &mut errors);
    reader.finish(&mut errors);
    if errors.0.is_empty() { Ok(settings) } else { Err(errors.0) }
}

const ON: &str = "[cloudwatch]\nenabled = true";

#[test]
fn it_is_off_unless_asked_for() {
    for toml in ["", "[cloudwatch]", "[cloudwatch]\nenabled = false\nnamespace = \"A\""] {
        assert_eq!(read(toml, &[("AWS_REGION", "us-east-2")]), Ok(None), "{toml}");
    }
}

#[test]
fn the_region_makes_the_endpoint_unless_one_is_named() {
    let endpoint = |variables: &[(&str, &str)]| {
        let read = read(ON, variables).expect("right").expect("on");
        assert_eq!((read.namespace.as_str(), read.region.as_str()), ("PageviewPipeline", "eu-west-1"));
        read.endpoint
    };
    let region = ("AWS_DEFAULT_REGION", "eu-west-1");
    assert_eq!(endpoint(&[region]), "https://monitoring.eu-west-1.amazonaws.com");
    let common = ("AWS_ENDPOINT_URL", "http://localhost:4566/");
    assert_eq!(endpoint(&[region, common]), "http://localhost:4566");
    let own = ("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:1");
    assert_eq!(endpoint(&[region, common, own]), "http://127.0.0.1:1");
}

#[test]
fn what_cloudwatch_would_refuse_is_an_error() {
    let check = |toml: &str, variables: &[(&str, &str)], expect: &str| {
        let errors = read(toml, variables).expect_err(expect);
        assert!(errors.len() == 1 && errors[0].starts_with(expect), "{errors:?}");
    };
    let region = ("AWS_REGION", "us-east-2");
    check(ON, &[], "cloudwatch.enabled: there is no region");
    check(
        ON,
        &[region, ("AWS_ENDPOINT_URL", "localhost")],
        "cloudwatch.enabled: AWS_ENDPOINT_URL_CLOUDWATCH",
    );
    let named = |namespace: &str| format!("{ON}\nnamespace = \"{namespace}\"");
    for namespace in ["", ":a", "AWS/a", "a{b", "ä", &"a".repeat(256)] {
        check(&named(namespace), &[region], "cloudwatch.namespace: is 1 to 255");
    }
    for namespace in ["a".repeat(255), "A/b #1:c.d-e_f".to_owned()] {
        assert!(read(&named(&namespace), &[region]).is_ok(), "{namespace}");
    }
    check(
        "[cloudwatch]\nnamespce = \"a\"",
        &[],
        "cloudwatch.namespce: there is no such key; did you mean namespace?",
    );
}
