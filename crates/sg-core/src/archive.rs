//! Files of the archive: what they are called, what they hold and when one ends. Writes none.

use std::time::Duration;

use crate::batch::Entry;
use crate::time::Timestamp;

/// What the files of an archive hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum FileKind {
    /// Raw events of one partition.
    #[default]
    Raw,
    /// Windows that became final, and their corrections.
    Closed,
    /// Events that rollups diverted.
    Late,
}

impl FileKind {
    /// All kinds.
    pub const ALL: [FileKind; 3] = [FileKind::Raw, FileKind::Closed, FileKind::Late];
    /// The kinds whose files are made of lines that flushes wrote.
    pub const OF_LINES: [FileKind; 2] = [FileKind::Closed, FileKind::Late];

    /// Returns the kind's name in tables and answers.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Raw => "raw",
            FileKind::Closed => "closed",
            FileKind::Late => "late",
        }
    }
}

/// How records stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One event a line, as sent, in log order.
    Ndjson,
    /// Typed columns and the event as sent, by time.
    Parquet,
}

/// How a file of lines is packed. Parquet packs its columns itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// As `.gz`.
    Gzip,
    /// As `.zst`.
    Zstd,
}

/// Which time of a record names the file that it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HourOf {
    /// When it happened.
    Event,
    /// When it was received.
    Received,
}

/// How a stream is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveRules {
    /// Where files lie.
    pub layout: Layout,
    /// Which time names the file.
    pub hour_of: HourOf,
    /// How records stand in a file.
    pub format: Format,
    /// How a file is packed.
    pub compression: Compression,
    /// Records of a file at most, while the archive keeps up.
    pub rows: u64,
    /// Bytes of the events in a file at most.
    pub bytes: u64,
    /// How long a record waits for its file at most, while the archive keeps up.
    pub age: Duration,
    /// How long files are kept; for ever where not set.
    pub keep: Option<Duration>,
    /// Bytes of files at most, the oldest go first; any number where not set.
    pub keep_bytes_max: Option<u64>,
}

/// Bytes of events that go into one file when the archive is behind: large enough for every reader to like, small
/// enough to be held in memory and to be sent in one piece.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// What is not for users' globs stands under this folder of an archive.
pub const OWN_PREFIX: &str = "_streamgauge/";
const HOUR_MS: i64 = 3_600_000;

impl ArchiveRules {
    /// Returns the start of the hour whose file a record goes to.
    pub fn hour(&self, entry: &Entry, appended_at: Timestamp) -> Timestamp {
        let time = match self.hour_of {
            HourOf::Event => entry.times(appended_at).event_time,
            HourOf::Received => entry.times(appended_at).received_at,
        };
        Timestamp(time.0 - time.0.rem_euclid(HOUR_MS))
    }

    /// Returns the path of a file; `stamp` tells it from every other one.
    pub fn path(&self, hour: Timestamp, stamp: &str) -> String {
        let path = self.layout.path(hour, stamp);
        let (stem, ending) = match self.format {
            Format::Parquet => {
                let stem = path.strip_suffix(".ndjson").or_else(|| path.strip_suffix(".json"));
                (stem.unwrap_or(&path), ".parquet")
            }
            Format::Ndjson => match self.compression {
                Compression::None => (path.as_str(), ""),
                Compression::Gzip => (path.as_str(), ".gz"),
                Compression::Zstd => (path.as_str(), ".zst"),
            },
        };
        if stem.ends_with(ending) { stem.to_owned() } else { format!("{stem}{ending}") }
    }
}

/// Returns where the companion of a file lies: what the log knew of each of its records.
pub fn companion_path(path: &str) -> String {
    format!("{OWN_PREFIX}{path}.records.zst")
}

/// A template of paths such as `events/{yyyy}/{MM}/{dd}/{HH}/events-{ts}.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Year,
    Month,
    Day,
    Hour,
    Stamp,
}

impl Layout {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence about it.
    pub fn parse(text: &str) -> Result<Layout, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = rest.find('}').filter(|close| *close > open).ok_or("has a { without its }")?;
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            parts.push(match &rest[open + 1..close] {
                "yyyy" => Part::Year,
                "MM" => Part::Month,
                "dd" => Part::Day,
                "HH" => Part::Hour,
                "ts" => Part::Stamp,
                other => {
                    return Err(format!(
                        "has no {{{other}}}: there are {{yyyy}} {{MM}} {{dd}} {{HH}} {{ts}}"
                    ));
                }
            });
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let layout = Layout(parts);
        layout.check()?;
        Ok(layout)
    }

    fn check(&self) -> Result<(), String> {
        let stamps = self.0.iter().filter(|part| **part == Part::Stamp).count();
        if stamps != 1 {
            return Err("has {ts} once, so that no two files have one name".to_owned());
        }
        let path = self.path(Timestamp(0), "0");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=/".contains(&byte);
        if !path.bytes().all(is_plain) {
            return Err("has letters, digits, - _ . = and / only".to_owned());
        }
        if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err("is a relative path without empty names, . and ..".to_owned());
        }
        if path.starts_with(OWN_PREFIX) {
            return Err(format!("does not lie in {OWN_PREFIX}"));
        }
        Ok(())
    }

    /// Returns the path for an hour.
    pub fn path(&self, hour: Timestamp, stamp: &str) -> String {
        let (year, month, day, hour, ..) = hour.civil();
        let mut path = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => path += text,
                Part::Year => path += &format!("{year:04}"),
                Part::Month => path += &format!("{month:02}"),
                Part::Day => path += &format!("{day:02}"),
                Part::Hour => path += &format!("{hour:02}"),
                Part::Stamp => path += stamp,
            }
        }
        path
    }
}

#[cfg(test)]
mod tests;
