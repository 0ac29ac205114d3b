//! The loops that move events.
