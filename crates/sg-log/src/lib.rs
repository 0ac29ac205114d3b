//! Where accepted events wait: embedded segments.
