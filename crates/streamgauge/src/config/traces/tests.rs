//! What the variables mean, and which of their values mean nothing.

use super::*;

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

fn read(variables: &[(&str, &str)]) -> (Option<TraceSettings>, Vec<String>) {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut errors = Errors::default();
    let settings = TraceSettings::of(&owned.collect(), &mut errors);
    (settings, errors.0)
}

fn beside(more: &[(&str, &str)]) -> TraceSettings {
    let (settings, errors) = read(&[&[ENDPOINT], more].concat());
    settings.unwrap_or_else(|| panic!("{more:?}: {errors:?}"))
}

#[test]
fn nothing_is_traced_unless_there_is_an_endpoint() {
    let off: [&[(&str, &str)]; 5] = [
        &[],
        &[("OTEL_SERVICE_NAME", "a"), ("OTEL_TRACES_SAMPLER", "always_on")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
        &[ENDPOINT, ("OTEL_SDK_DISABLED", "True")],
        &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
    ];
    for variables in off {
        let (settings, errors) = read(variables);
        assert!(settings.is_none() && errors.is_empty(), "{variables:?}: {errors:?}");
    }
}

#[test]
fn the_path_is_added_to_the_common_endpoint_only() {
    let check = |variables: &[(&str, &str)], expect: &str| {
        let (settings, errors) = read(variables);
        assert_eq!(settings.map(|settings| settings.endpoint).as_deref(), Some(expect), "{errors:?}");
    };
    check(&[ENDPOINT], "http://collector:4318/v1/traces");
    check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a/b/")], "https://a/b/v1/traces");
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:1/in");
    check(&[ENDPOINT, own], "http://other:1/in");
}

#[test]
fn an_endpoint_that_is_none_is_an_error_that_does_not_show_it() {
    for endpoint in ["collector:4318", "ftp://secret@collector", "http://"] {
        let (settings, errors) = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        assert!(settings.is_none(), "{endpoint}");
        let expect = "OTEL_EXPORTER_OTLP_ENDPOINT: is an address such as http://otel-collector:4318";
        assert_eq!(errors, [expect]);
    }
}

#[test]
fn what_is_of_traces_alone_goes_first() {
    let settings = beside(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Basic%20eA==, b = 2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
    ]);
    let headers = [("authorization", "Basic%20eA=="), ("b", "2")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(settings.headers, HashMap::from(headers));
    assert_eq!(settings.timeout, Duration::from_millis(2_500));
    assert!(!format!("{settings:?}").contains("Basic"));
}

#[test]
fn the_service_name_goes_before_the_attribute_of_that_name() {
    let named = |variables: &[(&str, &str)]| {
        let settings = beside(variables);
        let names = settings.resource.iter().filter(|(name, _)| name == "service.name");
        names.map(|(_, value)| value.clone()).next_back()
    };
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=of%20attributes,team=counts");
    assert_eq!(named(&[]).as_deref(), Some("streamgauge"));
    assert_eq!(named(&[attributes]).as_deref(), Some("of attributes"));
    assert_eq!(named(&[attributes, ("OTEL_SERVICE_NAME", "own")]).as_deref(), Some("own"));
    assert!(beside(&[attributes]).resource.contains(&("team".to_owned(), "counts".to_owned())));
}

#[test]
fn every_sampler_of_the_specification_is_known() {
    let check = |name: &str, arg: Option<&str>, by_parent: bool, share: f64, notes: usize| {
        let mut variables = vec![("OTEL_TRACES_SAMPLER", name)];
        variables.extend(arg.map(|arg| ("OTEL_TRACES_SAMPLER_ARG", arg)));
        let settings = beside(&variables);
        assert_eq!(settings.sampling, Sampling { by_parent, share }, "{variables:?}");
        assert_eq!(settings.notes.len(), notes, "{variables:?}: {:?}", settings.notes);
    };
    check("", None, true, 1.0, 0);
    check("always_on", None, false, 1.0, 0);
    check("always_off", None, false, 0.0, 0);
    check("traceidratio", Some("0.25"), false, 0.25, 0);
    check("traceidratio", None, false, 1.0, 0);
    check("parentbased_always_on", None, true, 1.0, 0);
    check("parentbased_always_off", None, true, 0.0, 0);
    check("parentbased_traceidratio", Some("0"), true, 0.0, 0);
    check("parentbased_traceidratio", Some("1.5"), true, 1.0, 1);
    check("parentbased_traceidratio", Some("half"), true, 1.0, 1);
    check("jaeger_remote", None, true, 1.0, 1);
}

#[test]
fn a_value_without_a_meaning_is_noted_and_not_heeded() {
    let settings = beside(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=x,y=100%,z=%e2%82%ac%zz"),
    ]);
    assert_eq!(settings.notes.len(), 4, "{:?}", settings.notes);
    assert!(!settings.notes.concat().contains("secret"));
    assert_eq!(settings.timeout, DEFAULT_TIMEOUT);
    let expect = [("y", "100%"), ("z", "€%zz")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(settings.resource[1..], expect);
}
