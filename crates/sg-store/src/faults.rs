//! A seam for tests: makes a store fail before any chosen statement of a transaction, as a crash there would.
//! Without the feature `testing` nothing of it is compiled in.

use sg_core::ports::PortError;

/// Counts statements down to a failure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    #[cfg(any(test, feature = "testing"))]
    left: std::sync::Arc<std::sync::Mutex<Option<u32>>>,
}

impl Faults {
    /// Marks the place between two statements.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn step(&self) -> Result<(), PortError> {
        let mut left = self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match *left {
            Some(0) => {
                *left = None;
                Err(PortError::new(sg_core::ports::ErrorKind::Retry, "failing as a test asked for"))
            }
            Some(steps) => {
                *left = Some(steps - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Marks the place between two statements.
    #[cfg(not(any(test, feature = "testing")))]
    #[inline]
    #[allow(clippy::unnecessary_wraps, reason = "it fails only in tests")]
    pub(crate) fn step(&self) -> Result<(), PortError> {
        Ok(())
    }

    /// Fails after so many more steps, once; `None` never.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn fail_after(&self, steps: Option<u32>) {
        *self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = steps;
    }
}
