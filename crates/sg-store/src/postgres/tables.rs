//! Names of private tables. The server cuts a name off after 63 bytes without a word, so that long ones are cut here,
//! where a hash keeps them apart.

use xxhash_rust::xxh3::xxh3_64;

use crate::names::quoted;

use super::error::Error;

/// Bytes of a name that the server keeps.
pub(crate) const NAME_BYTES_MAX: usize = 63;

/// Offsets of one piece of a raw table: its indexes stay in memory while they are written at random places, and a
/// piece whose rows are all old goes at once.
pub(crate) const PIECE_OFFSETS: u64 = 1 << 20;

/// Returns a name that fits, from one that may be too long.
fn fitting(name: String) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let hash = format!("_{:016x}", xxh3_64(name.as_bytes()));
    let mut kept = NAME_BYTES_MAX - hash.len();
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    format!("{}{hash}", &name[..kept])
}

/// Returns the quoted table of a rollup's cells.
pub(crate) fn cells_table(rollup: &str) -> String {
    quoted(&fitting(format!("sg_cells_{rollup}")))
}

/// Returns the quoted table of a rollup's levels by day.
pub(crate) fn days_table(rollup: &str) -> String {
    quoted(&fitting(format!("sg_levels_{rollup}")))
}

/// Returns the quoted table of a rollup's sketches.
pub(crate) fn sketches_table(rollup: &str) -> String {
    quoted(&fitting(format!("sg_sketches_{rollup}")))
}

/// Returns the quoted table of a stream's raw events, which is made of pieces.
pub(crate) fn raw_table(stream: &str) -> String {
    quoted(&fitting(format!("sg_raw_{stream}")))
}

/// Returns the quoted table of one piece of a partition's raw events.
pub(crate) fn piece_table(stream: &str, partition: u32, piece: u64) -> String {
    quoted(&fitting(format!("sg_raw_{stream}_{partition}_{piece}")))
}

/// Checks that the server keeps a name as it is.
pub(crate) fn check_length(what: &str, name: &str) -> Result<(), Error> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::invalid(format!(
            "making {what} {name:?}: a name has at most {NAME_BYTES_MAX} bytes, shorten it"
        )));
    }
    Ok(())
}
