//! The key of a raw event: its place in the log as one number, which orders as partition and offset do.

use crate::unfit::Unfit;

/// Bits of a position that hold the offset; those above hold the partition.
const OFFSET_BITS: u32 = 48;
/// The last offset that fits.
pub(crate) const OFFSET_MAX: u64 = (1 << OFFSET_BITS) - 1;

/// Returns the key of a raw row.
pub(crate) fn position(partition: u32, offset: u64) -> Result<i64, Unfit> {
    if partition >= 1 << (63 - OFFSET_BITS) || offset > OFFSET_MAX {
        return Err(Unfit(format!("partition {partition}, offset {offset} do not fit the key of a raw row")));
    }
    Ok((i64::from(partition) << OFFSET_BITS) | offset as i64)
}

/// Returns partition and offset of a key.
pub(crate) fn place(position: i64) -> (u32, u64) {
    let position = position as u64;
    ((position >> OFFSET_BITS) as u32, position & OFFSET_MAX)
}
