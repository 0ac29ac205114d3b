//! When a cut ends, and which line goes into which of its files.

use sg_core::archive::{Compression, Format, HourOf, Layout};

use super::*;

const DAY: i64 = 86_400_000;

/// Three rows a file, one file a day, ten seconds at most.
fn rules(rows: u64, bytes: u64) -> ArchiveRules {
    ArchiveRules {
        layout: Layout::parse("{yyyy}/{MM}/{dd}/late-{ts}.ndjson").expect("the layout is right"),
        hour_of: HourOf::Event,
        format: Format::Ndjson,
        compression: Compression::None,
        rows,
        bytes,
        age: Duration::from_secs(10),
        keep: None,
        keep_bytes_max: None,
    }
}

/// Lines of nine bytes with their breaks, of these days, written at time zero.
fn lines(days: &[i64]) -> Vec<Line> {
    let line = |(at, day): (usize, &i64)| Line {
        id: at as i64 + 1,
        window_start: Timestamp(day * DAY + at as i64 % 24 * 3_600_000),
        written_at: Timestamp(0),
        text: "12345678".to_owned(),
    };
    days.iter().enumerate().map(line).collect()
}

#[track_caller]
fn check((rows, bytes): (u64, u64), days: &[i64], (now_ms, is_last): (i64, bool), expected: Option<usize>) {
    let (rules, waiting) = (rules(rows, bytes), lines(days));
    assert_eq!(cut(&waiting, &rules, Timestamp(now_ms), is_last), expected, "{days:?}");
    // Every line of a cut is in one file, which is no larger than it may be.
    let taken = &waiting[..expected.unwrap_or(0)];
    let mut ids: Vec<i64> = Vec::new();
    for file in files(taken, &rules) {
        assert!(!file.is_empty());
        assert!(file.iter().all(|line| slot(line, &rules) == slot(file[0], &rules)));
        ids.extend(file.iter().map(|line| line.id));
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=taken.len() as i64).collect::<Vec<_>>());
}

#[test]
fn a_cut_ends_with_a_full_file_or_with_age() {
    let large = 1 << 20;
    check((3, large), &[], (0, true), None);
    check((3, large), &[0, 0], (0, false), None);
    check((3, large), &[0, 0], (9_999, false), None);
    check((3, large), &[0, 0], (10_000, false), Some(2));
    check((3, large), &[0, 0], (0, true), Some(2));
    check((3, large), &[0, 0, 0], (0, false), Some(3));
    // What stands before the line that fills a file goes along; what comes after waits.
    check((3, large), &[0, 1, 0, 1, 0, 2], (0, false), Some(5));
    check((3, large), &[0, 0, 0, 0, 0, 0, 0], (0, false), Some(6));
    check((3, large), &[0, 1, 2, 3], (0, false), None);
    // Bytes fill a file as well.
    check((100, 18), &[0, 0, 0], (0, false), Some(2));
    check((100, 19), &[0, 0, 0], (0, false), Some(3));
    // Files of many days are requests, too.
    let days: Vec<i64> = (0..300).collect();
    check((100, large), &days, (10_000, false), Some(FILES_PER_CUT_MAX));
}

#[test]
fn a_lane_that_is_behind_has_few_files() {
    let (twenty, more) = (vec![0; 60], vec![0; 61]);
    let rules = rules(3, 1 << 20);
    assert_eq!(files(&lines(&twenty), &rules).len(), 20);
    assert_eq!(files(&lines(&more), &rules).len(), 1);
    check((3, 1 << 20), &more, (0, false), Some(61));
    check((3, 1 << 20), &twenty, (0, false), Some(60));
}
