//! Deleting whole segments that nobody needs any more, oldest first. What is needed the caller says; how much is kept
//! beyond that, the options.

use std::collections::HashMap;

use sg_core::ports::PortError;
use sg_core::time::Timestamp;

use crate::fault::disk_error;
use crate::names;
use crate::shared::{Segment, Shared, View, lock};

/// Deletes every oldest segment of which all records lie before the first needed offset of their stream, while the log
/// is larger or the segment older than the options keep. A stream that is not named keeps all its records.
pub(crate) fn trim(shared: &Shared, needed: &[(String, u32, u64)]) -> Result<(), PortError> {
    let _one_at_a_time = lock(&shared.trimming);
    let mut least: HashMap<&str, u64> = HashMap::new();
    for (stream, _, offset) in needed {
        least.entry(stream).and_modify(|least| *least = (*least).min(*offset)).or_insert(*offset);
    }
    let keep_from = shared.settings.clock.now().minus(shared.settings.keep_age);
    loop {
        // Readers lose the segment before its file goes; one sync a segment keeps the files on disk without holes.
        let segment = {
            let mut view = lock(&shared.view);
            if !may_go(&view, &least, shared.settings.keep_bytes, keep_from) {
                return Ok(());
            }
            let Some(segment) = view.segments.pop_front() else { return Ok(()) };
            segment
        };
        let path = names::segment(&shared.settings.dir, segment.number);
        let given = shared.pool.give(&path);
        let mut view = lock(&shared.view);
        if let Err(error) = given {
            view.segments.push_front(segment);
            return Err(disk_error("trim segment file", &path, error));
        }
        shared.stats.segments.set(view.segments.len() as u64);
    }
}

/// Returns whether the oldest segment may be deleted.
fn may_go(view: &View, least: &HashMap<&str, u64>, keep_bytes: u64, keep_from: Timestamp) -> bool {
    let (Some(oldest), Some(following)) = (view.segments.front(), view.segments.get(1)) else { return false };
    view.is_surplus(keep_bytes, keep_from) && is_past(view, oldest, following, least)
}

fn is_past(view: &View, oldest: &Segment, following: &Segment, least: &HashMap<&str, u64>) -> bool {
    (0..view.streams.count()).all(|number| {
        let behind = following.start(number);
        let is_absent = oldest.start(number) == behind;
        let needed = view.streams.get(number).and_then(|stream| least.get(&*stream.name));
        is_absent || needed.is_some_and(|needed| *needed >= behind)
    })
}
