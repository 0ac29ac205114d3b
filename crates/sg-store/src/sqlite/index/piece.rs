//! What a piece covers: ranges of offsets, each row of which has its entries in the piece. A row's place in the piece
//! counts the offsets of its ranges one after the other, so that it fits 32 bits and orders as positions do.

use xxhash_rust::xxh3::xxh3_64;

use crate::place::position;
use crate::sqlite::error::Error;
use crate::unfit::Unfit;

/// Offsets that a range may have without rows: a longer gap is left between two ranges.
pub(crate) const GAP_MAX: u64 = 1 << 20;

/// Offsets of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The partition.
    pub(crate) partition: u32,
    /// The first offset.
    pub(crate) from: u64,
    /// The offset behind the last.
    pub(crate) to: u64,
}

/// A piece's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its number in the file; a later piece has a greater one.
    pub(crate) id: i64,
    /// The stream whose rows it covers.
    pub(crate) stream: String,
    /// How often its rows have been merged.
    pub(crate) level: u8,
    /// The least and the greatest event time in it, in milliseconds.
    pub(crate) times: (i64, i64),
    /// Ranges in order of partition and offset; they do not overlap.
    pub(crate) ranges: Vec<Range>,
}

impl Range {
    /// Returns the first position and the last.
    pub(crate) fn positions(&self) -> Result<(i64, i64), Error> {
        Ok((position(self.partition, self.from)?, position(self.partition, self.to)? - 1))
    }
}

impl Piece {
    /// Returns how many places there are.
    pub(crate) fn span(&self) -> u64 {
        self.ranges.iter().map(|range| range.to - range.from).sum()
    }

    /// Returns the position of a place.
    pub(crate) fn position(&self, local: u32) -> Result<i64, Error> {
        let mut left = u64::from(local);
        for range in &self.ranges {
            let span = range.to - range.from;
            if left < span {
                return Ok(position(range.partition, range.from + left)?);
            }
            left -= span;
        }
        Err(Error::index(format!("piece {} has no place {local}", self.id)))
    }

    /// Returns the piece as the file keeps it: a text and its checksum.
    pub(crate) fn encode(&self) -> Result<(String, i64), Error> {
        let ranges: Vec<_> =
            self.ranges.iter().map(|range| (range.partition, range.from, range.to)).collect();
        let body = serde_json::to_string(&(&self.stream, self.level, self.times, ranges))
            .map_err(|error| Unfit(format!("a piece as JSON: {error}")))?;
        let checksum = checksum(self.id, &body);
        Ok((body, checksum))
    }

    /// Reads what [`Piece::encode`] returned.
    pub(crate) fn decode(id: i64, body: &str, stored_checksum: i64) -> Result<Piece, Error> {
        let damaged = || Error::index(format!("piece {id} is not what was written"));
        if checksum(id, body) != stored_checksum {
            return Err(damaged());
        }
        type Body = (String, u8, (i64, i64), Vec<(u32, u64, u64)>);
        let (stream, level, times, ranges): Body = serde_json::from_str(body).map_err(|_| damaged())?;
        let ranges = ranges.into_iter().map(|(partition, from, to)| Range { partition, from, to }).collect();
        Ok(Piece { id, stream, level, times, ranges })
    }
}

fn checksum(id: i64, body: &str) -> i64 {
    xxh3_64(format!("{id} {body}").as_bytes()) as i64
}

/// Returns ranges in order, with those joined between which there are too few offsets to tell them apart.
pub(crate) fn joined(ranges: impl Iterator<Item = Range>) -> Vec<Range> {
    let mut sorted: Vec<Range> = ranges.collect();
    sorted.sort_unstable_by_key(|range| (range.partition, range.from));
    let mut joined: Vec<Range> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last) if last.partition == range.partition && range.from <= last.to + GAP_MAX => {
                last.to = last.to.max(range.to);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Returns the positions that no piece covers, as (first, last).
pub(crate) fn uncovered(pieces: &[Piece]) -> Result<Vec<(i64, i64)>, Error> {
    let mut covered = pieces
        .iter()
        .flat_map(|piece| &piece.ranges)
        .map(Range::positions)
        .collect::<Result<Vec<_>, Error>>()?;
    covered.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = i64::MIN;
    for (first, last) in covered {
        if next < first {
            gaps.push((next, first - 1));
        }
        next = next.max(last + 1);
    }
    gaps.push((next, i64::MAX));
    Ok(gaps)
}
