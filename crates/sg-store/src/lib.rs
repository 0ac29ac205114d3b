//! Where counts live: SQLite.
