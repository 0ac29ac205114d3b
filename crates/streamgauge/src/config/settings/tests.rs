//! The built-in configuration is right, and every error of a wrong one is told.

use super::*;

fn resolve(changes: &str) -> Result<Settings, Vec<String>> {
    let mut layers = Layers::builtin().expect("the built-in configuration is TOML");
    let changes: toml::Table = changes.parse().expect("TOML");
    for (key, value) in changes {
        layers.flag(&key, value, "--test");
    }
    Settings::resolve(&layers)
}

#[test]
fn the_built_in_configuration_serves_its_streams() {
    let settings = resolve("").expect("right");
    let streams: Vec<&str> = settings.streams.iter().map(|settings| settings.stream.name.as_str()).collect();
    assert_eq!(streams, ["events", "pageviews", "stream.events"]);
    let hourly = &settings.rollups[0];
    assert_eq!(
        (hourly.name.as_str(), hourly.window_ms, hourly.pane_ms, hourly.grace_ms),
        ("hourly_aggregations", 3_600_000, 900_000, 30_000)
    );
    assert_eq!(settings.streams[0].stream.dedup.records, 5_000_000);
    assert_eq!(
        settings.rollups[2].measures[2].filter.0,
        [("event_type".to_owned(), vec!["donation".to_owned()])]
    );
}

#[test]
fn every_error_is_told_at_once_with_its_place() {
    let errors = resolve(
        r#"
        log = "kafka:"
        rolez = []
        roles = ["ingest", "cook"]
        listen = [{ address = "0.0.0.0:80" }, { address = "nonsense" }]
        flush = { interval = "soon", max_events = 0, intervall = 1 }
        stream = [
          { name = "a", paths = ["x"], dedup = { records = 0 } },
          { name = "a", raw_table = { name = "sg_x" } },
        ]
        rollup = [{ name = "r", stream = "b", window = "1h", pane = "7m", late = "never", by = ["revision"], measure = [{ name = "m", fn = "sum" }] }]
        "#,
    )
    .expect_err("wrong in every line");
    for expect in [
        "log: is embedded:, embedded:PATH or kafka://HOST:PORT",
        "rolez: there is no such key; did you mean roles?",
        "roles: there is no role cook",
        "roles: an embedded log is read by its own process only: add process, query",
        "listen.1.address: is HOST:PORT",
        "flush.interval: is a duration such as",
        "flush.max_events: is at least 1",
        "flush.intervall: there is no such key; did you mean interval?",
        "stream.0.paths: x is no path",
        "stream.0.dedup.records: is between",
        "stream.1.name: a stands twice",
        "stream.1.raw_table.name: names that begin with sg_",
        "rollup.0.pane: divides the window",
        "rollup.0.late: is correct or divert",
        "rollup.0.measure.0.field: a sum needs a field",
        "rollup.0.stream: there is no stream b",
        "rollup.0.measure: revision is a column of every rollup",
    ] {
        assert!(errors.iter().any(|error| error.starts_with(expect)), "{expect} is missing in {errors:#?}");
    }
    assert_eq!(errors.len(), 17, "{errors:#?}");
}

#[cfg(all(feature = "kafka", feature = "postgres"))]
#[test]
fn roles_that_leave_work_undone_are_refused() {
    let shared = "log = \"kafka://k:9092\"\nstore = \"postgres://u@h/d\"\n";
    let one_store = "log = \"kafka://k:9092\"\n";
    let one_log = "store = \"postgres://u@h/d\"\n";
    for (text, roles, complaint) in [
        (shared, "\"ingest\"", None),
        (shared, "\"process\"", None),
        (shared, "\"query\", \"archive\"", None),
        (shared, "", Some("at least one is needed")),
        (one_store, "\"process\", \"query\"", None),
        (one_store, "\"ingest\"", Some("a SQLite store belongs to one process: add process, query")),
        (one_log, "\"ingest\", \"process\", \"query\"", None),
        (
            one_log,
            "\"ingest\", \"query\"",
            Some("an embedded log is read by its own process only: add process"),
        ),
    ] {
        let found = resolve(&format!("{text}roles = [{roles}]"));
        match (found, complaint) {
            (Ok(_), None) => {}
            (Err(errors), Some(complaint)) => {
                assert!(errors.len() == 1 && errors[0].contains(complaint), "{roles}: {errors:?}");
            }
            (found, _) => panic!("{text}{roles}: {:?}", found.err()),
        }
    }
}

/// Whether somebody has a key only the store knows; the configuration says what it cannot tell.
#[test]
fn listening_beyond_this_machine_without_a_key_is_noted() {
    let given = "0123456789abcdef0123456789abcdef";
    for (text, is_noted) in [
        ("listen = [{ address = \"127.0.0.1:0\" }, { address = \"[::1]:0\" }]".to_owned(), false),
        ("listen = [{ address = \"0.0.0.0:0\" }]".to_owned(), true),
        ("auth = \"off\"\nlisten = [{ address = \"0.0.0.0:0\" }]".to_owned(), false),
        (format!("admin_key = \"{given}\"\nlisten = [{{ address = \"0.0.0.0:0\" }}]"), false),
    ] {
        let notes = resolve(&text).expect("it is right").notes;
        assert_eq!(notes.iter().any(|note| note.contains("nobody has a key")), is_noted, "{text}: {notes:?}");
    }
}

#[test]
fn a_listening_address_says_what_its_metrics_are() {
    for (flag, expect) in [
        ("127.0.0.1:8000", Ok(BareMetrics::Rows)),
        ("127.0.0.1:8000,metrics=prometheus", Ok(BareMetrics::Prometheus)),
        ("127.0.0.1:8001", Ok(BareMetrics::Prometheus)),
        ("127.0.0.1:18000", Ok(BareMetrics::Prometheus)),
        ("127.0.0.1:8001,metrics=rows", Ok(BareMetrics::Rows)),
        ("127.0.0.1:8001,metrics=", Err("listen.0.metrics: is prometheus or rows, not ")),
        ("127.0.0.1:8001,rows", Err("listen.0.rows: there is no such key")),
    ] {
        let mut layers = Layers::builtin().expect("the built-in configuration is TOML");
        layers.flag("listen", listen_value(&[flag.to_owned()]), "--listen");
        match (Settings::resolve(&layers), expect) {
            (Ok(settings), Ok(expect)) => assert_eq!(settings.listen[0].metrics, expect, "{flag}"),
            (Err(errors), Err(expect)) => assert!(errors[0].starts_with(expect), "{flag}: {errors:?}"),
            (found, _) => panic!("{flag}: {:?}", found.err()),
        }
    }
}

#[test]
fn what_doors_are_told_is_checked() {
    for (text, complaint) in [
        ("http = { cors_origins = [\"localhost\"] }", "http.cors_origins: localhost is an origin such as"),
        ("http = { cors_origins = \"*\" }", "http.cors_origins: is a list of texts"),
        (
            "stream = [{ name = \"a\", answer = \"none\" }]\nrollup = []",
            "stream.0.answer: is counts or empty, not none",
        ),
        (
            "stream = [{ name = \"a\", types = { b = \"date\" } }]\nrollup = []",
            "stream.0.types: b is text or number, not date",
        ),
    ] {
        let errors = resolve(text).expect_err("one thing is wrong");
        assert!(errors.len() == 1 && errors[0].starts_with(complaint), "{errors:?}");
    }
}

#[test]
fn outputs_are_checked() {
    let rollup = "rollup = [{ name = \"r\", stream = \"a\", window = \"1m\", by = [\"city\"], measure = [{ name = \"n\", fn = \"count\" }] }]";
    for (outputs, complaint) in [
        ("{ closed = \"x y\" }", "stream.0.outputs: \"x y\" is no topic's name"),
        ("{ closed = 3 }", "stream.0.outputs.closed: is a text in quotes"),
        (
            "{ closed = { topic = \"t\", zones = false } }",
            "stream.0.outputs.closed.zones: there is no such key; did you mean zone?",
        ),
        (
            "{ closed = { topic = \"t\", fields = [\"town\"] } }",
            "stream.0.outputs.closed.fields: town is no dimension or measure of r",
        ),
        ("{ late = \"a\" }", "stream.0.outputs: a is the topic of the stream a"),
        ("{ dead_letters = \"dlq\" }", "stream.0.outputs.dead_letters: is a list of texts"),
        ("{ dead_letters = [\"dlq\", \"dlq\"] }", "stream.0.outputs.dead_letters: dlq stands twice"),
    ] {
        let errors = resolve(&format!("stream = [{{ name = \"a\", outputs = {outputs} }}]\n{rollup}"))
            .expect_err("one thing is wrong");
        assert!(errors.len() == 1 && errors[0].starts_with(complaint), "{errors:?}");
    }
}

#[cfg(feature = "kafka")]
#[test]
fn outputs_are_written_where_the_log_is_kafka() {
    let on_kafka = resolve("log = \"kafka://k:9092\"").expect("right");
    let outputs: Vec<_> = on_kafka.streams.iter().map(|stream| stream.stream.outputs.topics()).collect();
    let expect = [
        vec!["events-dlq", "events.DLQ"],
        vec!["pageview-aggregates", "late-pageview-aggregates"],
        vec!["stream.events-dlq"],
    ];
    assert_eq!((outputs, on_kafka.notes.len()), (expect.to_vec(), 0));
    let plain = "stream = [{ name = \"a\", outputs = { closed = \"t\" } }]\nrollup = []";
    let plain = resolve(&format!("log = \"kafka://k:9092\"\n{plain}")).expect("a name alone is enough");
    let closed = plain.streams[0].stream.outputs.closed.as_ref().expect("it is named");
    assert!(closed.topic == "t" && closed.shape.has_zone && closed.shape.fields.is_empty(), "{closed:?}");

    let embedded = resolve("").expect("right");
    assert!(embedded.streams.iter().all(|stream| stream.stream.outputs.has_no_topics()));
    assert!(embedded.notes[0].starts_with("outputs of events, pageviews, stream.events need a Kafka log"));
}

#[test]
fn files_of_lines_are_checked() {
    let rollup = "rollup = [{ name = \"r\", stream = \"a\", window = \"1m\", by = [\"city\"], measure = [{ name = \"n\", fn = \"count\" }] }]";
    for (files, complaint) in [
        (
            "archive_closed = { format = \"parquet\" }",
            "stream.0.archive_closed.format: is ndjson: these files hold lines",
        ),
        ("archive_late = { format = \"csv\" }", "stream.0.archive_late.format: is ndjson, not csv"),
        ("archive_closed = { hour_of = \"event\" }", "stream.0.archive_closed.hour_of: there is no such key"),
        (
            "archive_late = { layout = \"late.ndjson\" }",
            "stream.0.archive_late.layout: late.ndjson has {ts} once",
        ),
        ("archive_late = { rows = 0 }", "stream.0.archive_late.rows: is between 1 and"),
        ("archive_closed = { max_bytes = \"much\" }", "stream.0.archive_closed.max_bytes: is a size"),
        (
            "archive_closed = { fields = [\"town\"] }",
            "stream.0.archive_closed.fields: town is no dimension or measure of r",
        ),
        ("archive_closed = \"on\"", "stream.0.archive_closed: is a table"),
    ] {
        let errors = resolve(&format!("stream = [{{ name = \"a\", {files} }}]\n{rollup}"))
            .expect_err("one thing is wrong");
        assert!(errors.len() == 1 && errors[0].starts_with(complaint), "{errors:?}");
    }
}

#[test]
fn lines_are_written_where_somebody_makes_files_of_them() {
    for (text, expected) in [
        ("", [false, false]),
        ("archive = \"file:a\"", [true, true]),
        ("archive = \"file:a\"\nroles = [\"ingest\", \"process\", \"query\"]", [false, false]),
        (
            "archive = \"file:a\"\nstream = [{ name = \"a\", archive = \"off\", archive_late = {} }]\nrollup = []",
            [false, true],
        ),
        ("stream = [{ name = \"a\", archive_closed = { url = \"file:b\" } }]\nrollup = []", [true, false]),
        (
            "archive = \"file:a\"\nstream = [{ name = \"a\", archive_closed = \"off\" }]\nrollup = []",
            [false, false],
        ),
    ] {
        let settings = resolve(text).expect("right");
        let files: Vec<_> = settings.streams.iter().map(|stream| &stream.stream.outputs.files).collect();
        let found = [files.iter().any(|of| of.closed.is_some()), files.iter().any(|of| of.late.is_some())];
        assert_eq!(found, expected, "{text}");
    }
    // The shape is the topic's, also where no topic is written.
    let builtin = resolve("archive = \"file:a\"").expect("right");
    let closed = builtin.streams[1].stream.outputs.files.closed.as_ref().expect("it is built in");
    assert_eq!(closed.fields, ["postcode", "window_start", "pageview_count"]);
    assert!(!closed.has_zone && builtin.streams[1].stream.outputs.has_no_topics());
}

#[test]
fn what_is_kept_has_a_number_where_one_is_given() {
    let stream = |keys: &str| {
        let text = format!("stream = [{{ name = \"a\", {keys} }}]\nrollup = []");
        resolve(&text).map(|settings| settings.streams[0].stream.clone())
    };
    let plain = stream("raw_table = { name = \"t\" }").expect("right");
    assert_eq!(plain.raw_table.map(|table| table.rows_max), Some(None));
    assert_eq!(plain.letters, sg_core::definition::LettersKept::default());
    let few = "raw_table = { name = \"t\", max_rows = 10 }, dead_letters = { max_rows = 20 }, late_events = { keep = \"1d\" }";
    let few = stream(few).expect("right");
    assert_eq!(few.raw_table.map(|table| table.rows_max), Some(Some(10)));
    assert_eq!((few.letters.dead_letters.rows_max, few.letters.late.rows_max), (Some(20), None));
    assert_eq!(few.letters.late.age, Duration::from_secs(86_400));
    let errors = stream("late_events = { max_row = 1 }").expect_err("one thing is wrong");
    assert!(
        errors[0].ends_with("late_events.max_row: there is no such key; did you mean max_rows?"),
        "{errors:?}"
    );
}

#[test]
fn built_in_rollups_that_a_file_displaces_are_named() {
    let rollup = |name: &str| {
        format!(
            "[[rollup]]\nname = \"{name}\"\nstream = \"events\"\nwindow = \"1m\"\nby = []\n\
             measure = [{{ name = \"n\", fn = \"count\" }}]\n"
        )
    };
    let stream = "[[stream]]\nname = \"events\"\n";
    for (text, expect) in [
        (rollup("revenue"), "hourly_aggregations, pageview_aggregates, stream_metrics_minute"),
        (rollup("hourly_aggregations"), "pageview_aggregates, stream_metrics_minute"),
        (format!("{stream}{}", rollup("revenue")), "hourly_aggregations are"),
        (format!("{stream}{}", rollup("hourly_aggregations")), ""),
        (String::new(), ""),
    ] {
        let notes = resolve(&text).expect("it is right").notes;
        let found = notes.iter().find(|note| note.starts_with("the built-in rollups"));
        assert_eq!(found.is_some(), !expect.is_empty(), "{text}: {notes:?}");
        assert!(found.is_none_or(|note| note.contains(expect)), "{notes:?}");
    }
}
