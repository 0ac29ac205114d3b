//! Values that no column of a store holds. The door refuses them already: what comes this far is a surprise.

/// A value that the tables cannot hold: the same data would fail again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unfit(pub(crate) String);

/// Returns an offset or count as the stores keep it.
pub(crate) fn to_integer(value: u64) -> Result<i64, Unfit> {
    i64::try_from(value).map_err(|_| Unfit(format!("{value} does not fit a column")))
}
