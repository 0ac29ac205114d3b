//! Layouts: which are refused, and what paths come out of the others.

use std::time::Duration;

use super::*;

fn rules(layout: &str, format: Format, compression: Compression) -> ArchiveRules {
    let layout = Layout::parse(layout).expect("the layout is right");
    let (rows, bytes, age) = (1_000, FILE_BYTES_MAX, Duration::from_secs(60));
    ArchiveRules {
        layout,
        hour_of: HourOf::Event,
        format,
        compression,
        rows,
        bytes,
        age,
        keep: None,
        keep_bytes_max: None,
    }
}

#[test]
fn names_files_by_the_hour() {
    let hour = Timestamp::from_text("2021-01-26T12:00:00Z").expect("a time");
    let check = |layout: &str, format, compression, expected: &str| {
        assert_eq!(rules(layout, format, compression).path(hour, "7-0"), expected, "{layout}");
    };
    let events = "events/{yyyy}/{MM}/{dd}/{HH}/events-{ts}.json";
    check(events, Format::Ndjson, Compression::None, "events/2021/01/26/12/events-7-0.json");
    check(events, Format::Ndjson, Compression::Gzip, "events/2021/01/26/12/events-7-0.json.gz");
    check(events, Format::Parquet, Compression::None, "events/2021/01/26/12/events-7-0.parquet");
    check("d/x-{ts}.json.zst", Format::Ndjson, Compression::Zstd, "d/x-7-0.json.zst");
    check(
        "dt={yyyy}-{MM}-{dd}/part-{ts}.parquet",
        Format::Parquet,
        Compression::None,
        "dt=2021-01-26/part-7-0.parquet",
    );
}

#[test]
fn refuses_layouts_that_lead_elsewhere() {
    let check = |layout: &str, why: &str| {
        let error = Layout::parse(layout).expect_err(layout);
        assert!(error.contains(why), "{layout}: {error}");
    };
    check("events-{yyyy}.json", "{ts} once");
    check("{ts}/{ts}", "{ts} once");
    check("{minute}/{ts}", "no {minute}");
    check("{ts", "without its }");
    check("../{ts}", "relative");
    check("/{ts}", "relative");
    check("a//{ts}", "relative");
    check("a b/{ts}", "letters");
    check("_streamgauge/{ts}", "does not lie in");
}
