//! Pages survive being written, and nothing else is taken for one.

use proptest::prelude::*;

use super::*;
use crate::sqlite::index::entry::{END, pack};

const RUN: (i64, Kind) = (7, Kind::User);

fn page(parts: Vec<(u64, i64, u32)>) -> Page {
    let mut entries: Vec<Entry> =
        parts.into_iter().map(|(hash, time, local)| pack(hash & ((1 << 47) - 1), time, local)).collect();
    entries.sort_unstable();
    Page { low: entries.first().copied().unwrap_or(0), high: END, entries }
}

proptest! {
    #[test]
    fn reads_what_was_written(
        parts in prop::collection::vec((prop_oneof![0..3u64, any::<u64>()], any::<i64>(), any::<u32>()), 0..50),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let page = page(parts);
        let bytes = encode(RUN, &page);
        let read = decode(RUN, &bytes).ok();
        prop_assert_eq!(read.as_ref(), Some(&page));
        prop_assert!(decode((8, Kind::User), &bytes).is_err());
        prop_assert!(decode((7, Kind::Event), &bytes).is_err());
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= flip;
        prop_assert!(decode(RUN, &damaged).is_err());
        prop_assert!(decode(RUN, &bytes[..at.index(bytes.len())]).is_err());
    }
}
